//! One execution as it is journaled: what was asked, what was seen, what was done.

use serde::{Deserialize, Serialize};
use writ_proto::value::{Value, value_from_json};

/// Where an execution stands. Nothing ever goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The token is spent, nothing is sent.
    Claimed,
    /// The one call may be on the wire.
    Sending,
    /// Known to be done (or planned, in a dry run).
    Done,
    /// Known not to have happened.
    Failed,
    /// Sent, and nobody knows.
    InDoubt,
    /// Was in doubt; it happened.
    ReconciledApplied,
    /// Was in doubt; it did not happen.
    ReconciledNotApplied,
    /// Was in doubt; a person has to look.
    Human,
}

impl State {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "CLAIMED",
            Self::Sending => "SENDING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::InDoubt => "IN_DOUBT",
            Self::ReconciledApplied => "RECONCILED_APPLIED",
            Self::ReconciledNotApplied => "RECONCILED_NOT_APPLIED",
            Self::Human => "HUMAN",
        }
    }

    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Sending,
        Self::Done,
        Self::Failed,
        Self::InDoubt,
        Self::ReconciledApplied,
        Self::ReconciledNotApplied,
        Self::Human,
    ];

    /// The state of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Claimed | Self::Sending | Self::InDoubt)
    }
}

/// One field, before and after, as canonical JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Name in the system of record.
    pub field: String,
    /// Before; none where nothing was there.
    pub before_json: Option<String>,
    /// After.
    pub after_json: Option<String>,
}

impl Change {
    /// The value before.
    #[must_use]
    pub fn before_value(&self) -> Option<Value> {
        self.before_json
            .as_deref()
            .and_then(|text| value_from_json(text).ok())
    }

    /// The value after.
    #[must_use]
    pub fn after_value(&self) -> Option<Value> {
        self.after_json
            .as_deref()
            .and_then(|text| value_from_json(text).ok())
    }
}

/// The journal entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Execution id, hyphenated.
    pub id: String,
    /// Tenant.
    pub tenant: String,
    /// Decision that authorised it.
    pub decision: String,
    /// Token id, hyphenated; empty for an undo, which an operator authorises.
    pub cti: String,
    /// Agent, or operator for an undo.
    pub agent: String,
    /// Connection.
    pub connection: String,
    /// Action.
    pub action: String,
    /// Verb of its card.
    pub verb: String,
    /// Object type of the target.
    pub object: String,
    /// Id of the target.
    pub target: String,
    /// Run, or empty.
    pub run: String,
    /// Whether it was to write.
    pub execute: bool,
    /// Where it stands.
    pub state: State,
    /// Whether a write is known to have happened.
    pub wrote: bool,
    /// What was or would have been done.
    pub sentence: String,
    /// Declared fields, before and after.
    pub changes: Vec<Change>,
    /// What changed beside them.
    pub collateral: Vec<Change>,
    /// Arguments as canonical JSON text, for recovery.
    pub args_json: String,
    /// Version the write was conditional on.
    pub version: Option<String>,
    /// Idempotency key of the one call.
    pub key: String,
    /// Reason code, or empty.
    pub reason_code: String,
    /// One sentence about it.
    pub message: String,
    /// Id that the system of record gave to a created record.
    pub created_id: String,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds at which it was marked as being sent; 0 before.
    #[serde(default)]
    pub sent_ms: i64,
    /// Unix milliseconds until which it can be undone.
    pub undo_until_ms: i64,
    /// Execution that undid this one.
    pub undone_by: String,
    /// Execution that this one undoes.
    pub undo_of: String,
    /// Why an operator marked it as a surprise, or empty.
    #[serde(default)]
    pub surprise: String,
    /// How often it was written; 0 before the first time. Kept beside the entry.
    #[serde(skip)]
    pub revision: i64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An execution that has just been claimed.
    pub(crate) fn execution(id: u128) -> Execution {
        Execution {
            id: uuid::Uuid::from_u128(id).to_string(),
            tenant: "acme".into(),
            decision: uuid::Uuid::from_u128(id).to_string(),
            cti: String::new(),
            agent: "triage".into(),
            connection: "crm/main".into(),
            action: "refund".into(),
            verb: "refund".into(),
            object: "order".into(),
            target: "O-7".into(),
            run: String::new(),
            execute: true,
            state: State::Claimed,
            wrote: false,
            sentence: String::new(),
            changes: vec![],
            collateral: vec![],
            args_json: "{}".into(),
            version: None,
            key: String::new(),
            reason_code: String::new(),
            message: String::new(),
            created_id: String::new(),
            created_ms: i64::try_from(id).unwrap(),
            sent_ms: 0,
            undo_until_ms: 0,
            undone_by: String::new(),
            undo_of: String::new(),
            surprise: String::new(),
            revision: 0,
        }
    }
}
