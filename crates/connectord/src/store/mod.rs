//! The journal: spent tokens, executions, rollouts and the outbox of reports.
//!
//! Contract of every driver: when a method answers, its effect is on disk. A claim spends a token
//! exactly once, by a unique key of the database and never by memory, also with many processes.
//! A state and its report are one transaction, so that no execution ends unreported; and a state
//! is written only over the one it follows, so that no two processes settle an execution.

/// Calls the same method of whichever driver it is.
macro_rules! either {
    ($self:ident, $reader:ident => $call:expr) => {
        match &$self.reader {
            Reader::Sqlite($reader) => $call,
            Reader::Postgres($reader) => $call,
        }
    };
}

mod batch;
mod claim;
mod mark;
mod postgres;
mod rollouts;
mod rows;
mod sqlite;
mod turns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;
use writ_proto::host::channel::signed::Signed;
use writ_proto::host::store::group_commit::{Commit, GroupCommit, Undone};
use writ_proto::host::store::postgres::is_postgres;
use writ_proto::host::store::schema::SchemaError;

use crate::domain::caps::{Count, Over};
use crate::domain::execution::Execution;
use claim::Counter;
pub use claim::{Claim, Claimed, Presented};
pub use mark::JournalMark;
use postgres::{PostgresReader, PostgresWriter};
use rollouts::Seen;
pub use rows::{AT_ONCE, Filter, Promoted, Readers, Report, UndoWrit, Waiting};
use sqlite::{SqliteReader, SqliteWriter};

/// Longest wait for a commit.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most executions that are settled in one round, and those of one connection of a tenant.
const OPEN_MAX: i64 = 10_000;
const OPEN_EACH_MAX: i64 = 500;

/// Why the journal did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It cannot be reached; nothing was stored.
    #[error("the journal cannot be reached: {0}")]
    Unavailable(String),
    /// Other undos of the tenant are looked up first.
    #[error("too many undos of the tenant wait")]
    Busy,
    /// Too much waits already; nothing was stored.
    #[error("too many writes wait")]
    Full,
    /// This ceiling of a card is reached; nothing was stored.
    #[error("{0}")]
    OverCap(Over),
    /// The execution stands elsewhere than the caller knew; nothing was stored.
    #[error("the execution was settled by somebody else")]
    Conflict,
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

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<SchemaError> for JournalError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => error.into(),
            SchemaError::Version { found, known } => Self::SchemaVersion { found, known },
        }
    }
}

impl From<Undone> for JournalError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full => Self::Full,
            Undone::Stopped | Undone::Late => Self::Unavailable(undone.to_string()),
        }
    }
}

/// One write.
#[derive(Debug, Clone)]
enum Work {
    Claim(Box<Claim>),
    Save {
        /// Whose counts they are.
        tenant: String,
        executions: Vec<Execution>,
        reports: Vec<Report>,
        rollout: Option<Promoted>,
        counts: Vec<Count>,
    },
    Delivered {
        reports: Vec<Uuid>,
        undo_writs: Vec<UndoWrit>,
    },
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Written {
    Claimed(Claimed),
    Saved,
    Conflict,
    OverCap(Over),
}

fn decode(body: &str, revision: i64) -> Result<Execution, JournalError> {
    let read = serde_json::from_str(body);
    let mut execution: Execution =
        read.map_err(|error| JournalError::Corrupt(error.to_string()))?;
    execution.revision = revision;
    Ok(execution)
}

fn encode(execution: &Execution) -> Result<String, JournalError> {
    serde_json::to_string(execution).map_err(|error| JournalError::Corrupt(error.to_string()))
}

#[derive(Debug, Clone)]
enum Reader {
    Sqlite(SqliteReader),
    Postgres(PostgresReader),
}

#[derive(Debug)]
enum Writer {
    Sqlite(SqliteWriter),
    Postgres(PostgresWriter),
}

impl Commit for Writer {
    type Item = Work;
    type Done = Written;
    type Error = JournalError;

