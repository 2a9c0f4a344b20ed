//! What the system of record said of the target before a decision: carried as connectord read it, and turned into the
//! entities that policies see.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Entity, EntityId, EntityUid, RestrictedExpression};
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::money::Money;
use writ_proto::value::{Map, Value};

use crate::domain::decide::facts::Facts;
use crate::domain::policy::facts::{Asked, FactKind, Need, READ_MS_MAX};
use crate::domain::policy::{TenantPolicies, customer_in, schema::entity_type};
use crate::domain::request::Request;

/// One record as its system said it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Kind, as the set names it.
    pub kind: String,
    /// Id.
    pub id: String,
    /// Object of the system file.
    pub object: String,
    /// The fields that were asked for, sorted.
    pub names: Vec<String>,
    /// When it was asked for, Unix milliseconds of policyd's clock.
    pub asked_ms: i64,
    /// Whether the system has such a record.
    pub exists: bool,
    /// The asked fields that hold something.
    pub fields: Map,
}

/// How far a clock goes back while it is kept right, in milliseconds.
const CLOCK_MS: i64 = 1_000;
/// Bytes of all facts of one decision, in canonical CBOR: its trace stays as small as any record.
const FACTS_BYTES_MAX: usize = 8 * 1_024;

impl Reading {
    /// Whether it is no older than the set allows, at a moment in Unix milliseconds; and whether it can be at all.
    #[must_use]
    pub fn is_fresh(&self, policies: &TenantPolicies, now_ms: i64) -> bool {
        let seconds = policies.max_age_of(&self.kind).unwrap_or_default();
        let most_ms = u64::from(seconds)
            .saturating_mul(1_000)
            .saturating_add(READ_MS_MAX);
        let most_ms = i64::try_from(most_ms).unwrap_or(i64::MAX);
        let is_whole = self.exists || self.fields.iter().next().is_none();
        // A clock that was set back says nothing of how long ago it was.
        is_whole && (-CLOCK_MS..=most_ms).contains(&now_ms.saturating_sub(self.asked_ms))
    }

    /// Whether it answers what is asked of a kind of record now: nothing that was not asked for is absent.
    #[must_use]
    pub fn answers(&self, asked: &Asked, id: &str) -> bool {
        let same = self.names.iter().eq(asked.fields.keys());
        same && self.kind == asked.kind && self.object == asked.object && self.id == id
    }
}

/// What is known of the target from its system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Known {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// The target, then the records that it names.
    Read(Vec<Reading>),
    /// It could not be read.
    Unread {
        /// The code of why.
        reason: Reason,
        /// In words, for operators.
        why: String,
    },
}

/// The entities of a request that its system of record told.
#[derive(Debug, Default)]
pub struct Told(Vec<Entity>);

impl Told {
    /// One of them.
    pub(crate) fn entity(&self, uid: &EntityUid) -> Option<&Entity> {
        self.0.iter().find(|entity| entity.uid() == *uid)
    }
}

/// Bytes of an id, which becomes part of keys.
const ID_BYTES_MAX: usize = 256;

