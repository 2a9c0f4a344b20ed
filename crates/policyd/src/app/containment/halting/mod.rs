//! Halts that policyd itself asks for: a run over its budget, an agent that keeps probing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use writ_proto::Reason;
use writ_proto::ids::{AgentId, TenantId};
use writ_proto::limits::REASON_BYTES_MAX;
use writ_proto::scope::{Part, Scope};

use crate::error::AppError;

/// Most halts that wait for connectord.
const WAITING_MAX: usize = 256;
/// Halts of runs of one agent that wait. An agent that names a fresh run with each call cannot make
/// more: it is halted itself then.
const RUNS_MAX: usize = 16;

/// What a halt is for; it is shown as who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A cap or budget was reached.
    Budget,
    /// An agent was denied too often.
    Incident,
}

impl Cause {
    /// The name on the wire and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Incident => "incident",
        }
    }
}

/// A halt to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A run or an agent of one tenant.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// For what.
    pub by: Cause,
    /// Whose run it is; empty where it is an agent.
    pub agent: String,
}

/// A scope that waits, and whose run it is.
type Waiting = (Scope, String);

/// Asks for halts; clones ask the same connectord.
#[derive(Debug, Clone)]
pub struct HaltClient {
    queue: mpsc::Sender<Wanted>,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    /// What connectord said that it has, until whoever ordered it took note.
    standing: Arc<Mutex<BTreeSet<Scope>>>,
}

/// The other end, which delivers.
#[derive(Debug)]
pub struct HaltQueue {
    wanted: mpsc::Receiver<Wanted>,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    standing: Arc<Mutex<BTreeSet<Scope>>>,
}

/// A client and the queue it fills.
#[must_use]
pub fn channel() -> (HaltClient, HaltQueue) {
    let (queue, wanted) = mpsc::channel(WAITING_MAX);
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let standing = Arc::new(Mutex::new(BTreeSet::new()));
    let client = HaltClient {
        queue,
        waiting: Arc::clone(&waiting),
        standing: Arc::clone(&standing),
    };
    let queue = HaltQueue {
        wanted,
        waiting,
        standing,
    };
    (client, queue)
}

impl HaltClient {
    /// Halts a run or an agent of a tenant. policyd refuses it from now on; connectord as soon as
    /// it is reached, which is tried until it succeeds.
    ///
    /// # Errors
    /// `RATE_LIMITED` when too many wait already, `REQUEST_MALFORMED` for another part.
    pub fn set(
        &self,
        tenant: &TenantId,
        part: Part,
        reason: &str,
        (by, agent): (Cause, &str),
    ) -> Result<(), AppError> {
        if !matches!(part, Part::Run(_) | Part::Agent(_)) {
            let message = "policyd halts runs and agents only";
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        let scope = Scope::new(Some(tenant.clone()), part);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked for already, and not yet delivered.
        if waiting.iter().any(|(waits, _)| *waits == scope) {
            return Ok(());
        }
        let full = |_| AppError::of(Reason::RateLimited);
        let cut = reason.chars().take(REASON_BYTES_MAX / 4).collect();
        let wanted = Wanted {
            scope: scope.clone(),
            reason: cut,
            by,
            agent: agent.to_owned(),
        };
        self.queue.try_send(wanted).map_err(full)?;
        waiting.push((scope, agent.to_owned()));
        Ok(())
    }

    /// Whether connectord has said since the last question that an order stands.
    #[must_use]
    pub fn took_note(&self, scope: &Scope) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.remove(scope)
    }

    /// Whether so many halts of runs of one agent wait that the next one had better name the agent.
    #[must_use]
    pub fn is_crowded(&self, tenant: &TenantId, agent: &AgentId) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own =
            |(scope, whose): &&Waiting| scope.tenant() == Some(tenant) && whose == agent.as_str();
        waiting.iter().filter(own).count() >= RUNS_MAX
    }

    /// What was asked for and is not set yet: policyd takes it as halted.
    #[must_use]
    pub fn waiting(&self) -> Vec<Scope> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().map(|(scope, _)| scope.clone()).collect()
    }
}

impl HaltQueue {
    /// The next halt to set; none when nobody can ask any more.
    pub async fn next(&mut self) -> Option<Wanted> {
        self.wanted.recv().await
    }

    /// The next one, where one waits.
    pub fn next_now(&mut self) -> Option<Wanted> {
        self.wanted.try_recv().ok()
    }

    /// It stands: connectord said so. Only limits wait for that word; an incident waits until the halt is
    /// heard of.
    pub fn stands(&self, wanted: &Wanted) {
        if wanted.by == Cause::Budget {
            let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            // A scope that finds no room here is asked for again.
            if standing.len() < WAITING_MAX {
                standing.insert(wanted.scope.clone());
            }
        }
        self.done(&wanted.scope);
    }

    /// Nothing waits for it any more.
    pub fn done(&self, scope: &Scope) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(waits, _)| waits != scope);
    }
}

#[cfg(test)]
mod tests;
