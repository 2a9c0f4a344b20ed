//! Makes records of the sandbox from those of an export: new ids, and every field scrubbed that is
//! not named. Pure: no I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::lab::sandbox::export::Record;
use crate::lab::sandbox::scrub::{Kind, Scrubber};

/// Most names of fields that are told when one is missing.
const NAMES_MAX: usize = 20;
/// Longest of them; a longer one is cut.
const NAME_CHARS_MAX: usize = 40;

/// What a person says about an export.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// What the records are.
    pub(crate) kind: Kind,
    /// Field of the id.
    pub(crate) id: String,
    /// Fields that stay as they are.
    pub(crate) keep: BTreeSet<String>,
    /// Fields that hold ids of records of a kind.
    pub(crate) refs: BTreeMap<String, Kind>,
}

/// What goes into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copied {
    /// New id and fields of each record.
    pub(crate) records: Vec<(String, Json)>,
    /// Fields that stayed.
    pub(crate) kept: Vec<String>,
    /// Fields that were replaced, references among them.
    pub(crate) scrubbed: Vec<String>,
}

/// The copies of all records.
///
/// # Errors
/// A name that no record has, or a record without an id of its own; never with a value.
pub(crate) fn copied(
    records: &[Record],
    choice: &Choice,
    scrubber: &Scrubber,
) -> Result<Copied, String> {
    let names = records.iter().flat_map(|record| record.fields.keys());
    let mut names: BTreeSet<&String> = names.collect();
    check_names(&names, choice)?;
    let (mut old, mut new) = (BTreeSet::new(), BTreeSet::new());
    let mut copies = Vec::new();
    for record in records {
        let place = &record.place;
        let id = record.fields.get(&choice.id).and_then(id_text);
        let id = id.ok_or_else(|| format!("{place}: its id is missing"))?;
        let fresh = scrubber.id(choice.kind, &id);
        if !old.insert(id) {
            return Err(format!("{place}: its id is that of an earlier record"));
        }
        if !new.insert(fresh.clone()) {
            return Err(format!("{place}: two ids became one; take another key"));
        }
        let fields = copied_fields(record, choice, scrubber)?;
        copies.push((fresh, Json::Object(fields)));
    }
    names.remove(&choice.id);
    let (kept, scrubbed) = names
        .into_iter()
        .cloned()
        .partition(|name| choice.keep.contains(name));
    Ok(Copied {
        records: copies,
        kept,
        scrubbed,
    })
}

/// The names that an export has, for whoever mistyped one: some of them, and no long ones.
fn listed(names: &BTreeSet<&String>) -> String {
    let short = |name: &&String| -> String {
        let start = name.chars().take(NAME_CHARS_MAX);
        start.flat_map(char::escape_debug).collect()
    };
    let some: Vec<String> = names.iter().take(NAMES_MAX).map(short).collect();
    let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
    format!("{}{more}", some.join(", "))
}

/// A name that does nothing is a mistake that the person should hear of.
fn check_names(names: &BTreeSet<&String>, choice: &Choice) -> Result<(), String> {
    let named = core::iter::once(&choice.id)
        .chain(&choice.keep)
        .chain(choice.refs.keys());
    for name in named {
        if !names.contains(name) {
            let found = listed(names);
            return Err(format!("no record has a field `{name}`; found: {found}"));
        }
    }
    if choice.keep.contains(&choice.id) || choice.refs.contains_key(&choice.id) {
        return Err(format!(
            "`{}` is the id, which becomes a new one",
            choice.id
        ));
    }
    let both = choice
        .keep
        .iter()
        .find(|name| choice.refs.contains_key(*name));
    match both {
        Some(name) => Err(format!("`{name}` is a reference and cannot be kept")),
        None => Ok(()),
    }
}

fn copied_fields(
    record: &Record,
    choice: &Choice,
    scrubber: &Scrubber,
) -> Result<Map<String, Json>, String> {
    let mut fields = Map::new();
    for (name, value) in &record.fields {
        if *name == choice.id {
            continue;
        }
        let copy = match choice.refs.get(name) {
            Some(kind) => reference(value, *kind, scrubber)
                .ok_or_else(|| format!("{}: `{name}` holds no id", record.place))?,
            None if choice.keep.contains(name) => value.clone(),
            None => scrubber.value(value),
        };
        fields.insert(name.clone(), copy);
    }
    Ok(fields)
}

/// New ids for one or many old ones; what refers to nothing stays. None for an object.
fn reference(value: &Json, kind: Kind, scrubber: &Scrubber) -> Option<Json> {
    match value {
        Json::Object(_) => None,
        Json::Array(items) => items
            .iter()
            .map(|item| reference(item, kind, scrubber))
            .collect(),
        _ => {
            let fresh = id_text(value).map(|old| Json::String(scrubber.id(kind, &old)));
            Some(fresh.unwrap_or_else(|| value.clone()))
        }
    }
}

/// An id as text, so that `7` of a CSV and `7` of JSON are one.
fn id_text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
