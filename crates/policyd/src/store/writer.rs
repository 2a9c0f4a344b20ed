//! Appends by group commit, whichever database it is.

use std::time::Duration;

use writ_proto::host::group_commit::{Commit, GroupCommit, Pending, Undone};

use super::postgres::PostgresWriter;
use super::sqlite::SqliteWriter;
use super::{Append, Appended, Ledger, StoreError};

#[derive(Debug)]
enum Driver {
    Sqlite(SqliteWriter),
    Postgres(PostgresWriter),
}

/// Commits batches, each within a time.
#[derive(Debug)]
struct Batches {
    driver: Driver,
    deadline: Duration,
}

impl Commit for Batches {
    type Item = Append;
    type Done = Appended;
    type Error = StoreError;

    async fn commit(&mut self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
        let committed = async {
            match &mut self.driver {
                Driver::Sqlite(writer) => writer.commit(batch).await,
                Driver::Postgres(writer) => writer.commit(batch).await,
            }
        };
        // A database that answers nothing must not hold up the batches after this one.
        tokio::time::timeout(self.deadline, committed)
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable(Undone::Late.to_string())))
    }
}

/// Appends by group commit.
#[derive(Debug, Clone)]
pub struct Writer(GroupCommit<Batches>);

impl Writer {
    /// A writer. `deadline` bounds every append.
    #[must_use]
    pub fn new(ledger: &Ledger, deadline: Duration) -> Self {
        let driver = match ledger {
            Ledger::Sqlite(ledger) => Driver::Sqlite(ledger.writer()),
            Ledger::Postgres(ledger) => Driver::Postgres(ledger.writer()),
        };
        Self(GroupCommit::new(Batches { driver, deadline }, deadline))
    }

    /// Appends one record and waits until it is durable.
    ///
    /// # Errors
    /// When it is not, or nobody can tell within the deadline.
    pub async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.submit(append)?.done().await
    }

    /// Hands over one record without waiting. What is submitted first comes first in the log.
    ///
    /// # Errors
    /// When nothing more can wait.
    pub fn submit(&self, append: Append) -> Result<PendingAppend, StoreError> {
        Ok(PendingAppend(self.0.submit(append)?))
    }
}

/// A record that was handed over.
#[derive(Debug)]
pub struct PendingAppend(Pending<Batches>);

impl PendingAppend {
    /// Waits until it is durable.
    ///
    /// # Errors
    /// When it is not, or nobody can tell within the deadline.
    pub async fn done(self) -> Result<Appended, StoreError> {
        self.0.done().await?
    }
}

impl From<Undone> for StoreError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full => Self::Full,
            Undone::Stopped | Undone::Late => Self::Unavailable(undone.to_string()),
        }
    }
}
