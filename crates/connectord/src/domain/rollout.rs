//! When a live action goes back to dry run by itself: its latest executions went wrong too often.

use writ_proto::Reason;
use writ_proto::card::Demotion;

use super::execution::{Execution, State};

/// Refusals that say that the action does not fit its records. That a system is away, or somebody
/// halted, says nothing of the action.
const OF_THE_RECORD: [Reason; 10] = [
    Reason::PreconditionFailed,
    Reason::StateNotAllowed,
    Reason::FieldNotEmpty,
    Reason::AppendImpossible,
    Reason::NotMechanical,
    Reason::TargetAmbiguous,
    Reason::TargetMismatch,
    Reason::TargetNotFound,
    Reason::AlreadyExists,
    Reason::SystemRefused,
];

fn is_refused(execution: &Execution) -> bool {
    let of_the_record = |reason: &Reason| reason.code() == execution.reason_code;
    execution.state == State::Failed && OF_THE_RECORD.iter().any(of_the_record)
}

/// Why an action is demoted, from its executions, newest first; none while all is well. Undos are
/// not executions of the action; with fewer than the rule looks at, nothing is concluded.
#[must_use]
pub fn demoted(rule: Demotion, executions: &[Execution]) -> Option<String> {
    let wanted = usize::try_from(rule.of_last).unwrap_or(usize::MAX);
    let tells = |own: &&Execution| own.state != State::Failed || is_refused(own);
    let own = executions
        .iter()
        .filter(|own| own.execute && own.undo_of.is_empty())
        .filter(tells);
    let latest: Vec<&Execution> = own.take(wanted).collect();
    if latest.len() < wanted {
        return None;
    }
    let count = |wrong: &dyn Fn(&Execution) -> bool| {
        let count = latest.iter().filter(|own| wrong(own)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let undone = count(&|own| !own.undone_by.is_empty());
    let refused = count(&is_refused);
    let above = |(found, most): (u32, Option<u32>), what: &str| {
        let most = most?;
        let over = u64::from(found).saturating_mul(100)
            > u64::from(most).saturating_mul(u64::from(rule.of_last));
        over.then(|| {
            format!(
                "{found} of the last {} {what}, at most {most}%",
                rule.of_last
            )
        })
    };
    above((undone, rule.undone_percent), "were undone")
        .or_else(|| above((refused, rule.refused_percent), "were refused"))
}

#[cfg(test)]
mod tests {
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
}
