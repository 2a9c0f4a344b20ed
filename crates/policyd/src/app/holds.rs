//! Gives back what decisions reserved and nobody executed.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;

use super::{App, AppError};
use crate::clock;
use crate::domain::budget::{SettledAs, Settlement};
use crate::domain::record::Kind;
use crate::store::Append;

/// Most decisions of one round.
const ROUND_MAX: usize = 256;

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
        let mut pending = Vec::with_capacity(expired.len());
        for (tenant, decision) in &expired {
            pending.push(self.writer.submit(self.release(tenant, *decision))?);
        }
        for one in pending {
            one.done().await?;
        }
        Ok(expired.len())
    }

    fn release(&self, tenant: &TenantId, decision: Uuid) -> Append {
        let mut draft = self.blank_record(Kind::BudgetChanged, tenant, decision);
        draft.version = 2;
        draft.reasons = vec![Reason::TokenExpired.code().to_owned()];
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
