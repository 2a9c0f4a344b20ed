//! From a permit and what the record looks like to exactly what will be done, or a refusal.
//!
//! A dry run prints the plan, a real run sends it, recovery compares with it: one plan for all.

use writ_proto::Reason;
use writ_proto::card::{Card, WriteMode};
use writ_proto::value::{Map, Value};

use super::gate::{Call, Permit, Refusal};
use super::image::Image;

/// One field: what stands there and what will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlan {
    /// Name in the system of record.
    pub field: String,
    /// What the before-image shows.
    pub old: Option<Value>,
    /// What is written.
    pub new: Value,
}

/// Everything the one call to the system of record will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Object type of the target.
    pub object: String,
    /// Id of the target.
    pub id: String,
    /// Name of the verb.
    pub verb: String,
    /// Fields that change (for verbs that set fields).
    pub fields: Vec<FieldPlan>,
    /// All arguments, by argument name, for the placeholders of the system file.
    pub args: Map,
    /// Version the write is conditional on.
    pub version: Option<String>,
    /// Key under which the system of record recognises a repeated call.
    pub key: String,
    /// One sentence for people.
    pub sentence: String,
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "empty".to_owned(), Value::to_json)
}

/// Makes the plan of one call.
///
/// # Errors
/// `PRECONDITION_FAILED` when the record is not as the agent or the card relies on.
pub fn plan(permit: &Permit, call: &Call, card: &Card, before: &Image) -> Result<Plan, Refusal> {
    check_reliance(call, before)?;
    check_when(card, before)?;
    let (object, id) = call
        .target
        .clone()
        .ok_or_else(|| Refusal::of(Reason::ArgsSchema))?;
    let mut fields = Vec::new();
    if card.verb.sets_fields() {
        for (name, value) in permit.args().iter() {
            let Some(arg) = card.args.get(name) else {
                return Err(Refusal::of(Reason::ArgsSchema));
            };
            if arg.write == WriteMode::FillOnlyEmpty && !before.is_empty_at(&arg.field) {
                let found = shown(before.value(&arg.field));
                let detail = format!("{}: holds {found}, only empty fields are filled", arg.field);
                return Err(Refusal::new(Reason::PreconditionFailed, detail));
            }
            let old = before.value(&arg.field).cloned();
            fields.push(FieldPlan {
                field: arg.field.clone(),
                old,
                new: value.clone(),
            });
        }
    }
    let sentence = sentence(card, (&object, &id), &fields, permit.args());
    Ok(Plan {
        object,
        id,
        verb: card.verb.name().to_owned(),
        fields,
        args: permit.args().clone(),
        version: before.version.clone(),
        key: permit.claims().decision_id.to_string(),
        sentence,
    })
}

fn check_reliance(call: &Call, before: &Image) -> Result<(), Refusal> {
    let Some(relied) = &call.precondition else {
        return Ok(());
    };
    if before.version.as_ref() == Some(relied) || before.digest() == *relied {
        return Ok(());
    }
    let current = before.version.clone().unwrap_or_else(|| before.digest());
    let detail = format!("version: relied on {relied}, is {current}");
    Err(Refusal::new(Reason::PreconditionFailed, detail))
}

fn check_when(card: &Card, before: &Image) -> Result<(), Refusal> {
    for (field, allowed) in &card.when {
        let found = before.value(field);
        let text = found.and_then(Value::as_text);
        if !text.is_some_and(|text| allowed.iter().any(|value| value == text)) {
            let detail = format!(
                "{field}: is {}, must be one of {}",
                shown(found),
                allowed.join(", ")
            );
            return Err(Refusal::new(Reason::PreconditionFailed, detail));
        }
    }
    Ok(())
}

fn sentence(card: &Card, (object, id): (&str, &str), fields: &[FieldPlan], args: &Map) -> String {
    if fields.is_empty() {
        return format!("{} on {object} {id}: {}", card.name, args.to_json());
    }
    let changes: Vec<String> = fields
        .iter()
        .map(|field| {
            format!(
                "{} {} -> {}",
                field.field,
                shown(field.old.as_ref()),
                field.new.to_json()
            )
        })
        .collect();
    format!("change {object} {id}: {}", changes.join(", "))
}

impl Plan {
    /// Whether an image shows what the plan writes, on the declared fields only.
    #[must_use]
    pub fn is_applied_in(&self, image: &Image) -> bool {
        self.fields
            .iter()
            .all(|field| same(image.value(&field.field), Some(&field.new)))
    }

    /// Whether an image still shows what stood there before.
    #[must_use]
    pub fn is_untouched_in(&self, image: &Image) -> bool {
        let old = |field: &FieldPlan| same(image.value(&field.field), field.old.as_ref());
        self.fields.iter().all(old) && self.version == image.version
    }

    /// Changes on fields that the plan does not name.
    #[must_use]
    pub fn collateral(&self, before: &Image, after: &Image) -> Vec<FieldPlan> {
        let planned = |name: &str| self.fields.iter().any(|field| field.field == name);
        let mut names: Vec<&str> = before.fields.iter().map(|(name, _)| name).collect();
        names.extend(after.fields.iter().map(|(name, _)| name));
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .filter(|name| !planned(name) && !same(before.value(name), after.value(name)))
            .map(|name| FieldPlan {
                field: name.to_owned(),
                old: before.value(name).cloned(),
                new: after.value(name).cloned().unwrap_or(Value::Null),
            })
            .collect()
    }
}

/// Null and missing are the same: nothing is there.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let there = |value: Option<&Value>| value.filter(|value| **value != Value::Null).cloned();
    there(a) == there(b)
}
