//! The entities of a set: agents, customers and records, as far as policies know them.

use std::collections::BTreeMap;

use cedar_policy::entities_errors::EntitiesError;
use cedar_policy::{Entities, Entity, EntityUid, Schema};
use writ_proto::Reason;

use crate::domain::policy::facts::AskedKinds;
use crate::domain::policy::finding::Place;
use crate::domain::policy::load::words::of_facts;
use crate::domain::policy::load::{ENTITIES_MAX, Findings, place_of_quoted};
use crate::domain::policy::schema::{FactTypes, entity_type};
use crate::domain::policy::sources::Sources;

/// Bytes of the id of an entity, and of a customer.
const ENTITY_ID_BYTES_MAX: usize = 256;

/// Keys of an entity (Cedar's JSON format).
const KEYS: [&str; 4] = ["uid", "attrs", "parents", "tags"];

/// A message without the line and the column that it names, and the byte of the text they are of.
fn placed(text: &str, message: &str) -> Option<(String, usize)> {
    let (before, place) = message.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    let lines = text.split_inclusive('\n').take(line.checked_sub(1)?);
    let start: usize = lines.map(str::len).sum();
    let at = start.saturating_add(column.saturating_sub(1));
    Some((before.to_owned(), at.min(text.len())))
}

/// A key of an entity that no entity has.
fn misspelt(text: &str) -> Option<String> {
    let all: serde_json::Value = serde_json::from_str(text).ok()?;
    let all = all
        .as_array()?
        .iter()
        .filter_map(serde_json::Value::as_object);
    let mut keys = all.flat_map(serde_json::Map::keys);
    keys.find(|key| !KEYS.contains(&key.as_str())).cloned()
}

/// Why the file holds no entities, and where.
fn unread(text: &str, error: &EntitiesError, facts: &FactTypes) -> (String, Option<Place>) {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        message = format!("{message}: {inner}");
        source = inner.source();
    }
    let mut at = place_of_quoted(text, &message);
    // It names its own place, and two would contradict each other.
    if let Some((before, place)) = placed(text, &message) {
        (message, at) = (before, Some(Place::at(text, place)));
    }
    if message.contains("missing field")
        && let Some(key) = misspelt(text)
    {
        message = format!("there is no key `{key}`; an entity has uid, attrs and parents");
        at = place_of_quoted(text, &message);
    }
    if let Some(hint) = of_facts(&message, facts) {
        message = format!("{message}; {hint}");
    }
    (message, at)
}

/// A fact of an entity that comes from its system of record: two places could contradict each other.
fn told_twice<'a>(entity: &Entity, asked: &'a AskedKinds) -> Option<(&'a str, &'a str)> {
    let uid = entity.uid();
    let name = uid.type_name().basename();
    let own = asked.values().find(|one| entity_type(&one.kind) == name)?;
    let field = own
        .fields
        .keys()
        .find(|field| entity.attr(field).is_some())?;
    Some((own.kind.as_str(), field.as_str()))
}

pub(crate) fn entities(
    sources: &Sources,
    (schema, facts, asked): (&Schema, &FactTypes, &AskedKinds),
    findings: &mut Findings<'_>,
) -> BTreeMap<EntityUid, Entity> {
    let parsed = match Entities::from_json_str(&sources.entities_json, Some(schema)) {
        Ok(parsed) => parsed,
        Err(error) => {
            let (message, at) = unread(&sources.entities_json, &error, facts);
            findings.add_at(Reason::PolicyInvalid, "entities.json", message, at);
            return BTreeMap::new();
        }
    };
    let (mut entities, mut strangers) = (BTreeMap::new(), BTreeMap::new());
    for entity in parsed.iter() {
        if entity.uid().type_name().basename() == "Action" {
            continue;
        }
        if let Some((kind, name)) = told_twice(entity, asked) {
            let message = format!(
                "{} says `{name}`, which its system of record is asked for: take it out here, or out of fields in [facts.{kind}]",
                entity.uid()
            );
            let at = Place::of(&sources.entities_json, entity.uid().id().unescaped());
            findings.add_at(Reason::PolicyInvalid, "entities.json", message, at);
        }
        let id = entity.uid().id().unescaped().to_owned();
        let customer = match entity.attr("customer").and_then(Result::ok) {
            Some(cedar_policy::EvalResult::String(text)) => text,
            _ => String::new(),
        };
        for text in [&id, &customer] {
            // They become parts of keys, which every database takes.
            if text.len() > ENTITY_ID_BYTES_MAX || text.chars().any(char::is_control) {
                let message = format!(
                    "`{}`: an id has at most {ENTITY_ID_BYTES_MAX} bytes and no control characters",
                    text.escape_debug().take(40).collect::<String>()
                );
                findings.add(Reason::PolicyInvalid, "entities.json", message);
            }
        }
        if let Some(Ok(cedar_policy::EvalResult::String(named))) = entity.attr("tenant")
            && named != sources.tenant.as_str()
        {
            // Cedar keeps no order: the same one is named each time.
            let first: &mut EntityUid = strangers.entry(named).or_insert_with(|| entity.uid());
            *first = entity.uid().min(first.clone());
        }
        entities.insert(entity.uid(), entity.clone());
    }
    // Each name once: it is misspelt, or the file is of that tenant.
    for (named, first) in strangers {
        let own = &sources.tenant;
        let message =
            format!("{first} has the tenant `{named}`, and this is the folder of `{own}`");
        let at = Place::of(&sources.entities_json, &named);
        findings.add_at(Reason::PolicyInvalid, "entities.json", message, at);
    }
    if entities.len() > ENTITIES_MAX {
        let message = format!("{} entities, at most {ENTITIES_MAX}", entities.len());
        findings.add(Reason::PolicyInvalid, "entities.json", message);
    }
    entities
}
