//! Spending a token: checks 1 to 19, or the outcome of the very call that spent it earlier.

use chrono::DateTime;
use chrono_tz::Tz;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::token::{Claims, Mode, UnverifiedToken};

use super::super::outcome::Outcome;
use super::super::{App, AppError};
use super::look::Seen;
use crate::app::write::admit::{Admitted, Purpose};
use crate::domain::caps::{self, Count};
use crate::domain::execution::Execution;
use crate::domain::gate::{Call, Refusal, check_scope};
use crate::store::{Claim, Claimed, JournalError, Presented};
use crate::{clock, ids};

/// What presenting a token came to.
#[derive(Debug)]
pub enum Spent {
    /// It is spent for this call, and this is the intent.
    Fresh(Box<(Admitted, Execution)>),
    /// This very call spent it earlier.
    Earlier(Box<Execution>),
}

impl App {
    /// Checks 1 to 19: after this the token is spent, durably, for this call alone.
    ///
    /// # Errors
    /// The refusal, which is also a record, or that the journal is away.
    pub async fn spend(
        &self,
        token: &[u8],
        call: &Call,
        certificate: [u8; 32],
        purpose: Purpose,
    ) -> Result<Spent, AppError> {
        if self.reserve.is_short() {
            // Nothing is written, not even a refusal: there is no room.
            let earlier = self.spent_earlier(token, call).await?;
            return match earlier.filter(|_| purpose == Purpose::Write) {
                Some(earlier) => Ok(Spent::Earlier(earlier)),
                None => Err(AppError::of(Reason::DiskReserve)),
            };
        }
        let admitted = match self.admit(token, call, certificate, purpose).await? {
            Ok(admitted) => admitted,
            Err(refusal) => return self.earlier_or((token, purpose), call, &refusal).await,
        };
        let counts = match self.counts(&admitted, call).await? {
            Ok(counts) => counts,
            Err(refusal) => return self.earlier_or((token, purpose), call, &refusal).await,
        };
        let mut execution = self.intent(&admitted, call);
        execution.remember(&counts);
        let claim = Claim {
            presented: presented(admitted.permit.claims(), call),
            counts,
            execution,
        };
        let refusal = match self.journal.claim(claim).await? {
            Claimed::Fresh(execution) => {
                return Ok(Spent::Fresh(Box::new((admitted, *execution))));
            }
            Claimed::Repeated(earlier) => return Ok(Spent::Earlier(earlier)),
            Claimed::Replayed(Some(id)) => {
                Refusal::new(Reason::TokenReplayed, format!("execution {id} spent it"))
            }
            Claimed::Replayed(None) => Refusal::of(Reason::TokenReplayed),
            Claimed::OverCap(over) => self.over(call, over).await,
        };
        Err(self.refuse(call, &refusal).await)
    }

    /// What this very call came to earlier, or else the refusal. A token that is refused by now (it
    /// has expired, a halt came, the action was demoted) may be the one that this call spent when its
    /// answer was lost: "refused" alone would tell the caller to ask again, and to write twice.
    async fn earlier_or(
        &self,
        (token, purpose): (&[u8], Purpose),
        call: &Call,
        refusal: &Refusal,
    ) -> Result<Spent, AppError> {
        if purpose == Purpose::Write
            && let Some(earlier) = self.spent_earlier(token, call).await?
        {
            return Ok(Spent::Earlier(earlier));
        }
        Err(self.refuse(call, refusal).await)
    }

    /// What this very call came to earlier.
    async fn spent_earlier(
        &self,
        token: &[u8],
        call: &Call,
    ) -> Result<Option<Box<Execution>>, AppError> {
        let Some(presented) = self.presented(token, call) else {
            return Ok(None);
        };
        Ok(self.journal.spent_by(&presented).await?.map(Box::new))
    }

    /// A token as this call presents it, if a key of ours signed it for this very call, whenever
    /// that was.
    fn presented(&self, token: &[u8], call: &Call) -> Option<Presented> {
        let keys = self.trust.keys();
        let proven = UnverifiedToken::new(token).prove_origin(&keys, &self.rules.audience);
        let claims = proven.ok()?;
        check_scope(&claims, call).ok()?;
        let hash = call.request_hash();
        (hash == claims.request_hash && claims.mode == call.mode).then(|| presented(&claims, call))
    }