/// The id that a fact names; none where it is empty, or no id.
#[must_use]
pub fn id_in(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) if text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) => {
            None
        }
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = kind
        .parse()
        .map_err(|_| format!("`{kind}` is no entity type"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// A value as policies see it; none where the field is empty.
fn expression(kind: &FactKind, value: &Value) -> Result<Option<RestrictedExpression>, String> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let long = RestrictedExpression::new_long;
    Ok(Some(match (kind, value) {
        (_, Value::Null) => return Ok(None),
        (FactKind::Text, Value::Text(value)) => text(value),
        (FactKind::Whole, Value::Int(number)) => long(*number),
        (FactKind::Truth, Value::Bool(truth)) => RestrictedExpression::new_bool(*truth),
        (FactKind::Decimal, number @ (Value::Int(_) | Value::Decimal(_))) => {
            let written = number.to_json();
            let whole = !written.contains('.');
            RestrictedExpression::new_decimal(if whole {
                format!("{written}.0")
            } else {
                written
            })
        }
        (FactKind::Texts, Value::List(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
            let items = items.ok_or("it holds something else than texts")?;
            RestrictedExpression::new_set(items.into_iter().map(text))
        }
        (FactKind::Money, value) => {
            let money = Money::from_value(value).map_err(|error| error.to_string())?;
            let pairs = [
                ("currency".to_owned(), text(money.currency())),
                ("minor".to_owned(), long(money.minor())),
            ];
            RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())?
        }
        (FactKind::Entity(of), Value::Text(_) | Value::Int(_)) => {
            let Some(id) = id_in(value) else {
                let empty = matches!(value, Value::Text(text) if text.is_empty());
                return if empty {
                    Ok(None)
                } else {
                    Err("it holds no id".to_owned())
                };
            };
            RestrictedExpression::new_entity_uid(uid(of, &id)?)
        }
        _ => return Err("it is of another type than set.toml declares".to_owned()),
    }))
}

/// A record as an entity: what entities.json says of it, and what its system says.
fn entity(set: &TenantPolicies, asked: &Asked, reading: &Reading) -> Result<Entity, String> {
    let uid = uid(&entity_type(&asked.kind), &reading.id)?;
    let of = |name: &str, why: &str| format!("{} {}: {name}: {why}", asked.kind, reading.id);
    let mut attributes = BTreeMap::new();
    let mut parents = BTreeSet::new();
    if let Some(known) = set.entity(&uid) {
        let (_, own, above) = known.clone().into_inner();
        attributes.extend(own);
        parents.extend(above);
    }
    let tenant = RestrictedExpression::new_string(set.tenant.as_str().to_owned());
    attributes.insert("tenant".to_owned(), tenant);
    for (name, kind) in &asked.fields {
        let value = reading.fields.get(name).unwrap_or(&Value::Null);
        let value = expression(kind, value).map_err(|why| of(name, &why))?;
        if let Some(value) = value {
            attributes.insert(name.clone(), value);
        }
    }
    let entity = Entity::new(
        uid,
        attributes.into_iter().collect(),
        parents.into_iter().collect(),
    );
    entity.map_err(|error| of("facts", &error.to_string()))
}

impl Facts {
    /// What the system of record is asked for before this request is decided.
    #[must_use]
    pub fn asks(&self, request: &Request, card: &Card) -> Option<Need<'_>> {
        self.policies.asks(request, card, self.now)
    }

    /// What the system told of the records that this request is decided by.
    ///
    /// # Errors
    /// The code and the words of why that is not known. Then no rule may be asked: one that forbids by a fact would not
    /// fire.
    pub fn told(&self, request: &Request, card: &Card) -> Result<Told, (Reason, String)> {
        let Some(Need { target }) = self.asks(request, card) else {
            return Ok(Told::default());
        };
        let readings = match &self.known {
            Known::Read(readings) => readings,
            Known::Unread { reason, why } => return Err((*reason, why.clone())),
            Known::NotAsked => {
                let why = "the policies in force changed while it was asked".to_owned();
                return Err((Reason::Unavailable, why));
            }
        };
        let other = || {
            let why = "something else was read than is asked for now".to_owned();
            (Reason::Unavailable, why)
        };
        let (_, id) = request.target.as_ref().ok_or_else(other)?;
        let find = |asked: &Asked, id: &str| {
            let found = readings.iter().find(|reading| reading.answers(asked, id));
            found.ok_or_else(other)
        };
        let unreadable = |why: String| (Reason::FieldUnreadable, why);
        let bytes = readings.iter().map(|reading| reading.fields.encode().len());
        if bytes.sum::<usize>() > FACTS_BYTES_MAX {
            return Err(unreadable(format!(
                "the facts are more than {FACTS_BYTES_MAX} bytes"
            )));
        }
        let mut told = Vec::new();
        let own = match target {
            Some(asked) => Some((asked, find(asked, id)?)),
            None => None,
        };
        if let Some((asked, reading)) = own {
            if !reading.exists {
                let why = format!("the system has no {} {id}", asked.kind);
                return Err((Reason::TargetNotFound, why));
            }
            told.push(entity(&self.policies, asked, reading).map_err(unreadable)?);
        }
        let named = |name: &str| id_in(own?.1.fields.get(name)?);
        let links = self.policies.links(request, target, named);
        for (asked, id) in links.map_err(unreadable)? {
            let reading = find(asked, &id)?;
            if !reading.exists {
                let why = format!(
                    "the system has no {} {id}, which the target names",
                    asked.kind
                );
                return Err(unreadable(why));
            }
            told.push(entity(&self.policies, asked, reading).map_err(unreadable)?);
        }
        Ok(Told(told))
    }

    /// The readings that the decision stands on, for its trace.
    #[must_use]
    pub fn read_of(&self, request: &Request, card: &Card) -> Option<&[Reading]> {
        match &self.known {
            Known::Read(readings) if self.asks(request, card).is_some() => Some(readings),
            _ => None,
        }
    }

    /// The customer of a request's target: as its system says, or as entities.json does.
    #[must_use]
    pub fn customer_of(&self, request: &Request) -> Option<String> {
        let (kind, id) = request.target.as_ref()?;
        if self.policies.is_customer_kind(kind) && request.tenant == request.caller_tenant {
            return Some(id.clone());
        }
        let from_system = self.policies.is_customer_asked(kind);
        let card = self.policies.card(&request.action).filter(|_| from_system);
        let Some(card) = card else {
            return self.policies.customer_of(request);
        };
        let told = self.told(request, card).ok()?;
        customer_in(told.entity(&uid(&entity_type(kind), id).ok()?)?)
    }
}

#[cfg(test)]
mod tests;
