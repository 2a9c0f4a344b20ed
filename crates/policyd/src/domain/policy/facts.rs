//! `[facts.KIND]` of a set: what policies may know of a kind of record, and which of it the system of record is asked
//! for before a decision. The rest stands in entities.json.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Entity, EntityId, EntityUid, EvalResult};
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
/// Longest time that reads for one decision take, in milliseconds.
pub const READ_MS_MAX: u64 = 2_000;
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
        if name == "tenant" {
            return Err("`tenant` is the tenant of the set, and no system says another".to_owned());
        }
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

/// What is asked for before a decision.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// The kind of the target, where its own system is asked for it; without one, what it names is.
    pub target: Option<&'a Asked>,
}

impl Asked {
    /// The fields that are asked for, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }
}

fn uid_of(kind: &str, id: &str) -> Option<EntityUid> {
    let kind = kind.parse().ok()?;
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// What a fact names, also inside a record; a policy cannot follow a member of a set.
pub(in crate::domain) fn linked(value: EvalResult, found: &mut BTreeSet<EntityUid>) {
    match value {
        EvalResult::EntityUid(uid) => {
            found.insert(uid);
        }
        EvalResult::Record(record) => {
            record
                .iter()
                .for_each(|(_, member)| linked(member.clone(), found));
        }
        _ => {}
    }
}

impl TenantPolicies {
    /// Whether a system is asked for any fact at all.
    #[must_use]
    pub fn asks_anybody(&self) -> bool {
        !self.asked.is_empty()
    }

    /// How long an answer about a kind of record may be used, in seconds.
    #[must_use]
    pub fn max_age_of(&self, kind: &str) -> Option<u32> {
        self.asked.get(kind).map(|asked| asked.max_age_seconds)
    }

    /// What the system of record is asked for before this request is decided: where a rule in force, or a budget, needs
    /// a fact of the target or of what it names, and some rule might permit the agent at all.
    #[must_use]
    pub fn asks(&self, request: &Request, card: &Card, now: DateTime<Utc>) -> Option<Need<'_>> {
        let (kind, _) = request.target.as_ref()?;
        if request.tenant != request.caller_tenant || !card.verb.has_record() {
            return None;
        }
        let is_needed = |asked: &&Asked| {
            self.is_mentioned(asked, request) || self.counts_customer_of(asked, card)
        };
        let target = self.asked.get(kind).filter(is_needed);
        let named = || {
            self.named_here(request, target)
                .iter()
                .any(|uid| self.asked_of(uid, request).is_some())
        };
        let needed = target.is_some() || named();
        (needed && self.may_permit(request, now)).then_some(Need { target })
    }

    /// Whether a system is asked for facts of customers, of whom such a record is one itself.
    pub(in crate::domain) fn is_customer_kind(&self, kind: &str) -> bool {
        self.asked.contains_key(kind) && entity_type(kind) == super::CUSTOMER
    }

    /// The kind that an entity is of, where a system is asked for it and a rule mentions one of its facts.
    fn asked_of(&self, uid: &EntityUid, request: &Request) -> Option<&Asked> {
        let kind = uid.type_name().basename();
        let mut asked = self.asked.values();
        let asked = asked.find(|other| entity_type(&other.kind) == kind)?;
        Some(asked).filter(|asked| self.is_mentioned(asked, request))
    }

    /// What the facts of a target name that stand in entities.json.
    fn named_here(&self, request: &Request, target: Option<&Asked>) -> BTreeSet<EntityUid> {
        let mut named = BTreeSet::new();
        let uid = request
            .target
            .as_ref()
            .and_then(|(kind, id)| uid_of(&entity_type(kind), id));
        let known = uid.as_ref().and_then(|uid| self.entity(uid));
        for (name, value) in known.into_iter().flat_map(Entity::attrs) {
            let from_system = target.is_some_and(|asked| asked.fields.contains_key(name));
            if let (false, Ok(value)) = (from_system, value) {
                linked(value, &mut named);
            }
        }
        if let Some(own) = uid {
            named.remove(&own);
        }
        named
    }

    /// The records that the target names and that systems are asked for too, with their ids; `told` gives the id in a
    /// fact that its own system told.
    ///
    /// # Errors
    /// When there are more than are read: one that is left out would have no facts.
    pub fn links(
        &self,
        request: &Request,
        target: Option<&Asked>,
        told: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<(&Asked, String)>, String> {
        let mut named = self.named_here(request, target);
        for (field, kind) in target.into_iter().flat_map(|asked| &asked.fields) {
            if let FactKind::Entity(of) = kind {
                named.extend(told(field).and_then(|id| uid_of(of, &id)));
            }
        }
        let asked = named.iter().filter_map(|uid| {
            Some((
                self.asked_of(uid, request)?,
                uid.id().unescaped().to_owned(),
            ))
        });
        let found: Vec<(&Asked, String)> = asked.collect();
        if found.len() >= RECORDS_MAX {
            let most = RECORDS_MAX.saturating_sub(1);
            return Err(format!(
                "it names {} records that systems are asked for, at most {most}",
                found.len()
            ));
        }
        Ok(found)
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
