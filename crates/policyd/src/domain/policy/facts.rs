//! `[facts.KIND]` of a set: what policies may know of a kind of record, and which of it the system of record is asked
//! for before a decision. The rest stands in entities.json.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use chrono::{DateTime, Utc};
use writ_proto::card::Card;
use writ_proto::duration::seconds_of;

use super::TenantPolicies;
use super::schema::{FactTypes, entity_type};
use crate::domain::request::Request;

/// `[facts]` as it is written: by kind the type of each fact, and where it is asked for.
pub(super) type FactsText = BTreeMap<String, BTreeMap<String, toml::Value>>;

/// Most facts of one kind of record that a system is asked for.
const FIELDS_MAX: usize = 32;
/// Longest time that an answer of the system may be used, in seconds.
const MAX_AGE_SECONDS_MAX: u32 = 60;
/// Most records that are read for one decision: the target, and those that it names.
pub const RECORDS_MAX: usize = 4;

const FROM: &str = "from";
const OBJECT: &str = "object";
const FIELDS: &str = "fields";
const MAX_AGE: &str = "max_age";

/// What a value of the system becomes for a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactKind {
    /// `String`.
    Text,
    /// `Long`: a whole number.
    Whole,
    /// `Bool`.
    Truth,
    /// `decimal`: a number with at most four decimals.
    Decimal,
    /// `{ "currency": String, "minor": Long }`: an amount in minor units of its currency (ISO 4217).
    Money,
    /// `Set<String>`.
    Texts,
    /// The id of an entity of this type.
    Entity(String),
}

/// The kinds that are asked for, in words.
const KINDS: &str = "String, Long, Bool, decimal, Set<String>, { \"currency\": String, \"minor\": Long }, or the type \
                     of an entity such as Customer";

impl FactKind {
    /// Of a type as Cedar writes it.
    fn of(text: &str) -> Option<Self> {
        let dense: String = text
            .chars()
            .filter(|letter| !letter.is_whitespace() && *letter != '"')
            .collect();
        Some(match dense.as_str() {
            "String" => Self::Text,
            "Long" => Self::Whole,
            "Bool" => Self::Truth,
            "decimal" => Self::Decimal,
            "Set<String>" => Self::Texts,
            "{currency:String,minor:Long}" | "{minor:Long,currency:String}" => Self::Money,
            name => {
                let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric());
                let named = plain && name.starts_with(|first: char| first.is_ascii_uppercase());
                return named.then(|| Self::Entity(name.to_owned()));
            }
        })
    }
}

/// A kind of record whose facts come from its system of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The kind, as targets of cards name it.
    pub kind: String,
    /// The object of the system file.
    pub object: String,
    /// The facts that are asked for, which are fields of the system file, and what becomes of each.
    pub fields: BTreeMap<String, FactKind>,
    /// For how long an answer is used, in seconds.
    pub max_age_seconds: u32,
}

/// By kind.
pub type AskedKinds = BTreeMap<String, Asked>;

/// The types of all facts, and the kinds that systems are asked for.
///
/// # Errors
/// The first thing that is wrong, in words that quote it.
pub(super) fn read(text: &FactsText) -> Result<(FactTypes, AskedKinds), String> {
    let (mut types, mut asked) = (FactTypes::new(), AskedKinds::new());
    for (kind, own) in text {
        let wrong = |why: String| format!("facts.{kind}: {why}");
        let from = own.get(FROM);
        if from.is_some_and(|from| from.as_str() != Some("system")) {
            let why = "`from` is \"system\", or is left out where entities.json holds the facts";
            return Err(wrong(why.to_owned()));
        }
        let keys: &[&str] = match from {
            Some(_) => &[FROM, OBJECT, FIELDS, MAX_AGE],
            None => &[],
        };
        let mut of_kind = BTreeMap::new();
        for (name, value) in own
            .iter()
            .filter(|(name, _)| !keys.contains(&name.as_str()))
        {
            let Some(value) = value.as_str() else {
                let why = format!("`{name}` is a type of Cedar in quotes, such as \"Long\"");
                return Err(wrong(why));
            };
            of_kind.insert(name.clone(), value.to_owned());
        }
        if from.is_some() {
            let one = asked_kind(kind, own, &of_kind).map_err(wrong)?;
            asked.insert(kind.clone(), one);
        }
        types.insert(kind.clone(), of_kind);
    }
    Ok((types, asked))
}

