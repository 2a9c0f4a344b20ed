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
mod tests {
    use super::*;
    use crate::domain::execution::tests::execution as claimed;

    const CARD: &str = include_str!("../../../../policies/acme/actions/fill_phone.toml");

    #[test]
    fn values_that_the_card_hides_are_hidden_on_both_sides() {
        let open = Card::parse(CARD).unwrap();
        let veiled = Card::parse(&format!("{CARD}\n[read]\nmask = {{ phone = \"last2\" }}\n"));
        let veiled = veiled.unwrap();
        let mut own = claimed(1);
        own.changes = vec![Change {
            field: "phone".into(),
            before_json: Some("\"+31 6 0000\"".into()),
            after_json: Some("\"+31 6 1234\"".into()),
        }];
        own.collateral = vec![Change {
            field: "iban".into(),
            before_json: None,
            after_json: Some("\"NL91ABNA0417164300\"".into()),
        }];
        assert_eq!(execution(Some(&open), own.clone()), own);
        own.sentence = "would change contact C-1: phone \"+31 6 0000\"".into();
        own.message = "+31 6 1234 is used by C-9".into();
        let seen = execution(Some(&veiled), own.clone());
        assert!(!format!("{seen:?}").contains("+31"), "{seen:?}");
        assert_eq!(seen.changes[0].before_json.as_deref(), Some("\"***00\""));
        assert_eq!(seen.changes[0].after_json.as_deref(), Some("\"***34\""));
        assert_eq!(seen.collateral[0].before_json, None);
        assert_eq!(seen.collateral[0].after_json.as_deref(), Some("\"***\""));
        let blind = execution(None, own).changes[0].after_json.clone();
        assert_eq!(blind.as_deref(), Some("\"***\""));
    }

    #[test]
    fn why_an_undo_was_refused_is_told_without_the_values_that_the_card_hides() {
        let open = Card::parse(CARD).unwrap();
        let veiled = Card::parse(&format!("{CARD}\n[read]\nmask = {{ phone = \"last2\" }}\n"));
        let veiled = veiled.unwrap();
        let why = "phone: we wrote \"+31 6 1234\", now it is \"+31 6 0000\"";
        let drifted = Refusal::new(writ_proto::Reason::PreconditionFailed, why);
        let seen = |card: Option<&Card>| {
            let item = Undone {
                execution: Box::new(claimed(1)),
                undone: false,
                refusal: Some(drifted.clone()),
                changes: vec![Change {
                    field: "phone".into(),
                    before_json: Some("\"+31 6 0000\"".into()),
                    after_json: None,
                }],
                unsigned: false,
                replayed: false,
            };
            undone(card, item)
        };
        assert_eq!(seen(Some(&open)).refusal, Some(drifted.clone()));
        for card in [Some(&veiled), None] {
            let item = seen(card);
            assert_eq!(item.refusal.as_ref().unwrap().reason, drifted.reason);
            assert!(!format!("{item:?}").contains("+31"), "{item:?}");
        }
    }
}
