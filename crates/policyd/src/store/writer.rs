//! Appends by group commit, whichever database it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use writ_proto::host::store::group_commit::{Commit, GroupCommit, Pending, Undone};
use writ_proto::ids::TenantId;

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
    /// As of the writer.
    closed: Arc<AtomicBool>,
}

impl Commit for Batches {
    type Item = Append;
    type Done = Result<Appended, StoreError>;
    type Error = StoreError;

    async fn commit(&mut self, batch: &[Append]) -> Result<Vec<Self::Done>, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Restored);
        }
        match self.together(batch).await {
            Ok(done) => Ok(done.into_iter().map(Ok).collect()),
            // What is the matter with one tenant's is not the matter of the others.
            Err(StoreError::Refused(_) | StoreError::Corrupt(_)) if of_several(batch) => {
                Ok(self.apart(batch).await)
            }
            Err(error) => Err(error),
        }
    }
}

fn of_several(batch: &[Append]) -> bool {
    let first = batch.first().map(|item| &item.tenant);
    batch.iter().any(|item| Some(&item.tenant) != first)
}

impl Batches {
    /// One transaction for each tenant.
    async fn apart(&mut self, batch: &[Append]) -> Vec<Result<Appended, StoreError>> {
        let ends = Instant::now() + self.deadline;
        let mut places: BTreeMap<&TenantId, Vec<usize>> = BTreeMap::new();
        for (place, item) in batch.iter().enumerate() {
            places.entry(&item.tenant).or_default().push(place);
        }
        let late = || Err(StoreError::Unavailable(Undone::Late.to_string()));
        let mut all: Vec<Result<Appended, StoreError>> = batch.iter().map(|_| late()).collect();
        for (tenant, own) in places {
            if Instant::now() >= ends {
                break;
            }
            let items: Vec<Append> = (own.iter())
                .filter_map(|place| batch.get(*place).cloned())
                .collect();
            let done = match self.together(&items).await {
                Ok(done) => done.into_iter().map(Ok).collect(),
                Err(error) => {
                    tracing::error!(%tenant, %error, "what one tenant wanted to store is not stored");
                    vec![Err(error); own.len()]
                }
            };
            for (place, one) in own.into_iter().zip(done) {
                if let Some(answer) = all.get_mut(place) {
                    *answer = one;
                }
            }
        }
        all
    }

    async fn together(&mut self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
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
pub struct Writer {
    batches: GroupCommit<Batches>,
    closed: Arc<AtomicBool>,
}

impl Writer {
    /// A writer. `deadline` bounds every append.
    #[must_use]
    pub fn new(ledger: &Ledger, deadline: Duration) -> Self {
        let driver = match ledger {
            Ledger::Sqlite(ledger) => Driver::Sqlite(ledger.writer()),
            Ledger::Postgres(ledger) => Driver::Postgres(ledger.writer()),
        };
        let closed = Arc::<AtomicBool>::default();
        let batches = Batches {
            driver,
            deadline,
            closed: Arc::clone(&closed),
        };
        Self {
            batches: GroupCommit::new(batches, deadline),
            closed,
        }
    }

    /// Appends nothing any more: the log is not what was remembered of it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it still stores.
    ///
    /// # Errors
    /// When it was closed.
    pub fn open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Restored);
        }
        Ok(())
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
        self.open()?;
        Ok(PendingAppend(self.batches.submit(append)?))
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
        self.0.done().await??
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Kind;
    use crate::store::conformance::draft;

    #[tokio::test]
    async fn what_waits_when_the_writer_is_closed_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("t.db").display());
        let Ledger::Sqlite(ledger) = Ledger::open(&url).await.unwrap() else {
            panic!("{url}");
        };
        let mut batches = Batches {
            driver: Driver::Sqlite(ledger.writer()),
            deadline: Duration::from_secs(10),
            closed: Arc::new(AtomicBool::new(true)),
        };
        let tenant = TenantId::parse("acme").unwrap();
        let waits = Append::record(tenant, draft("acme", Kind::Evaluated));
        let done = batches.commit(&[waits]).await;
        assert_eq!(done.unwrap_err(), StoreError::Restored);
    }
}
