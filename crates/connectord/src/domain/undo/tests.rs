//! What may be undone, and what is refused.

use super::*;
use crate::domain::execution::Change;
use crate::domain::execution::tests::execution;

#[test]
fn what_was_not_written_is_too_old_or_of_another_kind_is_not_undone() {
    let done = Execution {
        verb: "update_fields".into(),
        state: State::Done,
        wrote: true,
        undo_until_ms: 9,
        changes: vec![Change {
            field: "stage".into(),
            before_json: None,
            after_json: None,
        }],
        ..execution(1)
    };
    let with = |change: fn(&mut Execution)| {
        let mut other = done.clone();
        change(&mut other);
        other
    };
    for (execution, now, expected) in [
        (done.clone(), 9, None),
        (done.clone(), 10, Some(Reason::UndoExpired)),
        (
            with(|own| own.undone_by = "x".into()),
            9,
            Some(Reason::AlreadyUndone),
        ),
        (
            with(|own| own.undo_of = "x".into()),
            9,
            Some(Reason::UndoImpossible),
        ),
        (
            with(|own| own.wrote = false),
            9,
            Some(Reason::UndoImpossible),
        ),
        (
            with(|own| own.state = State::InDoubt),
            9,
            Some(Reason::UndoImpossible),
        ),
        (
            with(|own| own.state = State::Claimed),
            9,
            Some(Reason::UndoImpossible),
        ),
        (
            with(|own| own.state = State::Sending),
            9,
            Some(Reason::UndoImpossible),
        ),
        (
            with(|own| own.verb = "create_draft".into()),
            9,
            Some(Reason::UndoImpossible),
        ),
        (
            with(|own| own.changes.clear()),
            9,
            Some(Reason::UndoImpossible),
        ),
    ] {
        let refusal = check_standing(&execution, now).err();
        assert_eq!(refusal.map(|refusal| refusal.reason), expected);
    }
}

#[test]
fn each_attempt_has_a_key_of_its_own_however_many_are_forgotten() {
    use crate::domain::execution::{ATTEMPTS_MAX, Attempt};
    let mut target = execution(1);
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..ATTEMPTS_MAX * 2 {
        let key = key_of(&target);
        assert!(is_key_of(&key, &target.id) && keys.insert(key));
        target.begin_attempt(Attempt {
            request: String::new(),
            by: "ops".into(),
            execution: "e".into(),
        });
    }
    assert_eq!(target.undo_attempts.len(), ATTEMPTS_MAX);
}
