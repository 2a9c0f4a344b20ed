//! Denials that are alike: the first ones of a minute are records, the rest are counted, and their count is one record. Every
//! one of them counts for incidents, and what a limit orders is never among them: each counter is a kind of its own.

use writ_proto::Reason;
use writ_proto::host::serve::alike::{Alike, Counted};
use writ_proto::ids::{ActionName, TenantId};
use writ_proto::value::{Map, Value};

use super::denials::Denied;
use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{Draft, Kind};
use crate::error::AppError;
use crate::store::Append;
use crate::{clock, ids};

/// Alike denials of one minute that are records.
const RECORDED_MAX: u32 = 100;
/// Counts that are handed to the writer at once.
const ROUND: usize = 64;

/// The counts of a process.
pub type Denials = Alike<DenialKind>;

/// What makes denials of a tenant alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DenialKind {
    agent: String,
    /// The action of a card, or empty: a caller may write anything.
    action: String,
    reason: &'static str,
    /// The counter that was full, or empty.
    counter: String,
}

/// No denial yet.
#[must_use]
pub const fn denials() -> Denials {
    Alike::new(RECORDED_MAX)
}

impl DenialKind {
    /// The kind of a denial; with the counter that was full, if it was one.
    #[must_use]
    pub fn of(denied: &Denied<'_>, counter: &str) -> Self {
        let named = ActionName::parse(denied.action).ok();
        let card = named.and_then(|action| denied.policies.card(&action));
        Self {
            agent: denied.agent.as_str().to_owned(),
            action: card.map_or_else(String::new, |card| card.name.as_str().to_owned()),
            reason: denied.reason.code(),
            counter: counter.to_owned(),
        }
    }
}

impl App {
    /// Whether a denial is to be a record of its own.
    pub(crate) fn is_recorded(&self, policies: &TenantPolicies, kind: &DenialKind) -> bool {
        let now_ms = clock::now().timestamp_millis();
        self.alike.admit(policies.tenant.as_str(), kind, now_ms)
    }

    /// Counts a denial that is no record, and what it was about. It counts for incidents as any other.
    ///
    /// # Errors
    /// Always: `RATE_LIMITED`, or why it could not be counted.
    pub(crate) async fn only_count(
        &self,
        denied: &Denied<'_>,
        kind: DenialKind,
        about: &str,
    ) -> Result<core::convert::Infallible, AppError> {
        let now_ms = clock::now().timestamp_millis();
        let code = kind.reason;
        let tenant = denied.policies.tenant.as_str();
        self.alike.add(tenant, kind, about, now_ms);
        self.count(denied).await?;
        let message = format!(
            "{code} was answered to this agent for this action too often within a minute; more of it is only counted and gets \
             no decision"
        );
        let fix = format!(
            "change the request or stop; within a minute or so requests are decided one by one again. What {code} means: \
             policyd explain {code}"
        );
        Err(AppError::new(Reason::RateLimited, message).with_fix(fix))
    }

    /// Writes down the counts of windows that are over; all of them where nothing follows.
    ///
    /// # Errors
    /// When one could not be recorded; it is tried again.
    pub async fn record_counts(&self, all: bool) -> Result<(), AppError> {
        let mut failed = Ok(());
        let taken = self
            .alike
            .take_finished(clock::now().timestamp_millis(), all);
        for round in taken.chunks(ROUND) {
            // All are handed over before the first is waited for, so that they share a commit.
            let submit = |one| Ok(self.writer.submit(self.count_record(one)?)?);
            let pending: Vec<Result<_, AppError>> = round.iter().map(submit).collect();
            for (counted, pending) in round.iter().zip(pending) {
                let done = match pending {
                    Ok(pending) => pending.done().await.map(drop).map_err(AppError::from),
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    self.alike.put_back(counted.clone());
                    failed = Err(error);
                }
            }
        }
        failed
    }

    fn count_record(
        &self,
        (tenant, kind, count): &Counted<DenialKind>,
    ) -> Result<Append, AppError> {
        let tenant = TenantId::parse(tenant).map_err(|_| AppError::of(Reason::Internal))?;
        let mut told = Map::new();
        let denials = i64::try_from(count.unwritten).unwrap_or(i64::MAX);
        told.set("denials", Value::Int(denials));
        told.set("since_ms", Value::Int(count.began_ms));
        let about = count.details.iter().cloned().map(Value::Text);
        told.set("about", Value::List(about.collect()));
        told.set("counter", Value::Text(kind.counter.clone()));
        let blank = self.blank_record(Kind::DenialsCounted, &tenant, ids::new_id());
        let draft = Draft {
            agent: kind.agent.clone(),
            action: kind.action.clone(),
            verdict: Some(0),
            reasons: vec![kind.reason.to_owned()],
            disclosures: vec![disclosure("counted", Value::Map(told))?],
            ..blank
        };
        Ok(Append::record(tenant, draft))
    }
}

#[cfg(test)]
mod tests;
