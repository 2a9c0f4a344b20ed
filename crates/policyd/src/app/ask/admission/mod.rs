//! Shares of the queue of decisions. What an agent asks at once is decided a few at a time, so that
//! the next request of anybody else waits for a few, however many one agent sends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use writ_proto::Reason;
use writ_proto::ids::{AgentId, TenantId};

use crate::error::AppError;

/// Decisions of one agent that are made at the same time while nobody else asks.
const ALONE: usize = 64;
/// The same while others ask too.
const AT_ONCE: usize = 8;
/// Decisions of one tenant that are made at the same time while agents of others ask too.
const TENANT_AT_ONCE: usize = 32;
/// How long after a request of another agent an agent is not alone.
const ALONE_AFTER: Duration = Duration::from_secs(1);
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
pub struct Admission {
    shares: Mutex<Shares>,
    asked: Mutex<Asked>,
}

/// Who asked last, and when it last was somebody else.
#[derive(Debug, Default)]
struct Asked {
    last: Option<(TenantId, AgentId)>,
    changed: Option<Instant>,
}

/// A turn. It ends when it is dropped, also where the call was cancelled.
#[derive(Debug)]
pub struct Turn<'a> {
    // Given back before nobody is inside: a share that is made anew has all its turns.
    _turns: Vec<OwnedSemaphorePermit>,
    _inside: Vec<Inside<'a>>,
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
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether only this agent has asked anything of late.
    fn is_alone(&self, tenant: &TenantId, agent: &AgentId) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |(last_tenant, last): &(TenantId, AgentId)| last_tenant == tenant && last == agent;
        if !asked.last.as_ref().is_some_and(same) {
            // The first of all has nobody before it.
            if asked.last.is_some() {
                asked.changed = Some(Instant::now());
            }
            asked.last = Some((tenant.clone(), agent.clone()));
        }
        asked.changed.is_none_or(|at| at.elapsed() > ALONE_AFTER)
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
        let most = ALONE.saturating_add(WAITING_MAX);
        let alone = self.is_alone(tenant, agent);
        let name = agent.as_str();
        let own = (tenant.clone(), Some(name.to_owned()));
        let shared = (tenant.clone(), Some(format!("{name} beside others")));
        let all = (tenant.clone(), None);
        let mut steps = vec![(own, (ALONE, most))];
        if !alone {
            // Only who has a turn of its own asks for one of the tenant: no agent queues before others.
            steps.push((shared, (AT_ONCE, usize::MAX)));
            steps.push((all, (TENANT_AT_ONCE, usize::MAX)));
        }
        let (mut inside, mut turns) = (Vec::new(), Vec::new());
        for (key, limits) in steps {
            let (entered, share) = self.enter(key, limits)?;
            inside.push(entered);
            let closed = |_| AppError::of(Reason::Internal);
            turns.push(share.acquire_owned().await.map_err(closed)?);
        }
        Ok(Turn {
            _turns: turns,
            _inside: inside,
        })
    }
}

#[cfg(test)]
mod tests;
