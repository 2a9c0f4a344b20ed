//! The undo of many executions, page by page or as far as a few seconds reach.

use std::time::Duration;

use tokio::time::Instant;
use writ_proto::Reason;

use super::super::order::Order;
use super::super::{App, AppError};
use super::foreseen::Foreseen;
use super::writ::PATIENCE;
use super::{UNDO_MAX, Undone, is_doubtful, stands};
use crate::domain::execution::{Execution, State};
use crate::domain::gate::Refusal;
use crate::store::{Filter, Readers};

/// After so long the undo of the last minutes begins with no further record.
const RECENT_TIME: Duration = Duration::from_secs(8);
/// Executions of one of its pages.
const RECENT_PAGE: u32 = 20;
/// How long one page waits for a system that asks to slow down, all its items together.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long one item waits where the system does not say.
const WAIT: Duration = Duration::from_secs(1);

/// One page of a batch.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What became of each.
    pub items: Vec<Undone>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// Executions of the selection that stood, with the first page.
    pub total: usize,
    /// Whether there are more than were looked at for it.
    pub is_cut: bool,
    /// Executions of the page that were undone earlier.
    pub earlier: usize,
    /// Executions of the page of which it is not known whether they were written.
    pub in_doubt: Vec<String>,
}

/// What the undo of the last minutes came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records that carry their earlier values again.
    pub undone: usize,
    /// Records that were left as they are.
    pub refused: usize,
    /// Writes or undos of which nobody knows whether they happened.
    pub doubtful: usize,
    /// Whether the time was up before all were looked at.
    pub left: bool,
}

impl App {
    /// Undoes what one page of a selection finds, newest first. An item that cannot be told of is
    /// an item that says so: what was undone before it is never lost.
    ///
    /// # Errors
    /// When the journal is away before anything was done. Refusals are inside the answer.
    pub async fn batch_undo(&self, order: &Order, page: &Filter) -> Result<Batch, AppError> {
        let (total, is_cut) = self.standing(&order.tenant, page).await?;
        let mut batch = Batch {
            total,
            is_cut,
            ..Batch::default()
        };
        let found = self.journal.list(&order.tenant, page).await?;
        let (until, mut wait) = (Instant::now() + PATIENCE, WAIT_MAX);
        let full = u32::try_from(found.len()).is_ok_and(|count| count == page.limit);
        batch.next = found.last().filter(|_| full).map(|last| last.id.clone());
        let mut foreseen = Foreseen::default();
        for execution in found {
            if stands(&execution) {
                let item = self
                    .undo_patiently(order, execution, (until, &foreseen), &mut wait)
                    .await;
                if order.dry_run {
                    foreseen.assume_undone(&item);
                }
                batch.items.push(item);
            } else if is_doubtful(&execution) {
                batch.in_doubt.push(execution.id);
            } else {
                let earlier = execution.undo_of.is_empty() && !execution.undone_by.is_empty();
                batch.earlier = batch.earlier.saturating_add(usize::from(earlier));
            }
        }
        Ok(batch)
    }

    /// Undoes one item of a batch, waiting where the system asks to slow down.
    async fn undo_patiently(
        &self,
        order: &Order,
        execution: Execution,
        by: (Instant, &Foreseen),
        wait: &mut Duration,
    ) -> Undone {
        loop {
            let began = Instant::now();
            let item = match Box::pin(self.undo_one(order, execution.clone(), by)).await {
                Ok(item) => item,
                Err(error) => {
                    return Undone::refused(execution, Refusal::new(error.reason, error.public));
                }
            };
            let limited = item.refusal.as_ref().is_some_and(|refusal| {
                matches!(
                    refusal.reason,
                    Reason::SystemRateLimited | Reason::RateLimited
                )
            });
            if !limited || *wait < WAIT {
                return item;
            }
            let asked = item
                .refusal
                .as_ref()
                .and_then(|refusal| seconds(&refusal.detail))
                .map_or(WAIT, Duration::from_secs);
            let pause = asked.max(WAIT).min(*wait);
            *wait = wait.saturating_sub(began.elapsed() + pause);
            tokio::time::sleep(pause).await;
            if let Ok(Some(fresh)) = self
                .journal
                .execution(&execution.tenant, &execution.id)
                .await
                && !stands(&fresh)
            {
                return item;
            }
        }
    }

