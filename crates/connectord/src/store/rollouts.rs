//! How far actions go: read often, so kept for a moment; set only over what was looked at.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use writ_proto::card::Rollout;

use super::{Journal, JournalError, Promoted, Reader, Report, Work};

/// How old a rollout may be: a demotion by another process holds within this time.
const ROLLOUT_AGE: Duration = Duration::from_millis(250);
const ROLLOUTS_MAX: usize = 4_096;

/// A rollout as it was read, and when.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    at: Instant,
    rollout: Option<Promoted>,
}

/// The stored name of a rollout.
fn rollout_from(name: &str) -> Result<Rollout, JournalError> {
    Rollout::STEPS
        .into_iter()
        .find(|r| r.name() == name)
        .ok_or_else(|| JournalError::Corrupt(format!("rollout `{name}`")))
}

impl Journal {
    /// Sets how far an action goes, with the report of it.
    ///
    /// # Errors
    /// When the journal is away; `Conflict` when somebody set it since it was looked at.
    pub async fn set_rollout(
        &self,
        promoted: Promoted,
        report: Report,
    ) -> Result<(), JournalError> {
        let work = Work::Save {
            tenant: promoted.tenant.clone(),
            executions: Vec::new(),
            reports: vec![report],
            rollout: Some(promoted),
            counts: Vec::new(),
        };
        let saved = self.save_work(work).await;
        // Whatever came of it, it is read again.
        self.seen().clear();
        if saved.is_ok()
            && let Ok(mark) = self.mark().await
        {
            self.reach(None, mark.moves);
        }
        saved
    }

    /// How far an action was promoted for a tenant, if it was; as old as `ROLLOUT_AGE` at most.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn rollout(
        &self,
        tenant: &str,
        action: &str,
    ) -> Result<Option<Promoted>, JournalError> {
        let key = (tenant.to_owned(), action.to_owned());
        let seen = self.seen().get(&key).cloned();
        if let Some(seen) = seen.filter(|seen| seen.at.elapsed() < ROLLOUT_AGE) {
            return Ok(seen.rollout);
        }
        self.rollout_now(tenant, action).await
    }

    /// Tenant and action of everything that was promoted as far as writing, whether or not it has a card
    /// now.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn writing(&self) -> Result<Vec<(String, String)>, JournalError> {
        either!(self, reader => reader.writing().await)
    }

    /// How far an action was promoted for a tenant, as the database has it at this moment.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn rollout_now(
        &self,
        tenant: &str,
        action: &str,
    ) -> Result<Option<Promoted>, JournalError> {
        let at = Instant::now();
        let row = either!(self, reader => reader.rollout(tenant, action).await?);
        let promoted = row.map(|(name, until_ms, set_ms, revision, card, system)| {
            rollout_from(&name).map(|rollout| Promoted {
                tenant: tenant.to_owned(),
                action: action.to_owned(),
                rollout,
                until_ms,
                set_ms,
                revision,
                card,
                system,
            })
        });
        let rollout = promoted.transpose()?;
        let mut all = self.seen();
        if all.len() >= ROLLOUTS_MAX {
            all.clear();
        }
        let seen = Seen {
            at,
            rollout: rollout.clone(),
        };
        all.insert((tenant.to_owned(), action.to_owned()), seen);
        Ok(rollout)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<(String, String), Seen>> {
        // What a panic left is a map, whole.
        self.rollouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
