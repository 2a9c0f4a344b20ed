//! Refusals that are alike: the first ones of a minute are reported each, the rest are counted, and one report says how
//! many there were.

use writ_proto::host::serve::alike::{Alike, Counted};

use super::outcome::{Kind, Outcome};
use super::{App, AppError};
use crate::clock;

/// Refusals of a kind within a minute that are reported each: as many as a rule of incidents waits for at most.
const REPORTED_MAX: u32 = 100;

/// The counts of a process.
pub type Refusals = Alike<RefusalKind>;

/// What makes refusals of a tenant alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusalKind {
    agent: String,
    by: String,
    /// The action of a card, or empty: an agent may name any.
    action: String,
    reason: String,
    /// Of an undo, not of a token.
    undo: bool,
}

/// No refusal yet.
#[must_use]
pub const fn refusals() -> Refusals {
    Alike::new(REPORTED_MAX)
}

impl App {
    /// Reports a refusal, or counts it.
    pub(in crate::app) async fn report_refusal(&self, outcome: &Outcome) -> Result<(), AppError> {
        let card = self.card(&outcome.tenant, &outcome.action).ok();
        let kind = RefusalKind {
            agent: outcome.agent.clone(),
            by: outcome.by.clone(),
            action: card.map_or_else(String::new, |_| outcome.action.clone()),
            reason: outcome.reason_code.clone(),
            undo: outcome.kind == Kind::Undo,
        };
        let now_ms = clock::now().timestamp_millis();
        if self.alike.admit(&outcome.tenant, &kind, now_ms) {
            self.journal.report(outcome.report()).await?;
            return Ok(());
        }
        let about = outcome.target.as_ref();
        let about = about.map_or_else(String::new, |(object, id)| format!("{object}/{id}"));
        self.alike.add(&outcome.tenant, kind, &about, now_ms);
        Ok(())
    }

    /// Reports how many were only counted in windows that are over; in all of them where nothing follows.
    ///
    /// # Errors
    /// When the journal does not take one; it is tried again.
    pub async fn report_counts(&self, all: bool) -> Result<(), AppError> {
        let mut failed = Ok(());
        let now_ms = clock::now().timestamp_millis();
        for counted in self.alike.take_finished(now_ms, all) {
            if let Err(error) = self.journal.report(told(&counted).report()).await {
                self.alike.put_back(counted);
                failed = Err(error.into());
            }
        }
        failed
    }
}

fn told((tenant, kind, count): &Counted<RefusalKind>) -> Outcome {
    let (of, status) = if kind.undo {
        (Kind::Undo, "UNDO_REFUSED")
    } else {
        (Kind::Refused, "REFUSED")
    };
    let since = chrono::DateTime::from_timestamp_millis(count.began_ms).unwrap_or_default();
    let about: Vec<&str> = count.details.iter().map(String::as_str).collect();
    Outcome {
        agent: kind.agent.clone(),
        action: kind.action.clone(),
        reason_code: kind.reason.clone(),
        by: kind.by.clone(),
        note: format!(
            "{} more like the {REPORTED_MAX} that were reported since {}: {}",
            count.unwritten,
            since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            about.join(", ")
        ),
        ..Outcome::new(of, tenant, status)
    }
}
