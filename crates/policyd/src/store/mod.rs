//! The ledger: decisions, records and log heads, durable before anybody hears of them.
//!
//! Contract of every driver: when an append answers `Stored`, the record, its leaf and its
//! decision are on disk; when it fails, nothing of the batch is. Appends of one tenant are
//! numbered without gaps. Nothing is retried here; callers get the error and deny.

mod sqlite;
mod writer;

use uuid::Uuid;
use writ_proto::ids::TenantId;

use crate::domain::merkle::{Frontier, Hash};
use crate::domain::record::Draft;

pub use sqlite::SqliteLedger;
pub use writer::{Writer, WriterHandle};

/// Why the ledger did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or did not answer in time; nothing was stored.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Too much waits already; nothing was stored.
    #[error("too many appends wait")]
    Full,
    /// What it holds is not what was written.
    #[error("the store does not hold what it should: {0}")]
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

/// A decision, as it is found again by its id or its `request_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRow {
    /// Decision id.
    pub id: Uuid,
    /// The caller's id of the request.
    pub request_id: Uuid,
    /// Tells one request under that id from another.
    pub fingerprint: [u8; 32],
    /// The encoded decision.
    pub body: Vec<u8>,
}

/// One record to append, and what goes with it in the same transaction.
#[derive(Debug, Clone)]
pub struct Append {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// The record.
    pub draft: Draft,
    /// The decision, for records that are one.
    pub decision: Option<DecisionRow>,
    /// Id of a reported outcome, appended at most once.
    pub outcome_id: Option<Uuid>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// On disk.
    Stored {
        /// Its place in the log.
        seq: u64,
    },
    /// There is a decision under this `request_id`; nothing was appended.
    DuplicateDecision(DecisionRow),
    /// The outcome was appended earlier.
    DuplicateOutcome,
}

/// One stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Its place in the log.
    pub seq: u64,
    /// The exact leaf.
    pub leaf: Vec<u8>,
}

/// The head of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// All leaves so far.
    pub frontier: Frontier,
    /// Hash of the last leaf.
    pub last: Option<Hash>,
}
