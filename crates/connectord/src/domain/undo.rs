//! The inverse of an execution: only where the record still shows what we wrote.

use writ_proto::Reason;
use writ_proto::card::Verb;
use writ_proto::value::{Map, Value};

use super::execution::{Execution, State};
use super::gate::Refusal;
use super::image::Image;
use super::plan::{FieldPlan, Plan};

/// Plans the undo of an execution against what the record shows now.
///
/// # Errors
/// When it is undone already, too old, of a verb that cannot be undone, or when somebody changed
/// the record since: then both values are named and nothing is overwritten.
pub fn plan(execution: &Execution, now_ms: i64, current: &Image) -> Result<Plan, Refusal> {
    check_standing(execution, now_ms)?;
    let mut fields = Vec::new();
    for change in &execution.changes {
        let (wrote, stands) = (change.after_value(), current.value(&change.field).cloned());
        if wrote.filter(|value| *value != Value::Null) != stands {
            let detail = format!(
                "{}: we wrote {}, now it is {}; nothing was overwritten",
                change.field,
                change.after_json.as_deref().unwrap_or("nothing"),
                stands.map_or_else(|| "empty".to_owned(), |value| value.to_json()),
            );
            return Err(Refusal::new(Reason::PreconditionFailed, detail));
        }
        let new = change.before_value().unwrap_or(Value::Null);
        fields.push(FieldPlan {
            field: change.field.clone(),
            old: stands,
            new,
        });
    }
    let sentence = format!(
        "undo {} on {} {}",
        execution.action, execution.object, execution.target
    );
    Ok(Plan {
        object: execution.object.clone(),
        id: execution.target.clone(),
        verb: execution.verb.clone(),
        fields,
        args: Map::new(),
        version: current.version.clone(),
        key: key_of(execution),
        sentence,
    })
}

/// The idempotency key of the next attempt to undo an execution. Each attempt has its own: a system
/// that remembers keys would answer the second one with the failure of the first.
#[must_use]
pub fn key_of(execution: &Execution) -> String {
    format!("undo-{}-{}", execution.id, execution.next_attempt())
}

/// Whether a key is that of an attempt to undo this execution.
#[must_use]
pub fn is_key_of(key: &str, execution: &str) -> bool {
    let rest = key
        .strip_prefix("undo-")
        .and_then(|rest| rest.strip_prefix(execution));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

/// What needs no look at the record.
///
/// # Errors
/// As above, but for the conflict.
pub fn check_standing(execution: &Execution, now_ms: i64) -> Result<(), Refusal> {
    if !execution.undone_by.is_empty() {
        return Err(Refusal::of(Reason::AlreadyUndone));
    }
    let applied = matches!(execution.state, State::Done | State::ReconciledApplied);
    if !applied || !execution.wrote {
        let why = match (execution.execute, execution.state) {
            (false, _) => "it was a dry run: nothing was written, so nothing is undone",
            (_, State::InDoubt | State::Human) => {
                "nobody knows yet whether it was written: it is being settled, or a person says it (connectord executions settle)"
            }
            (_, State::Claimed | State::Sending) => {
                "it is under way: whether it writes is not known yet; undo it when it has ended"
            }
            _ => "it wrote nothing, so nothing is undone",
        };
        return Err(Refusal::new(Reason::UndoImpossible, why));
    }
    if !execution.undo_of.is_empty() {
        return Err(Refusal::new(
            Reason::UndoImpossible,
            "an undo is not undone",
        ));
    }
    let sets_fields = Verb::from_name(&execution.verb).is_some_and(Verb::sets_fields);
    if execution.changes.is_empty() || !sets_fields {
        return Err(Refusal::new(
            Reason::UndoImpossible,
            format!(
                "`{}` adds a record of its own, and only what sets fields is undone; a person looks after it in the system",
                execution.verb
            ),
        ));
    }
    if now_ms > execution.undo_until_ms {
        return Err(Refusal::of(Reason::UndoExpired));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
