//! Gives back what decisions reserved and nobody executed.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;

use crate::app::App;
use crate::app::ask::cancel::waits;
use crate::app::ask::decided::Decided;
use crate::clock;
use crate::domain::budget::{SettledAs, Settlement};
use crate::domain::record::Kind;
use crate::error::AppError;
use crate::store::Append;

/// Most decisions of one round.
pub const ROUND_MAX: usize = 256;

/// The same for every process and every round, so that it is recorded once.
fn void_id(decision: Uuid) -> Uuid {
    let mut named = b"writ hold void ".to_vec();
    named.extend_from_slice(decision.as_bytes());
    let digest = sha256(&named);
    let half: [u8; 16] = core::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
    Uuid::from_bytes(half)
}

impl App {
    /// Voids holds whose writ cannot be presented any more, each by a record. How many there were.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn release_expired(&self) -> Result<usize, AppError> {
        let now = clock::now().timestamp_millis();
        let expired = self.ledger.expired_holds(now, ROUND_MAX).await?;
        let ids: Vec<Uuid> = expired.iter().map(|(_, decision)| *decision).collect();
        let rows = self.ledger.decisions(&ids).await?;
        let mut pending = Vec::with_capacity(expired.len());
        for key in expired {
            let decided = rows
                .get(&key)
                .and_then(|row| Decided::decode(&row.body).ok());
            let waited = decided.filter(waits);
            pending.push(self.writer.submit(self.release(&key, waited.as_ref()))?);
        }
        for one in pending {
            one.done().await?;
        }
        Ok(ids.len())
    }

    /// `waited` is the decision, where it waited for a person and nobody came.
    fn release(&self, key: &(TenantId, Uuid), waited: Option<&Decided>) -> Append {
        let (tenant, decision) = (&key.0, key.1);
        let (kind, reason) = match waited {
            Some(_) => (Kind::ApprovalExpired, Reason::ApprovalExpired),
            None => (Kind::BudgetChanged, Reason::TokenExpired),
        };
        let mut draft = self.blank_record(kind, tenant, decision);
        draft.later = true;
        draft.reasons = vec![reason.code().to_owned()];
        if let Some(decided) = waited {
            draft.agent.clone_from(&decided.agent);
            draft.action.clone_from(&decided.action);
        }
        Append {
            outcome_id: Some(void_id(decision)),
            settles: Some(Settlement {
                decision,
                to: SettledAs::Void,
                part: None,
            }),
            ..Append::record(tenant.clone(), draft)
        }
    }
}
