//! The journal: spent tokens, executions, rollouts and the outbox of reports.
//!
//! Contract: when a method answers, its effect is on disk. A claim spends a token exactly once,
//! by a unique key of the database and never by memory. A state and its report are one
//! transaction, so that no execution ends unreported.

mod sqlite;

pub use sqlite::SqliteJournal;

use writ_proto::card::Rollout;

use crate::domain::execution::Execution;

/// Why the journal did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It cannot be reached; nothing was stored.
    #[error("the journal cannot be reached: {0}")]
    Unavailable(String),
    /// What it holds is not what was written.
    #[error("the journal does not hold what it should: {0}")]
    Corrupt(String),
    /// Another version of the program made it.
    #[error("schema version {found}, this program knows {known}")]
    SchemaVersion {
        /// Version in the database.
        found: i64,
        /// Version of this program.
        known: i64,
    },
}

/// What spends a token.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Issuer of the token.
    pub issuer: String,
    /// Token id.
    pub cti: [u8; 16],
    /// The caller's id of the call.
    pub request_id: [u8; 16],
    /// Hash of the request.
    pub request_hash: [u8; 32],
    /// Tenant and agent.
    pub caller: String,
    /// UTC day of the cap.
    pub day: String,
    /// Most executed records of the action on that day.
    pub records_per_day: u32,
    /// The journal entry.
    pub execution: Execution,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The token is spent for this call.
    Fresh,
    /// This very call spent it earlier; here is how it stands.
    Repeated(Box<Execution>),
    /// Another call spent it.
    Replayed,
    /// The cap of the card is reached; the token is not spent.
    OverCap,
}

/// A report that waits to reach policyd, as encoded protobuf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Outcome id.
    pub id: [u8; 16],
    /// Encoded `writ.v1.Outcome`.
    pub body: Vec<u8>,
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<String>,
    /// Only this run.
    pub run: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only those made at or after this time, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// The stored name of a rollout.
#[must_use]
pub fn rollout_from(name: &str) -> Option<Rollout> {
    [Rollout::Suggest, Rollout::DryRun, Rollout::Live]
        .into_iter()
        .find(|r| r.name() == name)
}
