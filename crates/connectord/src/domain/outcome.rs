//! What connectord tells policyd: of a call, an execution, a halt, a rollout.

use uuid::Uuid;

use super::execution::Change;

/// What an outcome is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A token was refused.
    Refused,
    /// An execution reached a state.
    Result,
    /// An undo, done or refused.
    Undo,
    /// An execution in doubt was settled.
    Reconciled,
    /// A halt was set.
    HaltSet,
    /// A halt was cleared.
    HaltCleared,
    /// An action was promoted or demoted.
    RolloutChanged,
}

/// An outcome before it is put on the wire.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Made with the outcome.
    pub id: Uuid,
    /// What it is about.
    pub kind: Kind,
    /// Tenant.
    pub tenant: String,
    /// Unix milliseconds.
    pub time_ms: i64,
    /// Decision, or empty.
    pub decision: String,
    /// Execution, or empty.
    pub execution: String,
    /// Agent.
    pub agent: String,
    /// Connection.
    pub connection: String,
    /// Action.
    pub action: String,
    /// Object type and id.
    pub target: Option<(String, String)>,
    /// Whether it was to write; none where that makes no sense.
    pub execute: Option<bool>,
    /// Status.
    pub status: String,
    /// Reason code, or empty.
    pub reason_code: String,
    /// Milliseconds.
    pub milliseconds: u64,
    /// What changed.
    pub changes: Vec<Change>,
    /// What changed beside it.
    pub collateral: Vec<Change>,
    /// Who, for acts of people.
    pub by: String,
    /// Why.
    pub note: String,
    /// What a halt covers, or empty.
    pub scope: String,
}
