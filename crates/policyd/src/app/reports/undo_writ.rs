//! Undo writs: a write that is reported can be undone later without asking policyd, and only as
//! it was reported first.

use std::collections::BTreeMap;

use uuid::Uuid;
use writ_proto::digest::images_digest;
use writ_proto::ids::{ActionName, TenantId};
use writ_proto::token::{Written, undo_execution, undo_payload};

use crate::app::App;
use crate::app::ask::decided::Decided;
use crate::app::reports::outcome::{Reported, image};
use crate::clock;
use crate::domain::record::Kind;
use crate::error::AppError;
use crate::store::{DecisionRow, UndoRow};

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
fn written(reported: &Reported) -> Option<(Uuid, Uuid)> {
    let kind = matches!(reported.kind, Kind::Result | Kind::Reconciliation);
    let done = matches!(reported.status.as_str(), "DONE" | "RECONCILED_APPLIED");
    let wrote = kind && done && reported.mode == Some(1) && !reported.changes.is_empty();
    reported.decision.zip(reported.execution).filter(|_| wrote)
}

fn decisions_of(reported: &[Reported]) -> Vec<Uuid> {
    let written = reported.iter().filter_map(written);
    written.map(|(decision, _)| decision).collect()
}

impl App {
    /// Seconds in which a reported write can be undone; none where its action cannot be undone, or
    /// the report says more than that it set fields of its card, each once.
    fn undo_window(&self, reported: &Reported) -> Option<u32> {
        let policies = self.policies.load();
        let policies = policies.get(&reported.tenant)?;
        let card = policies.card(&ActionName::parse(&reported.action).ok()?)?;
        let mut fields: Vec<&str> = reported.changes.iter().map(|c| c.field.as_str()).collect();
        let count = fields.len();
        fields.sort_unstable();
        fields.dedup();
        let own = |field: &&str| card.args.values().any(|arg| arg.field == *field);
        let fits = fields.len() == count && fields.iter().all(own) && card.verb.sets_fields();
        fits.then_some(card.rollback_window_seconds)
    }

    /// What the writes of some reports need to be undone, in their order: none where nothing was
    /// written, or no decision of ours allowed it.
    ///
    /// # Errors
    /// When the store is away.
    pub(crate) async fn undo_rows(
        &self,
        reported: &[Reported],
    ) -> Result<Vec<Option<UndoRow>>, AppError> {
        let decisions = self.ledger.decisions(&decisions_of(reported)).await?;
        let rows = reported.iter().map(|one| self.undo_row(one, &decisions));
        Ok(rows.collect())
    }

    fn undo_row(
        &self,
        reported: &Reported,
        decisions: &BTreeMap<(TenantId, Uuid), DecisionRow>,
    ) -> Option<UndoRow> {
        let (decision, execution) = written(reported)?;
        // What cannot be read cannot be put back.
        let (kind, id) = reported.target.as_ref().filter(|_| !reported.unread)?;
        let window = self.undo_window(reported)?;
        let row = decisions.get(&(reported.tenant.clone(), decision))?;
        let Ok(decided) = Decided::decode(&row.body) else {
            // What happened goes on record all the same.
            tracing::error!(%decision, "a stored decision cannot be read");
            return None;
        };
        let before = image(&reported.changes, |change| &change.before);
        let after = image(&reported.changes, |change| &change.after);
        let written = Written {
            execution,
            agent: &reported.agent,
            connection: &reported.connection,
            action: &reported.action,
            target: (kind, id),
            images: images_digest(&before, &after),
            issued: u32::try_from(clock::now().timestamp()).unwrap_or(u32::MAX),
            window,
        };
        // A decision that allowed nothing has no claims.
        let payload = undo_payload(&decided.claims, &written)?;
        Some(UndoRow { decision, payload })
    }

    /// Signs what is stored of the undo of some reports, in their order; none where what is stored
    /// is of another execution.
    ///
    /// # Errors
    /// When the store is away.
    pub(crate) async fn undo_writs(
        &self,
        reported: &[Reported],
    ) -> Result<Vec<Option<UndoWrit>>, AppError> {
        let payloads = self.ledger.undo_payloads(&decisions_of(reported)).await?;
        let signer = self.signer.load();
        let writ = |one: &Reported| {
            let (decision, execution) = written(one)?;
            let payload = payloads.get(&(one.tenant.clone(), decision))?;
            let own = undo_execution(payload) == Some(execution);
            own.then(|| UndoWrit {
                tenant: one.tenant.clone(),
                execution,
                token: signer.mint_undo(payload),
            })
        };
        Ok(reported.iter().map(writ).collect())
    }
}