    async fn commit(&mut self, batch: &[Work]) -> Result<Vec<Written>, JournalError> {
        let committed = async {
            match self {
                Self::Sqlite(writer) => writer.commit(batch).await,
                Self::Postgres(writer) => writer.commit(batch).await,
            }
        };
        // A database that answers nothing must not hold up the batches after this one.
        tokio::time::timeout(DEADLINE, committed)
            .await
            .unwrap_or_else(|_| Err(Undone::Late.into()))
    }
}

/// The journal in one of its databases.
#[derive(Debug, Clone)]
pub struct Journal {
    reader: Reader,
    turns: turns::Turns,
    writer: GroupCommit<Writer>,
    rollouts: Arc<Mutex<BTreeMap<(String, String), Seen>>>,
    reached: Arc<Mutex<JournalMark>>,
    /// And what reports are signed for: a row of another pool is none of ours.
    signed: Option<Arc<(Signed, String)>>,
}

/// What the signature of a report is for.
const OUTBOX: &str = "writ.outbox.v1";

impl Journal {
    /// Opens `sqlite://FILE` or `postgres://...` and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached, or a later program made it.
    pub async fn open(url: &str) -> Result<Self, JournalError> {
        let (reader, writer) = if is_postgres(url) {
            let reader = PostgresReader::open(url).await?;
            let writer = Writer::Postgres(reader.writer());
            (Reader::Postgres(reader), writer)
        } else {
            let reader = SqliteReader::open(url).await?;
            let writer = Writer::Sqlite(reader.writer());
            (Reader::Sqlite(reader), writer)
        };
        Ok(Self {
            reader,
            turns: turns::Turns::default(),
            writer: GroupCommit::new(writer, DEADLINE),
            rollouts: Arc::default(),
            reached: Arc::default(),
            signed: None,
        })
    }

    /// From here on its reports are signed, and none is read that is not.
    #[must_use]
    pub fn signed_by(self, signed: Signed, audience: &str) -> Self {
        let context = format!("{OUTBOX} {audience}");
        Self {
            signed: Some(Arc::new((signed, context))),
            ..self
        }
    }

    fn sign(&self, reports: &mut [Report]) -> Result<(), JournalError> {
        let Some((signed, context)) = self.signed.as_deref() else {
            return Ok(());
        };
        let now = u64::try_from(crate::clock::now().timestamp()).unwrap_or(0);
        for report in reports {
            let body = std::mem::take(&mut report.body);
            let sealed = signed.seal(context, (report.id.into_bytes(), now), body);
            report.body = sealed.map_err(JournalError::Unavailable)?;
        }
        Ok(())
    }

    fn opened(&self, Report { id, body }: Report) -> Waiting {
        let body = match self.signed.as_deref() {
            None => Some(body),
            Some((signed, context)) => match signed.open(context, id.into_bytes(), &body) {
                Ok(body) => Some(body),
                Err(why) => {
                    tracing::debug!(%id, why, "no connectord of this service wrote this report");
                    None
                }
            },
        };
        Waiting { id, body }
    }

    /// How far it has come, as it says itself.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn mark(&self) -> Result<JournalMark, JournalError> {
        either!(self, reader => reader.mark().await)
    }

    /// How far this process has brought it.
    #[must_use]
    pub fn reached(&self) -> JournalMark {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.clone()
    }