fn asked_kind(
    kind: &str,
    own: &BTreeMap<String, toml::Value>,
    types: &BTreeMap<String, String>,
) -> Result<Asked, String> {
    let fields = own.get(FIELDS).and_then(toml::Value::as_array);
    let names: Option<Vec<&str>> = fields.map(|fields| {
        let named = fields
            .iter()
            .map(|field| field.as_str().unwrap_or_default());
        named.collect()
    });
    let names = names.unwrap_or_default();
    if names.is_empty() || names.len() > FIELDS_MAX {
        return Err(format!(
            "`fields` lists 1 to {FIELDS_MAX} of its facts, which connectord reads under the same name"
        ));
    }
    let mut read = BTreeMap::new();
    for name in names {
        let Some(text) = types.get(name) else {
            return Err(format!(
                "`{name}` is in fields and has no type: add {name} = \"String\""
            ));
        };
        let Some(known) = FactKind::of(text) else {
            return Err(format!("`{name}`: what a system is asked for is {KINDS}"));
        };
        read.insert(name.to_owned(), known);
    }
    let max_age = own.get(MAX_AGE).and_then(toml::Value::as_str);
    let max_age = max_age.and_then(|text| seconds_of(text).ok());
    let max_age = max_age.filter(|seconds| *seconds <= MAX_AGE_SECONDS_MAX);
    let max_age_seconds = max_age.ok_or_else(|| {
        format!("`max_age` says for how long an answer may be used, \"1s\" to \"{MAX_AGE_SECONDS_MAX}s\"")
    })?;
    let object = own.get(OBJECT).map_or(Some(kind), toml::Value::as_str);
    let object = object.filter(|object| !object.is_empty());
    Ok(Asked {
        kind: kind.to_owned(),
        object: object
            .ok_or("`object` is an object of the system file")?
            .to_owned(),
        fields: read,
        max_age_seconds,
    })
}

/// The names of all facts that systems are asked for.
pub(super) fn names_of(asked: &AskedKinds) -> BTreeSet<String> {
    let fields = asked.values().flat_map(|one| one.fields.keys());
    fields.cloned().collect()
}

impl TenantPolicies {
    /// The kind of the target, where its system of record is asked before this request is decided: a rule in force, or a
    /// budget, needs a fact of it, and some rule might permit the agent at all.
    #[must_use]
    pub fn asks(&self, request: &Request, card: &Card, now: DateTime<Utc>) -> Option<&Asked> {
        let (kind, _) = request.target.as_ref()?;
        let asked = self.asked.get(kind)?;
        if request.tenant != request.caller_tenant || !card.verb.has_record() {
            return None;
        }
        let needed = self.is_mentioned(asked, request) || self.counts_customer_of(asked, card);
        (needed && self.may_permit(request, now)).then_some(asked)
    }

    /// The object of the system file, where a system is asked for facts of a kind of record.
    #[must_use]
    pub fn object_asked(&self, kind: &str) -> Option<&str> {
        self.asked.get(kind).map(|asked| asked.object.as_str())
    }

    /// The records that facts of the target name and that are asked for too, with their ids.
    pub fn links<'a>(
        &'a self,
        request: &Request,
        asked: &'a Asked,
        named: impl Fn(&str) -> Option<String>,
    ) -> Vec<(&'a Asked, String)> {
        let mut found: Vec<(&Asked, String)> = Vec::new();
        for (field, kind) in &asked.fields {
            let FactKind::Entity(of) = kind else { continue };
            let linked = self
                .asked
                .values()
                .find(|other| entity_type(&other.kind) == *of);
            let linked = linked.filter(|linked| self.is_mentioned(linked, request));
            let Some((linked, id)) = linked.zip(named(field)) else {
                continue;
            };
            let twice = found
                .iter()
                .any(|(other, known)| other.kind == linked.kind && *known == id);
            if !twice && found.len() < RECORDS_MAX.saturating_sub(1) {
                found.push((linked, id));
            }
        }
        found
    }

    fn is_mentioned(&self, asked: &Asked, request: &Request) -> bool {
        let slice = self.slice(&request.action);
        slice.is_some_and(|slice| {
            slice
                .asks
                .iter()
                .any(|name| asked.fields.contains_key(name))
        })
    }

    fn counts_customer_of(&self, asked: &Asked, card: &Card) -> bool {
        let counts = || {
            self.budgets
                .iter()
                .any(|budget| budget.counts_customers_of(&card.name))
        };
        self.is_customer_asked(&asked.kind) && counts()
    }

    /// Whether a permit in force has a principal that the agent can be. Without one the answer is known.
    fn may_permit(&self, request: &Request, now: DateTime<Utc>) -> bool {
        let who = self.roles_of(request.agent.as_str());
        let mut permits = self.in_force(&request.action, now);
        permits.any(|policy| {
            policy.effect() == Effect::Permit && super::concern::applies(policy, &who)
        })
    }
}

#[cfg(test)]
mod tests;
