//! Undo: one execution or many, last in, first out, each with its own outcome. Halts do not stop
//! an operator; drift does. An agent undoes only what it executed itself, and a halt stops it, for
//! it is a write that an agent wants. Each needs the undo writ that policyd signed when it heard of
//! the write. An undo goes the way of every write: intent, fence, guard, read-back, doubt.

mod batch;
mod foreseen;
mod one;
mod writ;

use crate::domain::execution::{Change, Execution, State};
use crate::domain::gate::Refusal;
use writ_proto::Reason;

pub use batch::{Batch, Totals};

/// Most executions that are counted for a batch.
pub const UNDO_MAX: u32 = 1_000;

/// How the undo of one execution went.
#[derive(Debug, Clone)]
pub struct Undone {
    /// The execution that was to be undone.
    pub execution: Box<Execution>,
    /// Whether the record was seen to carry its earlier values again.
    pub undone: bool,
    /// Why not, or nothing.
    pub refusal: Option<Refusal>,
    /// What stands there, and what undo writes.
    pub changes: Vec<Change>,
    /// Whether it rests on the word of an operator.
    pub unsigned: bool,
    /// Whether an earlier identical call made this outcome.
    pub replayed: bool,
}

impl Undone {
    fn refused(execution: Execution, refusal: Refusal) -> Self {
        Self {
            execution: Box::new(execution),
            undone: false,
            refusal: Some(refusal),
            changes: Vec::new(),
            unsigned: false,
            replayed: false,
        }
    }

    /// What an attempt came to that was journaled earlier.
    fn of_attempt(execution: Execution, own: &Execution) -> Self {
        let undone = matches!(own.state, State::Done | State::ReconciledApplied);
        let refusal = if undone {
            None
        } else if matches!(own.state, State::Failed | State::ReconciledNotApplied) {
            let reason = Reason::from_code(&own.reason_code).unwrap_or(Reason::UndoImpossible);
            Some(Refusal::new(reason, own.message.clone()))
        } else {
            Some(in_doubt(own))
        };
        Self {
            execution: Box::new(execution),
            undone,
            refusal,
            changes: own.changes.clone(),
            unsigned: false,
            replayed: true,
        }
    }
}

/// An undo of which nobody knows yet whether it happened.
fn in_doubt(own: &Execution) -> Refusal {
    let detail = format!(
        "undo {} is in doubt; it is being settled: connectord executions show {}",
        own.id, own.id
    );
    Refusal::new(Reason::OutcomeUnknown, detail)
}

/// Whether a write is there to be undone.
const fn stands(execution: &Execution) -> bool {
    execution.wrote && execution.undone_by.is_empty() && execution.undo_of.is_empty()
}

/// Whether it is not known of a write whether it is there.
fn is_doubtful(execution: &Execution) -> bool {
    let open = matches!(
        execution.state,
        State::Sending | State::InDoubt | State::Human
    );
    open && execution.execute && execution.undo_of.is_empty()
}
