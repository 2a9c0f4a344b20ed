//! Shares of the queue of decisions. What an agent asks at once is decided a few at a time, so that
//! the next request of anybody else waits for a few, however many one agent sends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use writ_proto::Reason;
use writ_proto::ids::{AgentId, TenantId};

use super::AppError;

/// Decisions of one agent that are made at the same time.
const AT_ONCE: usize = 8;
/// Decisions of one tenant that are made at the same time.
const TENANT_AT_ONCE: usize = 32;
/// Requests of one agent that wait for their turn; what comes on top is refused.
const WAITING_MAX: usize = 512;

/// One agent's or one tenant's share.
#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    /// Requests that hold or wait for a turn.
    inside: usize,
}

type Shares = BTreeMap<(TenantId, Option<String>), Share>;

/// Who decides how much at once. Only who asks something now has an entry.
#[derive(Debug, Default)]
pub struct Admission(Mutex<Shares>);

/// A turn. It ends when it is dropped, also where the call was cancelled.
#[derive(Debug)]
pub struct Turn<'a> {
    _agent: Inside<'a>,
    _tenant: Inside<'a>,
    _turns: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Counts somebody inside.
#[derive(Debug)]
struct Inside<'a> {
    admission: &'a Admission,
    key: (TenantId, Option<String>),
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut shares = self.admission.shares();
        if let Some(share) = shares.get_mut(&self.key) {
            share.inside = share.inside.saturating_sub(1);
            if share.inside == 0 {
                shares.remove(&self.key);
            }
        }
    }
}

impl Admission {
    fn shares(&self) -> std::sync::MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        &self,
        key: (TenantId, Option<String>),
        (at_once, most): (usize, usize),
    ) -> Result<(Inside<'_>, Arc<Semaphore>), AppError> {
        let mut shares = self.shares();
        let share = shares.entry(key.clone()).or_insert_with(|| Share {
            turns: Arc::new(Semaphore::new(at_once)),
            inside: 0,
        });
        if share.inside >= most {
            let message = "too many requests of this agent wait already";
            return Err(AppError::new(Reason::RateLimited, message));
        }
        share.inside = share.inside.saturating_add(1);
        let turns = Arc::clone(&share.turns);
        let admission = self;
        Ok((Inside { admission, key }, turns))
    }

    /// Waits for a turn of an agent.
    ///
    /// # Errors
    /// `RATE_LIMITED` where too many of its requests wait already; nothing is decided then.
    pub async fn turn(&self, tenant: &TenantId, agent: &AgentId) -> Result<Turn<'_>, AppError> {
        let most = AT_ONCE.saturating_add(WAITING_MAX);
        let own = (tenant.clone(), Some(agent.as_str().to_owned()));
        let (agent, turns) = self.enter(own, (AT_ONCE, most))?;
        let closed = |_| AppError::of(Reason::Internal);
        let first = turns.acquire_owned().await.map_err(closed)?;
        // Only who has a turn of its own asks for one of the tenant: no agent queues up before others.
        let all = (tenant.clone(), None);
        let (tenant, turns) = self.enter(all, (TENANT_AT_ONCE, usize::MAX))?;
        let second = turns.acquire_owned().await.map_err(closed)?;
        Ok(Turn {
            _agent: agent,
            _tenant: tenant,
            _turns: (first, second),
        })
    }
}

#[cfg(test)]
mod tests;
