//! The ledger: decisions, records, log heads and budgets, durable before anybody hears of them.
//!
//! Contract of every driver: when a batch is answered, each record, its leaf, its decision and
//! its holds are on disk; when it fails, nothing of the batch is. Appends of one tenant are
//! numbered without gaps, and no budget passes its cap, also with many writers. Nothing is
//! retried here; callers get the error and deny.

mod batch;
mod budget;
mod incident;
pub mod notice;
mod policy;
mod postgres;
mod sqlite;
mod undo;
mod writer;

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;
use writ_proto::host::store::postgres::is_postgres;
use writ_proto::host::store::schema::SchemaError;
use writ_proto::ids::TenantId;

use crate::domain::budget::{Hold, Key, Over, Settlement, Usage};
use crate::domain::incident::notice::Notice;
use crate::domain::incident::{Denial, Incident};
use crate::domain::log::merkle::{Frontier, Hash};
use crate::domain::record::Draft;
use postgres::PostgresLedger;
use sqlite::SqliteLedger;

pub use budget::{HoldRow, Raising, Trip, Wanted};
pub use policy::{InForce, PolicyRow};
pub use writer::Writer;

/// Why the ledger did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or did not answer in time; nothing was stored.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The database does not take what was to be stored; nothing was stored.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// The log is not what was remembered of it; nothing is stored any more.
    #[error("the log is not what policyd remembers of it")]
    Restored,
    /// Too much waits already; nothing was stored.
    #[error("too many appends wait")]
    Full,
    /// What it holds is not what was written.
    #[error("the store does not hold what it should: {0}")]
    Corrupt(String),
    /// An earlier version wrote records into it that this one cannot continue.
    #[error(
        "an earlier version wrote this log, and its records cannot be continued: export and keep it, and begin with a fresh database"
    )]
    OldLog,
    /// Another version of the program made it.
    #[error("schema version {found}, this program knows {known}")]
    SchemaVersion {
        /// Version in the database.
        found: i64,
        /// Version of this program.
        known: i64,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) if is_refusal(error.as_ref()) => {
                Self::Refused(error.to_string())
            }
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// Whether a database refuses this very thing, rather than being unable to take anything now: what is no value of its
/// column, contradicts a constraint, is too big, or meets pages that are broken. Whatever else it says is of the moment, or
/// of the whole database.
fn is_refusal(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if code.len() == 5 {
        let classes = ["22", "23", "54", "P0", "XX"];
        return classes.iter().any(|class| code.starts_with(class));
    }
    // SQLITE_CORRUPT, TOOBIG, CONSTRAINT, MISMATCH, RANGE.
    let primary = code.parse::<u32>().map_or(0, |code| code & 0xff);
    [11, 18, 19, 20, 25].contains(&primary)
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => error.into(),
            SchemaError::Version { found, known } => Self::SchemaVersion { found, known },
        }
    }
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

/// What allows the undo of the one write of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoRow {
    /// The decision.
    pub decision: Uuid,
    /// Payload of the undo writ. What was stored first stays.
    pub payload: Vec<u8>,
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
    /// What the decision reserves; all of it or the record is not appended.
    pub holds: Vec<Hold>,
    /// What becomes of the holds of a decision.
    pub settles: Option<Settlement>,
    /// Usage that was reported.
    pub usage: Vec<Usage>,
    /// A cap that is higher for a time; it is not appended where there is no room for it.
    pub raise: Option<Raising>,
    /// Whom a limit halts that fired.
    pub trip: Option<Trip>,
    /// What people are told, if the record is stored.
    pub notices: Vec<Notice>,
    /// Incidents that it may open or that it closes.
    pub incidents: Incidents,
    /// What allows the undo of the write that is reported.
    pub undo: Option<UndoRow>,
    /// The policy set that comes into force with the record.
    pub policy: Option<PolicyRow>,
}

/// What a record does to incidents, in the same transaction.
#[derive(Debug, Clone, Default)]
pub struct Incidents {
    /// The denial as each rule counts it.
    pub denials: Vec<Denial>,
    /// An incident as it stands when it is closed.
    pub closes: Option<Incident>,
    /// The denials are counted, and the record itself is not appended.
    pub counts_only: bool,
}

impl Append {
    /// A record with nothing beside it.
    #[must_use]
    pub const fn record(tenant: TenantId, draft: Draft) -> Self {
        Self {
            tenant,
            draft,
            decision: None,
            outcome_id: None,
            holds: Vec::new(),
            settles: None,
            usage: Vec::new(),
            raise: None,
            trip: None,
            notices: Vec::new(),
            incidents: Incidents {
                denials: Vec::new(),
                closes: None,
                counts_only: false,
            },
            undo: None,
            policy: None,
        }
    }

    /// Whether counters have to be read before it can be written.
    const fn counts(&self) -> bool {
        let quiet = self.holds.is_empty() && self.usage.is_empty();
        let counted = !self.incidents.denials.is_empty();
        // A later version names the one before.
        counted || self.draft.later || !quiet || self.settles.is_some() || self.raise.is_some()
    }

    /// The moment from which on raises matter to it.
    fn raises_from(&self) -> Option<i64> {
        let held = self.holds.iter().map(|hold| hold.at_ms).min();
        held.or_else(|| Some(self.raise.as_ref()?.at_ms))
    }

    /// The counters it touches, and those that spikes are told from.
    fn keys(&self) -> impl Iterator<Item = &Key> {
        let held = self.holds.iter().flat_map(|hold| {
            let spike = hold.limits.spike.iter();
            core::iter::once(&hold.key).chain(spike.flat_map(|spike| &spike.days))
        });
        held.chain(self.usage.iter().map(|usage| &usage.key))
    }
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
    /// The denials were counted; there is no record of its own.
    Counted,
    /// The outcome was appended earlier.
    DuplicateOutcome,
    /// A hold does not fit under its cap; nothing was appended and nothing is held.
    OverBudget {
        /// Place of the first hold that does not fit.
        hold: usize,
        /// What fired.
        over: Over,
    },
    /// There is no room for another raise; nothing was appended.
    RaiseRefused,
}

