//! What an agent hears of executions: of records only what the card lets it see. Operators and
//! records keep everything.

use writ_proto::card::Card;
use writ_proto::value::{Value, value_from_json};

use crate::app::undo::Undone;
use crate::domain::execution::{Change, Execution};
use crate::domain::gate::Refusal;

/// What stands for a value that cannot be shown at all.
const HIDDEN: &str = "\"***\"";

fn side(card: &Card, field: &str, json: Option<String>) -> Option<String> {
    let value = value_from_json(&json?);
    Some(value.map_or_else(
        |_| HIDDEN.to_owned(),
        |value: Value| card.shown(field, &value).to_json(),
    ))
}

fn change(card: Option<&Card>, change: Change) -> Change {
    let Change {
        field,
        before_json,
        after_json,
    } = change;
    let Some(card) = card else {
        return Change {
            before_json: before_json.map(|_| HIDDEN.to_owned()),
            after_json: after_json.map(|_| HIDDEN.to_owned()),
            field,
        };
    };
    Change {
        before_json: side(card, &field, before_json),
        after_json: side(card, &field, after_json),
        field,
    }
}

/// Changes as an agent sees them; without their card nothing of the values is shown.
#[must_use]
pub fn changes(card: Option<&Card>, list: Vec<Change>) -> Vec<Change> {
    list.into_iter().map(|one| change(card, one)).collect()
}

/// An execution as its agent sees it.
#[must_use]
pub fn execution(card: Option<&Card>, mut execution: Execution) -> Execution {
    execution.changes = changes(card, execution.changes);
    execution.collateral = changes(card, execution.collateral);
    // The requests name paths and values of the system; they are for operators.
    execution.requests = Vec::new();
    if card.is_some_and(|card| card.sight.is_none()) {
        return execution;
    }
    // A sentence was made by the card of its day, a message may be the system's own words.
    let reads = card.is_some_and(|card| card.verb.reads());
    if !reads && !execution.sentence.is_empty() {
        let fields: Vec<&str> = execution
            .changes
            .iter()
            .map(|one| one.field.as_str())
            .collect();
        let (object, target) = (&execution.object, &execution.target);
        execution.sentence = format!(
            "{} on {object} {target}: {}",
            execution.action,
            fields.join(", ")
        );
    }
    let ours = writ_proto::Reason::from_code(&execution.reason_code);
    if !ours.is_some_and(masked_already) {
        execution.message = ours.map_or_else(String::new, |reason| reason.sentence().to_owned());
    }
    execution
}

/// Refusals whose detail the plan made with the card's masks.
const fn masked_already(reason: writ_proto::Reason) -> bool {
    use writ_proto::Reason as R;
    matches!(
        reason,
        R::StateNotAllowed | R::FieldNotEmpty | R::AppendImpossible | R::NotMechanical
    )
}

/// An undo as its agent sees it: a conflict names values, so only its kind is told where the card
/// hides any.
#[must_use]
pub fn undone(card: Option<&Card>, mut item: Undone) -> Undone {
    item.changes = changes(card, item.changes);
    if card.is_none_or(|card| card.sight.is_some()) {
        item.refusal = item.refusal.map(|refusal| Refusal::of(refusal.reason));
    }
    item
}

#[cfg(test)]
mod tests;
