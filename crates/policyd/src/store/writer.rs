//! The one task that writes, by group commit.

use std::time::Duration;

use writ_host::group_commit::{self, Commit, Handle, Pending, Undone};

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

/// The task that writes.
#[derive(Debug)]
pub struct Writer(group_commit::Writer<Batches>);

/// Hands appends to the writer.
#[derive(Debug, Clone)]
pub struct WriterHandle(Handle<Batches>);

impl Writer {
    /// A writer and the handle to it. `deadline` bounds every append.
    #[must_use]
    pub fn new(ledger: &Ledger, deadline: Duration) -> (Self, WriterHandle) {
        let driver = match ledger {
            Ledger::Sqlite(ledger) => Driver::Sqlite(ledger.writer()),
            Ledger::Postgres(ledger) => Driver::Postgres(ledger.writer()),
        };
        let (writer, handle) = group_commit::writer(Batches { driver, deadline }, deadline);
        (Self(writer), WriterHandle(handle))
    }

    /// Writes until every handle is gone.
    pub async fn run(self) {
        self.0.run().await;
    }
}

impl WriterHandle {
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
