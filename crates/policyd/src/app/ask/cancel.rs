//! Taking back a decision that waits for a person. The cancellation is kept like a reported outcome:
//! under an id made from that of the decision, so that it is appended once however often it is
//! asked for, by however many processes.

use uuid::Uuid;
use writ_proto::digest::sha256;
use writ_proto::ids::{DecisionId, TenantId};
use writ_proto::{Reason, context};

use crate::app::App;
use crate::app::ask::authorize::Answer;
use crate::app::ask::decided::Decided;
use crate::clock;
use crate::domain::approval;
use crate::domain::budget::{SettledAs, Settlement};
use crate::domain::decide::Verdict;
use crate::domain::record::Kind;
use crate::error::AppError;
use crate::store::{Append, Appended};

/// The id under which the cancellation of a decision is kept.
fn cancellation(decision: Uuid) -> Uuid {
    let message = [context::CANCEL.as_bytes(), &[0], decision.as_bytes()].concat();
    let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = sha256(&message);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

pub(crate) fn waits(decided: &Decided) -> bool {
    decided.verdict == Verdict::RequireApproval.name()
}

/// What nobody decided in time is denied.
fn expire(decided: &mut Decided) {
    let reason = Reason::ApprovalExpired;
    Verdict::Deny.name().clone_into(&mut decided.verdict);
    reason.code().clone_into(&mut decided.reason_code);
    reason.sentence().clone_into(&mut decided.message);
    reason.fix().clone_into(&mut decided.remedy);
}

impl App {
    /// Takes back a decision of this very agent that waits for a person. Repeated, it changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND` for decisions of others, `DECISION_FINAL` for one that does not wait, or that it
    /// could not be recorded: then it still waits.
    pub async fn cancel(
        &self,
        tenant: &TenantId,
        (agent, certificate): (&str, [u8; 32]),
        id: DecisionId,
    ) -> Result<Answer, AppError> {
        let asks = Some((agent, certificate));
        let answer = self.decision(tenant, asks, id).await?;
        if !waits(&answer.decided) {
            return Err(AppError::of(Reason::DecisionFinal));
        }
        if !answer.cancelled {
            self.room()?;
            // A later fact about a decision is the next version of its record.
            let mut draft = self.blank_record(Kind::Cancelled, tenant, id.uuid());
            draft.later = true;
            agent.clone_into(&mut draft.agent);
            draft.action.clone_from(&answer.decided.action);
            let append = Append {
                outcome_id: Some(cancellation(id.uuid())),
                settles: Some(Settlement {
                    decision: id.uuid(),
                    to: SettledAs::Void,
                    part: None,
                }),
                ..Append::record(tenant.clone(), draft)
            };
            if self.writer.append(append).await? == Appended::DuplicateOutcome {
                // Somebody else ended it first: as cancelled, or because its time was up.
                let now = self.decision(tenant, asks, id).await?;
                return if now.cancelled {
                    Ok(now)
                } else {
                    Err(AppError::of(Reason::DecisionFinal))
                };
            }
        }
        Ok(Answer {
            cancelled: true,
            ..answer
        })
    }

    /// A stored decision as it stands now, signed again if it allows.
    ///
    /// # Errors
    /// When the store is away: whoever could not look does not say that it still waits.
    pub(crate) async fn as_it_stands(&self, mut decided: Decided) -> Result<Answer, AppError> {
        let cancelled = match Uuid::parse_str(&decided.id) {
            Ok(id) if waits(&decided) => self.ledger.has_outcome(cancellation(id)).await?,
            _ => false,
        };
        let end = approval::ends(decided.expires, decided.created_ms);
        if waits(&decided) && !cancelled && end <= clock::now().timestamp() {
            expire(&mut decided);
        }
        Ok(Answer {
            cancelled,
            ..self.signed(decided)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decision_has_its_own_cancellation() {
        let ids = [1, 2].map(|id| cancellation(Uuid::from_u128(id)));
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0], cancellation(Uuid::from_u128(1)));
        assert_ne!(ids[0], Uuid::from_u128(1));
    }
}
