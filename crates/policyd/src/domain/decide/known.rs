//! What the system of record said of the target before a decision: carried as connectord read it, and turned into the
//! entities that policies see.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Entity, EntityId, EntityUid, RestrictedExpression};
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::money::Money;
use writ_proto::value::{Map, Value};

use crate::domain::decide::facts::Facts;
use crate::domain::policy::facts::{Asked, FactKind};
use crate::domain::policy::{TenantPolicies, customer_in, schema::entity_type};
use crate::domain::request::Request;

/// One record as its system said it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Kind, as the set names it.
    pub kind: String,
    /// Id.
    pub id: String,
    /// When it was asked for, Unix milliseconds of policyd's clock.
    pub asked_ms: i64,
    /// Whether the system has such a record.
    pub exists: bool,
    /// The asked fields that hold something.
    pub fields: Map,
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

/// The id that a fact names; none where it is empty.
#[must_use]
pub fn id_in(value: &Value) -> Option<String> {
    match value {
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
                return Ok(None);
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
    /// Whether the system of record is asked for facts of this request, and the kind of its target.
    #[must_use]
    pub fn asks(&self, request: &Request, card: &Card) -> Option<&Asked> {
        self.policies.asks(request, card, self.now)
    }

    /// What the system told of the records that this request is decided by.
    ///
    /// # Errors
    /// The code and the words of why that is not known. Then no rule may be asked: one that forbids by a fact would not
    /// fire.
    pub fn told(&self, request: &Request, card: &Card) -> Result<Told, (Reason, String)> {
        let Some(asked) = self.asks(request, card) else {
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
        let moved = || (Reason::Unavailable, "another record was read".to_owned());
        let target = readings.first().ok_or_else(moved)?;
        let is_target = |(kind, id): &(String, String)| *kind == target.kind && *id == target.id;
        if !request.target.as_ref().is_some_and(is_target) {
            return Err(moved());
        }
        let links = if target.exists {
            self.policies
                .links(request, asked, |name| id_in(target.fields.get(name)?))
        } else {
            Vec::new()
        };
        let mut wanted = vec![(asked, target.id.clone())];
        wanted.extend(links);
        let mut told = Vec::new();
        for (asked, id) in wanted {
            let mut found = readings.iter();
            let reading = found.find(|reading| reading.kind == asked.kind && reading.id == id);
            let reading = reading.ok_or_else(moved)?;
            let entity = entity(&self.policies, asked, reading);
            told.push(entity.map_err(|why| (Reason::FieldUnreadable, why))?);
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
