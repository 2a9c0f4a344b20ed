//! When an action is moved by itself: back to dry run when its latest executions went wrong too
//! often, from its pilot to live when that was calm for long enough.

use std::collections::BTreeSet;

use writ_proto::Reason;
use writ_proto::card::{Demotion, NO_RECORD, Widen};

use super::execution::{Execution, Proof, State};

/// Refusals that say that the action does not fit its records. That a system is away, or somebody
/// halted, says nothing of the action.
const OF_THE_RECORD: [Reason; 12] = [
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
    Reason::NotTaken,
    Reason::FieldUnreadable,
];

/// States of which somebody could not tell for a while, or still cannot, what had happened.
const IN_DOUBT: [State; 4] = [
    State::InDoubt,
    State::Human,
    State::ReconciledApplied,
    State::ReconciledNotApplied,
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

/// What a calm time held, for the record; none while it was not calm. `executions` are all of that
/// time, undos among them.
#[must_use]
pub fn calm(widen: Widen, executions: &[Execution]) -> Option<String> {
    let live = || executions.iter().filter(|own| own.execute);
    let trouble = |own: &Execution| {
        !own.undo_of.is_empty()
            || !own.undone_by.is_empty()
            || !own.surprise.is_empty()
            || own.proof == Proof::SeenOther
            || !own.collateral.is_empty()
            || is_refused(own)
            || IN_DOUBT.contains(&own.state)
    };
    if live().any(trouble) {
        return None;
    }
    // One record that is written again and again shows little.
    let record = |own: &Execution| {
        let is_new = own.target == NO_RECORD;
        let id = if is_new { &own.created_id } else { &own.target };
        (own.object.clone(), id.clone())
    };
    let records: BTreeSet<_> = live().filter(|own| own.wrote).map(record).collect();
    let wrote = records.len();
    let enough = u32::try_from(wrote).unwrap_or(u32::MAX) >= widen.records;
    let hours = widen.calm_seconds.div_ceil(3_600);
    enough.then(|| {
        format!(
            "{wrote} records in {hours} hours without an undo, a refusal by a record, a surprise, \
             a side effect or a doubt"
        )
    })
}

#[cfg(test)]
mod tests;