    /// What a call counts against the ceilings of its card, spikes among them.
    async fn counts(
        &self,
        admitted: &Admitted,
        call: &Call,
    ) -> Result<Result<Vec<Count>, Refusal>, AppError> {
        let (card, now) = (&admitted.card, self.local_now(&call.tenant));
        let day = caps::day(now);
        let at_claim =
            |card: &Card| caps::at_claim(&admitted.permit, call, (card, admitted.rollout), now);
        let counts = match at_claim(card) {
            Ok(counts) => counts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut counts = counts;
        for other in &admitted.also {
            counts = match at_claim(other) {
                Ok(others) => caps::narrower(counts, others),
                Err(refusal) => return Ok(Err(refusal)),
            };
        }
        let others = admitted.also.iter().filter_map(|other| other.caps.spike);
        let spike = card.caps.spike.into_iter().chain(others).min();
        let Some(factor) = spike.filter(|_| call.mode == Mode::Execute) else {
            return Ok(Ok(counts));
        };
        let action = card.name.as_str();
        let earlier = caps::days_before(now);
        let earlier = self.journal.tallies(&call.tenant, action, &earlier).await?;
        Ok(Ok(caps::with_spike(counts, &day, (factor, earlier))))
    }

    /// What a call counts once its record was seen.
    pub(super) fn counts_at_look(
        &self,
        admitted: &Admitted,
        call: &Call,
        seen: &Seen,
    ) -> Result<Vec<Count>, Refusal> {
        let now = self.local_now(&call.tenant);
        let at_look = |card: &Card| caps::at_look(card, call, &seen.plan, &seen.before, now);
        let counts = at_look(&admitted.card)?;
        admitted.also.iter().try_fold(counts, |counts, other| {
            Ok(caps::narrower(counts, at_look(other)?))
        })
    }

    /// Now, in the zone of the tenant's policy set: days of ceilings and of budgets are the same.
    pub(in crate::app) fn local_now(&self, tenant: &str) -> DateTime<Tz> {
        clock::now().with_timezone(&self.catalog.load().zone(tenant))
    }

    /// Counts one look at a record that changes nothing, and records it.
    pub(super) async fn count_look(
        &self,
        card: &Card,
        call: &Call,
    ) -> Result<Result<(), Refusal>, AppError> {
        let counts = caps::at_dry_look(card, call, self.local_now(&call.tenant));
        let report = Outcome::of_preview(call).report();
        match self.journal.count(&call.tenant, counts, report).await {
            Ok(()) => Ok(Ok(())),
            Err(JournalError::OverCap(over)) => Ok(Err(self.over(call, over).await)),
            Err(error) => Err(error.into()),
        }
    }

    fn intent(&self, admitted: &Admitted, call: &Call) -> Execution {
        let now = clock::now().timestamp_millis();
        let claims = admitted.permit.claims();
        let card = &admitted.card;
        let (object, target) = call.target.clone().unwrap_or_default();
        let window = i64::from(card.rollback_window_seconds).saturating_mul(1_000);
        let verb = card.verb.name().to_owned();
        Execution {
            decision: claims.decision_id.to_string(),
            cti: claims.cti.to_string(),
            args_json: admitted.permit.args().to_json(),
            key: claims.decision_id.to_string(),
            undo_until_ms: now.saturating_add(window),
            card_digest: hex::encode(card.digest()),
            system_digest: hex::encode(admitted.system.digest(&object, &verb)),
            place: hex::encode(admitted.system.place()),
            account: admitted.system.account(),
            verb,
            object,
            target,
            ..Execution::claimed(ids::new_id(), call, now)
        }
    }
}

fn presented(claims: &Claims, call: &Call) -> Presented {
    Presented {
        issuer: claims.iss.clone(),
        cti: claims.cti.uuid(),
        request_id: call.request_id,
        request_hash: claims.request_hash,
        caller: format!("{}/{}", call.tenant, call.agent),
    }
}