    /// Takes account of what was committed.
    fn reach(&self, newest: Option<&str>, moved: i64) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = newest.filter(|newest| **newest > *reached.newest) {
            newest.clone_into(&mut reached.newest);
        }
        reached.moves = reached.moves.max(moved);
    }

    async fn write(&self, work: Work) -> Result<Written, JournalError> {
        self.writer.write(work).await?
    }

    /// Spends a token for one call, counts it against the cap and writes the intent.
    ///
    /// # Errors
    /// When the journal is away; then the token is not spent, or the very same call finds it.
    pub async fn claim(&self, claim: Claim) -> Result<Claimed, JournalError> {
        let id = claim.execution.id.clone();
        match self.write(Work::Claim(Box::new(claim))).await? {
            Written::Claimed(claimed) => {
                if matches!(claimed, Claimed::Fresh(_)) {
                    self.reach(Some(&id), 0);
                }
                Ok(claimed)
            }
            Written::Saved | Written::Conflict | Written::OverCap(_) => Err(JournalError::Conflict),
        }
    }

    /// What this very call spent its token for, if it did: for a retry that comes when the token
    /// would be refused by now.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn spent_by(&self, presented: &Presented) -> Result<Option<Execution>, JournalError> {
        either!(self, reader => reader.spent_by(presented).await)
    }

    /// Writes executions and their reports in one transaction.
    ///
    /// # Errors
    /// When the journal is away, or one of the executions was written by somebody else since.
    pub async fn save(
        &self,
        executions: &mut [&mut Execution],
        reports: Vec<Report>,
    ) -> Result<(), JournalError> {
        self.save_counted(executions, reports, Vec::new()).await
    }

    /// Writes executions and their reports in one transaction, if the ceilings allow it. All
    /// counts are of the tenant of the first execution.
    ///
    /// # Errors
    /// As [`Self::save`], or `OverCap`; then nothing was written.
    pub async fn save_counted(
        &self,
        executions: &mut [&mut Execution],
        reports: Vec<Report>,
        counts: Vec<Count>,
    ) -> Result<(), JournalError> {
        let work = Work::Save {
            tenant: executions
                .first()
                .map_or_else(String::new, |own| own.tenant.clone()),
            executions: executions.iter().map(|own| (**own).clone()).collect(),
            reports,
            rollout: None,
            counts,
        };
        self.save_work(work).await?;
        for execution in executions {
            execution.revision = execution.revision.saturating_add(1);
            self.reach(Some(&execution.id), 0);
        }
        Ok(())
    }

    /// Counts for a tenant, if the ceilings allow it, with a report.
    ///
    /// # Errors
    /// As [`Self::save_counted`].
    pub async fn count(
        &self,
        tenant: &str,
        counts: Vec<Count>,
        report: Report,
    ) -> Result<(), JournalError> {
        let work = Work::Save {
            tenant: tenant.to_owned(),
            executions: Vec::new(),
            reports: vec![report],
            rollout: None,
            counts,
        };
        self.save_work(work).await
    }

    /// Writes a report alone.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn report(&self, report: Report) -> Result<(), JournalError> {
        self.save(&mut [], vec![report]).await
    }

    async fn save_work(&self, mut work: Work) -> Result<(), JournalError> {
        if let Work::Save { reports, .. } = &mut work {
            self.sign(reports)?;
        }
        match self.write(work).await? {
            Written::Saved => Ok(()),
            Written::OverCap(what) => Err(JournalError::OverCap(what)),
            Written::Claimed(_) | Written::Conflict => Err(JournalError::Conflict),
        }
    }

    /// Forgets reports that policyd has made durable, or will never take, and keeps what it signed
    /// for them. What was kept first stays.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn outbox_done(
        &self,
        reports: Vec<Uuid>,
        undo_writs: Vec<UndoWrit>,
    ) -> Result<(), JournalError> {
        let work = Work::Delivered {
            reports,
            undo_writs,
        };
        self.save_work(work).await
    }

    /// The undo writs of some executions of a tenant, by execution; absent ones have none.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn undo_writs(
        &self,
        tenant: &str,
        executions: &[&str],
    ) -> Result<BTreeMap<String, Vec<u8>>, JournalError> {
        let ids: Vec<Uuid> = executions
            .iter()
            .filter_map(|id| Uuid::try_parse(id).ok())
            .collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        either!(self, reader => reader.undo_writs(tenant, &ids).await)
    }

    /// One execution of a tenant.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn execution(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Execution>, JournalError> {
        let Ok(id) = Uuid::try_parse(id) else {
            return Ok(None);
        };
        either!(self, reader => reader.execution(tenant, id).await)
    }

    /// Executions of all tenants that have not ended and that nobody touched for a time, and all
    /// that are in doubt. The clock is the database's.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn open_executions(&self, idle: Duration) -> Result<Vec<Execution>, JournalError> {
        let idle = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        either!(self, reader => reader.open_executions(idle).await)
    }

    /// Counts of some buckets of an action; absent ones are 0.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn tallies(
        &self,
        tenant: &str,
        action: &str,
        buckets: &[String],
    ) -> Result<Vec<i64>, JournalError> {
        let found = either!(self, reader => reader.tallies(tenant, action, buckets).await?);
        let of = |bucket: &String| found.get(bucket).copied().unwrap_or_default();
        Ok(buckets.iter().map(of).collect())
    }

    /// The oldest waiting reports.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn outbox(
        &self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Waiting>, JournalError> {
        let after = after.unwrap_or(Uuid::nil());
        let stored = either!(self, reader => reader.outbox(after, limit).await)?;
        Ok(stored.into_iter().map(|one| self.opened(one)).collect())
    }

    /// Whether the journal answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), JournalError> {
        // One that hangs answers no.
        let asked = async { either!(self, reader => reader.ping().await) };
        let answered = tokio::time::timeout(DEADLINE, asked).await;
        answered
            .unwrap_or_else(|_| Err(JournalError::Unavailable("no answer within 5 s".to_owned())))
    }
}

#[cfg(test)]
mod conformance;
