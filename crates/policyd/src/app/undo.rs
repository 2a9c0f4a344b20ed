//! Undo writs: a write that is reported can be undone later without asking policyd, and only as
//! it was reported first.

use uuid::Uuid;
use writ_proto::digest::images_digest;
use writ_proto::ids::{ActionName, TenantId};
use writ_proto::token::{Written, undo_payload};

use super::decided::Decided;
use super::outcome::{Reported, image};
use super::{App, AppError};
use crate::clock;
use crate::domain::record::Kind;
use crate::store::UndoRow;

/// What allows the undo of one execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoWrit {
    /// Tenant.
    pub tenant: TenantId,
    /// The execution.
    pub execution: Uuid,
    /// The signed bytes.
    pub token: Vec<u8>,
}

/// Decision and execution of a report that says that something was written.
fn wrote(reported: &Reported) -> Option<(Uuid, Uuid)> {
    let kind = matches!(reported.kind, Kind::Result | Kind::Reconciliation);
    let done = matches!(reported.status.as_str(), "DONE" | "RECONCILED_APPLIED");
    let wrote = kind && done && reported.mode == Some(1) && !reported.changes.is_empty();
    reported.decision.zip(reported.execution).filter(|_| wrote)
}

impl App {
    /// Seconds in which an action can be undone; none where it cannot.
    fn undo_window(&self, reported: &Reported) -> Option<u32> {
        let policies = self.policies.load();
        let policies = policies.get(&reported.tenant)?;
        let card = policies.card(&ActionName::parse(&reported.action).ok()?)?;
        card.verb
            .sets_fields()
            .then_some(card.rollback_window_seconds)
    }

    /// What a report says that can be undone, if a decision of ours allowed that write.
    ///
    /// # Errors
    /// When the store is away or does not hold what it should.
    pub(super) async fn undo_of(&self, reported: &Reported) -> Result<Option<UndoRow>, AppError> {
        let parts = wrote(reported).zip(reported.target.as_ref());
        let Some((((decision, execution), (kind, id)), window)) =
            parts.zip(self.undo_window(reported))
        else {
            return Ok(None);
        };
        let Some(row) = self.ledger.decision(&reported.tenant, decision).await? else {
            return Ok(None);
        };
        let decided = Decided::decode(&row.body)?;
        let before = image(&reported.changes, |change| &change.before);
        let after = image(&reported.changes, |change| &change.after);
        let written = Written {
            execution,
            target: (kind, id),
            images: images_digest(&before, &after),
            issued: u32::try_from(clock::now().timestamp()).unwrap_or(u32::MAX),
            window,
        };
        // A decision that allowed nothing has no claims.
        let payload = undo_payload(&decided.claims, &written);
        Ok(payload.map(|payload| UndoRow { decision, payload }))
    }

    /// Signs what was stored of the undo of a report, if it is of this execution.
    ///
    /// # Errors
    /// When the store is away.
    pub(super) async fn undo_writ(
        &self,
        reported: &Reported,
    ) -> Result<Option<UndoWrit>, AppError> {
        let Some((decision, execution)) = wrote(reported) else {
            return Ok(None);
        };
        let payload = self.ledger.undo_payload(&reported.tenant, decision).await?;
        Ok(payload.map(|payload| UndoWrit {
            tenant: reported.tenant.clone(),
            execution,
            token: self.signer.load().mint_undo(&payload),
        }))
    }
}
