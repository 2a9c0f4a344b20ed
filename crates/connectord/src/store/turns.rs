//! Lists of executions: those that undos need are read one after the other of each tenant, so that an undo of one tenant
//! waits for at most one list of every other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Filter, Journal, JournalError, Reader, Readers};
use crate::domain::execution::Execution;

/// Longest wait for the other undos of a tenant.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// Whose turn it is, of each tenant that has one or waits for one.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<BTreeMap<String, Weak<Semaphore>>>>);

impl Turns {
    /// Waits for the turn of a tenant, which ends with what is given.
    async fn of(&self, tenant: &str, most: Duration) -> Result<OwnedSemaphorePermit, JournalError> {
        let own = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turn| turn.strong_count() > 0);
            let own = all.get(tenant).and_then(Weak::upgrade);
            own.unwrap_or_else(|| {
                let own = Arc::new(Semaphore::new(1));
                all.insert(tenant.to_owned(), Arc::downgrade(&own));
                own
            })
        };
        let turn = tokio::time::timeout(most, own.acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(JournalError::Busy)
    }
}

impl Journal {
    /// Executions of a tenant, newest first.
    ///
    /// # Errors
    /// When the journal is away, or other undos of the tenant take too long.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &Filter,
    ) -> Result<Vec<Execution>, JournalError> {
        let _turn = match filter.readers {
            Readers::Undos => Some(self.turns.of(tenant, WAIT_MAX).await?),
            Readers::Writes | Readers::Lists => None,
        };
        either!(self, reader => reader.list(tenant, filter).await)
    }
}

#[cfg(test)]
mod tests;