/// One stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Its place in the log.
    pub seq: u64,
    /// The exact leaf.
    pub leaf: Vec<u8>,
    /// The values that it commits to, as they are kept beside the log.
    pub disclosed: Vec<u8>,
}

/// The head of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// All leaves so far.
    pub frontier: Frontier,
    /// Hash of the last leaf.
    pub last: Option<Hash>,
}

/// Most logs that are listed at once.
const LOGS_MAX: usize = 100_000;

fn head_row(size: i64, last: &[u8]) -> Result<(u64, Hash), StoreError> {
    let size = u64::try_from(size).map_err(|_| corrupt("the head of a log"))?;
    let last = last.try_into().map_err(|_| corrupt("the last hash"))?;
    Ok((size, last))
}

/// How many decisions have no place in the log: those of versions before places were kept.
const OLD_DECISIONS: &str =
    "SELECT count(*) FROM (SELECT 1 FROM decision WHERE seq IS NULL LIMIT 1) AS old";

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Head {
    fn from_columns(size: i64, roots: &[u8], last: &[u8]) -> Result<Self, StoreError> {
        let size = u64::try_from(size).ok();
        let frontier = size.and_then(|size| Frontier::decode(size, roots));
        Ok(Self {
            frontier: frontier.ok_or_else(|| corrupt("the head of the log"))?,
            last: Some(last.try_into().map_err(|_| corrupt("the last hash"))?),
        })
    }
}

impl RecordRow {
    fn from_columns(seq: i64, leaf: Vec<u8>, disclosed: Vec<u8>) -> Result<Self, StoreError> {
        let seq = u64::try_from(seq).map_err(|_| corrupt("a negative sequence number"))?;
        Ok(Self {
            seq,
            leaf,
            disclosed,
        })
    }
}

/// The ledger in one of its databases.
#[derive(Debug, Clone)]
pub enum Ledger {
    /// One file, one writing process.
    Sqlite(SqliteLedger),
    /// One database, many processes.
    Postgres(PostgresLedger),
}

/// Calls the same method of whichever driver it is.
macro_rules! either {
    ($self:ident, $ledger:ident => $call:expr) => {
        match $self {
            Self::Sqlite($ledger) => $call,
            Self::Postgres($ledger) => $call,
        }
    };
}

impl Ledger {
    /// Opens `sqlite://FILE` or `postgres://...` and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached, or a later program made it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if is_postgres(url) {
            return Ok(Self::Postgres(PostgresLedger::open(url).await?));
        }
        Ok(Self::Sqlite(SqliteLedger::open(url).await?))
    }

    /// The head of a tenant's log.
    ///
    /// # Errors
    /// When the store is away or holds no valid head.
    pub async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        either!(self, ledger => ledger.head(tenant).await)
    }

    /// Size and last hash of every log.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heads(&self) -> Result<BTreeMap<TenantId, (u64, Hash)>, StoreError> {
        either!(self, ledger => ledger.heads().await)
    }

    /// Records of a tenant from a place on, in order.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn record_list(
        &self,
        tenant: &TenantId,
        from: u64,
        most: usize,
    ) -> Result<Vec<RecordRow>, StoreError> {
        either!(self, ledger => ledger.record_list(tenant, from, most).await)
    }

    /// A decision of a tenant by its id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn decision(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<DecisionRow>, StoreError> {
        either!(self, ledger => ledger.decision(tenant, id).await)
    }

    /// The decision that was made under a request id, as it is stored.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn decided(
        &self,
        tenant: &TenantId,
        request: Uuid,
    ) -> Result<Option<DecisionRow>, StoreError> {
        either!(self, ledger => ledger.decided(tenant, request).await)
    }

    /// Decisions of a tenant, newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn decision_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        either!(self, ledger => ledger.decision_list(tenant, most).await)
    }

    /// Whether an outcome was appended under this id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn has_outcome(&self, id: Uuid) -> Result<bool, StoreError> {
        either!(self, ledger => ledger.has_outcome(id).await)
    }

    /// Decisions of any tenant by their ids; absent ones are not there.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn decisions(
        &self,
        ids: &[Uuid],
    ) -> Result<BTreeMap<(TenantId, Uuid), DecisionRow>, StoreError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        either!(self, ledger => ledger.decisions(ids).await)
    }

    /// Payloads of the undo writs of decisions; absent ones are not there.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn undo_payloads(
        &self,
        decisions: &[Uuid],
    ) -> Result<BTreeMap<(TenantId, Uuid), Vec<u8>>, StoreError> {
        if decisions.is_empty() {
            return Ok(BTreeMap::new());
        }
        either!(self, ledger => ledger.undo_payloads(decisions).await)
    }

    /// Whether anything can be written now: a database that is read only or has no room answers all
    /// the same.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn probe(&self, now_ms: i64) -> Result<(), StoreError> {
        within(async { either!(self, ledger => ledger.probe(now_ms).await) }).await
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        within(async { either!(self, ledger => ledger.ping().await) }).await
    }
}

/// How long a database may take to say that it is there.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A database that hangs answers no; a commit may wait for a disk or a standby without end.
async fn within(asked: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
    let answered = tokio::time::timeout(ANSWER_MAX, asked).await;
    answered.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer within 5 s".to_owned())))
}

#[cfg(test)]
pub(crate) mod conformance;