    /// Undoes what was written between two moments, newest first, as far as it gets in
    /// [`RECENT_TIME`]. Repeating it goes on with what still stands.
    ///
    /// # Errors
    /// When the journal is away and nothing was done. Whatever comes later is counted.
    pub async fn undo_recent(
        &self,
        order: &Order,
        (since_ms, until_ms): (i64, i64),
    ) -> Result<Totals, AppError> {
        let (now, mut totals) = (Instant::now(), Totals::default());
        let mut until = None;
        let mut page = Filter {
            execute: Some(true),
            since_ms: Some(since_ms),
            until_ms: Some(until_ms),
            limit: RECENT_PAGE,
            readers: Readers::Undos,
            ..Filter::default()
        };
        loop {
            let found = match self.journal.list(&order.tenant, &page).await {
                Ok(found) => found,
                Err(error) if page.before.is_none() => return Err(error.into()),
                Err(_) => {
                    totals.left = true;
                    return Ok(totals);
                }
            };
            let full = u32::try_from(found.len()).is_ok_and(|count| count == page.limit);
            page.before = found.last().filter(|_| full).map(|last| last.id.clone());
            // Whatever the list had to wait for, writs of the latest writes have their time.
            let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
            for execution in found {
                if now.elapsed() >= RECENT_TIME {
                    totals.left = true;
                    return Ok(totals);
                }
                self.undo_and_count(order, execution, until, &mut totals)
                    .await;
            }
            if page.before.is_none() {
                return Ok(totals);
            }
        }
    }

    async fn undo_and_count(
        &self,
        order: &Order,
        execution: Execution,
        until: Instant,
        totals: &mut Totals,
    ) {
        let add = |count: &mut usize| *count = count.saturating_add(1);
        let open = !execution.state.is_final() || execution.state == State::Human;
        if open && execution.undo_of.is_empty() {
            return add(&mut totals.doubtful);
        }
        if !stands(&execution) {
            return;
        }
        let by = (until, &Foreseen::default());
        match Box::pin(self.undo_one(order, execution, by)).await {
            Ok(item) if item.undone => add(&mut totals.undone),
            // Other undos of the tenant were looked up first.
            Ok(Undone {
                refusal: Some(refusal),
                ..
            }) if refusal.reason == Reason::RateLimited => totals.left = true,
            Ok(Undone {
                refusal: Some(refusal),
                ..
            }) if refusal.reason != Reason::OutcomeUnknown => add(&mut totals.refused),
            // Somebody else's undo came between, or nobody knows what became of this one.
            Ok(_) => add(&mut totals.doubtful),
            Err(error) => {
                tracing::warn!(%error, "what became of an undo is not known");
                add(&mut totals.doubtful);
            }
        }
    }

    /// How many executions of a selection stand, and whether there are more than were looked at; told with its
    /// first page only.
    async fn standing(&self, tenant: &str, page: &Filter) -> Result<(usize, bool), AppError> {
        if page.before.is_some() {
            return Ok((0, false));
        }
        let all = Filter {
            limit: UNDO_MAX,
            ..page.clone()
        };
        let found = self.journal.list(tenant, &all).await?;
        let is_cut = u32::try_from(found.len()).is_ok_and(|count| count >= UNDO_MAX);
        Ok((found.iter().filter(|own| stands(own)).count(), is_cut))
    }
}

/// The seconds in `wait 7 s; ...`.
fn seconds(detail: &str) -> Option<u64> {
    detail
        .strip_prefix("wait ")?
        .split(' ')
        .next()?
        .parse()
        .ok()
}
