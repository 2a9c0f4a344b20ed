//! When an action is moved by itself.

use super::*;
use crate::domain::execution::tests::execution;

#[test]
fn rates_above_the_rule_demote_and_rates_at_it_do_not() {
    let rule = Demotion {
        undone_percent: Some(10),
        refused_percent: Some(50),
        of_last: 10,
    };
    // Executions: how many, of which undone, of which failed; undos and dry runs beside them.
    for (all, undone, failed, expected) in [
        (10, 1, 5, None),
        (10, 2, 0, Some("2 of the last 10 were undone, at most 10%")),
        (10, 0, 6, Some("6 of the last 10 were refused, at most 50%")),
        (9, 9, 0, None),
        // Only the latest count: the undone one is the oldest of eleven.
        (11, 0, 5, None),
    ] {
        let mut executions = Vec::new();
        for index in 0..all {
            let mut own = execution(index);
            own.state = if index < failed {
                State::Failed
            } else {
                State::Done
            };
            own.reason_code = if index % 2 == 0 {
                "FIELD_NOT_EMPTY".into()
            } else {
                "SYSTEM_REFUSED".into()
            };
            if index < undone || (all == 11 && index == 10) {
                own.undone_by = "x".into();
            }
            let mut undo = execution(100 + index);
            (undo.undo_of, undo.undone_by) = ("y".into(), "z".into());
            let mut dry = execution(200 + index);
            (dry.execute, dry.state) = (false, State::Failed);
            executions.extend([own, undo, dry]);
        }
        let found = demoted(rule, &executions);
        assert_eq!(found.as_deref(), expected, "{all} {undone} {failed}");
    }
}

#[test]
fn only_what_the_record_refused_counts() {
    let rule = Demotion {
        undone_percent: None,
        refused_percent: Some(50),
        of_last: 2,
    };
    for (code, counts) in [
        ("FIELD_NOT_EMPTY", true),
        ("TARGET_AMBIGUOUS", true),
        ("TARGET_NOT_FOUND", true),
        ("SYSTEM_REFUSED", true),
        ("HALTED", false),
        ("SYSTEM_UNAVAILABLE", false),
        ("SYSTEM_RATE_LIMITED", false),
        ("BUDGET_EXCEEDED", false),
        ("", false),
    ] {
        let failed = |id| Execution {
            state: State::Failed,
            reason_code: code.into(),
            ..execution(id)
        };
        let found = demoted(rule, &[failed(1), failed(2)]);
        assert_eq!(found.is_some(), counts, "{code}");
    }
}

const WIDEN: Widen = Widen {
    calm_seconds: 86_400,
    records: 3,
};

fn wrote(id: u128) -> Execution {
    Execution {
        state: State::Done,
        wrote: true,
        target: format!("O-{id}"),
        ..execution(id)
    }
}

/// Enough for a pilot to widen, and one more that something is the matter with.
fn with(change: impl Fn(&mut Execution)) -> Vec<Execution> {
    let mut last = wrote(4);
    change(&mut last);
    vec![wrote(1), wrote(2), wrote(3), last]
}

#[test]
fn only_a_calm_pilot_widens() {
    let failed = |code: &str| {
        with(|own| {
            (own.state, own.wrote, own.reason_code) = (State::Failed, false, code.into());
        })
    };
    let side_effect = crate::domain::execution::Change {
        field: "amount".into(),
        before_json: None,
        after_json: None,
    };
    let undo_of_an_older_one = with(|own| own.undo_of = "x".into());
    for (what, executions, widens) in [
        ("all is well", with(|_| {}), true),
        ("an outage", failed("SYSTEM_UNAVAILABLE"), true),
        ("a halt", failed("HALTED"), true),
        ("refused by a record", failed("FIELD_NOT_EMPTY"), false),
        ("undone", with(|own| own.undone_by = "x".into()), false),
        ("the undo of an older one", undo_of_an_older_one, false),
        ("a surprise", with(|own| own.surprise = "odd".into()), false),
        (
            "a side effect",
            with(|own| own.collateral = vec![side_effect.clone()]),
            false,
        ),
    ] {
        assert_eq!(calm(WIDEN, &executions).is_some(), widens, "{what}");
    }
    for state in State::ALL {
        let found = calm(WIDEN, &with(|own| own.state = state)).is_some();
        let doubt = IN_DOUBT.contains(&state);
        assert_eq!(found, !doubt, "{state:?}");
    }
    assert_eq!(IN_DOUBT.len(), 4);
}

#[test]
fn a_pilot_widens_by_records_and_not_by_calls() {
    let again = |id: u128| Execution {
        target: "O-1".into(),
        ..wrote(id)
    };
    let made = |id: u128, made: &str| Execution {
        target: "-".into(),
        created_id: made.into(),
        ..wrote(id)
    };
    let added = |id: u128| Execution {
        created_id: format!("N{id}"),
        ..again(id)
    };
    let dry = Execution {
        execute: false,
        ..wrote(3)
    };
    for (what, executions, widens) in [
        ("three", vec![wrote(1), wrote(2), wrote(3)], true),
        ("too few", vec![wrote(1), wrote(2)], false),
        ("none", vec![], false),
        ("a dry run", vec![wrote(1), wrote(2), dry], false),
        (
            "three notes on one",
            vec![added(1), added(2), added(3)],
            false,
        ),
        ("one thrice", vec![again(1), again(2), again(3)], false),
        (
            "three new ones",
            vec![made(1, "N1"), made(2, "N2"), made(3, "N3")],
            true,
        ),
    ] {
        assert_eq!(calm(WIDEN, &executions).is_some(), widens, "{what}");
    }
}
