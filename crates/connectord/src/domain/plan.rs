//! From a permit and what the record looks like to exactly what will be done, or a refusal.
//!
//! A dry run prints the plan, a real run sends it, recovery compares with it: one plan for all.

use writ_proto::Reason;
use writ_proto::card::{Arg, Card, WriteMode, same_words};
use writ_proto::limits::STRING_BYTES_MAX;
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

/// A value of the record as the agent may see it, for it hears of refusals and plans.
fn shown(card: &Card, field: &str, value: Option<&Value>) -> String {
    let shown = |value: &Value| card.shown(field, value).to_json();
    value.map_or_else(|| "empty".to_owned(), shown)
}

/// Those of the named arguments that are written to the record.
pub(super) fn written<'a>(
    card: &Card,
    names: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = &'a str> {
    // The signals of a record that is there are its own; a new one gets them.
    let only_identifies =
        |name: &str| card.verb.has_record() && card.identify.iter().any(|signal| signal == name);
    let named = names.into_iter();
    named.filter(move |name| card.verb.names_fields() && !only_identifies(name))
}

/// Makes the plan of one call.
///
/// # Errors
/// `PRECONDITION_FAILED` when the record is not what the agent relied on, `STATE_NOT_ALLOWED`,
/// `FIELD_NOT_EMPTY`, `APPEND_IMPOSSIBLE` or `NOT_MECHANICAL` when the card does not allow the
/// write on what stands there.
pub fn plan(permit: &Permit, call: &Call, card: &Card, before: &Image) -> Result<Plan, Refusal> {
    check_reliance(call, before)?;
    check_when(card, before)?;
    let (object, id) = call
        .target
        .clone()
        .ok_or_else(|| Refusal::of(Reason::ArgsSchema))?;
    let mut fields = Vec::new();
    if card.verb.names_fields() {
        for (name, value) in permit.args().iter() {
            let Some(arg) = card.args.get(name) else {
                return Err(Refusal::of(Reason::ArgsSchema));
            };
            if written(card, [name]).next().is_some() {
                fields.push(field_plan(card, arg, (value, before))?);
            }
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

/// What one argument does to its field, by the write mode of the card.
fn field_plan(
    card: &Card,
    arg: &Arg,
    (value, before): (&Value, &Image),
) -> Result<FieldPlan, Refusal> {
    let field = &arg.field;
    let old = before.value(field);
    let refuse = |reason: Reason, allowed: &str| {
        let found = shown(card, field, old);
        Err(Refusal::new(
            reason,
            format!("{field}: holds {found}, allowed {allowed}"),
        ))
    };
    let texts = (old.and_then(Value::as_text), value.as_text());
    let new = match arg.write {
        WriteMode::Set => value.clone(),
        WriteMode::FillOnlyEmpty if before.is_empty_at(field) => value.clone(),
        WriteMode::FillOnlyEmpty => {
            return refuse(Reason::FieldNotEmpty, "only where it is empty");
        }
        WriteMode::Append => match texts {
            _ if before.is_empty_at(field) => value.clone(),
            (Some(old), Some(new)) if old.len().saturating_add(new.len()) < STRING_BYTES_MAX => {
                Value::Text(format!("{old}\n{new}"))
            }
            _ => return refuse(Reason::AppendImpossible, "a text that can still grow"),
        },
        WriteMode::Mechanical => match texts {
            (Some(old), Some(new)) if same_words(old, new, &arg.abbreviations) => value.clone(),
            _ => return refuse(Reason::NotMechanical, "the same words in another spelling"),
        },
    };
    Ok(FieldPlan {
        field: field.clone(),
        old: old.cloned(),
        new,
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

/// Whether the record is in a state in which the card allows it.
///
/// # Errors
/// `STATE_NOT_ALLOWED`.
pub fn check_when(card: &Card, before: &Image) -> Result<(), Refusal> {
    for (field, allowed) in &card.when {
        let found = before.value(field);
        let text = found.and_then(Value::as_text);
        if !text.is_some_and(|text| allowed.iter().any(|value| value == text)) {
            let detail = format!(
                "{field}: is {}, must be one of {}",
                shown(card, field, found),
                allowed.join(", ")
            );
            return Err(Refusal::new(Reason::StateNotAllowed, detail));
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
                shown(card, &field.field, field.old.as_ref()),
                shown(card, &field.field, Some(&field.new))
            )
        })
        .collect();
    if card.verb.has_record() {
        format!("change {object} {id}: {}", changes.join(", "))
    } else {
        format!("draft a {object}: {}", changes.join(", "))
    }
}

impl Plan {
    /// A plan that changes nothing, to fill the placeholders of reads.
    #[must_use]
    pub const fn nowhere(object: String, id: String, args: Map) -> Self {
        Self {
            object,
            id,
            verb: String::new(),
            fields: Vec::new(),
            args,
            version: None,
            key: String::new(),
            sentence: String::new(),
        }
    }

    /// Whether an image shows what the plan writes, on the declared fields only.
    #[must_use]
    pub fn is_applied_in(&self, image: &Image) -> bool {
        self.fields
            .iter()
            .all(|field| same(image.value(&field.field), Some(&field.new)))
    }

    /// Whether an image still shows what stood there before, in its version too.
    #[must_use]
    pub fn is_untouched_in(&self, image: &Image) -> bool {
        self.is_unchanged_in(image) && self.version == image.version
    }

    /// Whether every field that the plan changes shows its earlier value.
    #[must_use]
    pub fn is_unchanged_in(&self, image: &Image) -> bool {
        let old = |field: &FieldPlan| same(image.value(&field.field), field.old.as_ref());
        self.fields.iter().all(old)
    }

    /// Whether the plan changes nothing that stands there.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = |field: &FieldPlan| same(field.old.as_ref(), Some(&field.new));
        !self.fields.is_empty() && self.fields.iter().all(idle)
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

#[cfg(test)]
mod tests;
