//! The writ of an undo: looked up, waited for while it is on its way, and checked.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use writ_proto::limits::UNDO_SECONDS_MAX;
use writ_proto::token::Verifier;

use super::super::order::Order;
use super::super::{App, AppError};
use crate::clock;
use crate::domain::execution::Execution;
use crate::domain::gate::Refusal;
use crate::domain::undo_writ::{self, UndoPermit};

/// How long one order waits for writs that are still on their way, all its items together.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A writ that has not come so long after the write is not waited for.
const ON_ITS_WAY_MS: i64 = 10_000;
const LOOK: Duration = Duration::from_millis(25);
const LOOK_MAX: Duration = Duration::from_millis(400);

/// Whether policyd may be about to sign the undo of an execution.
fn is_fresh(execution: &Execution, now_ms: i64) -> bool {
    let sent_ms = execution.sent_ms.max(execution.created_ms);
    now_ms.saturating_sub(sent_ms) < ON_ITS_WAY_MS
}

impl App {
    /// Leave to undo an execution.
    ///
    /// # Errors
    /// As [`undo_writ::admit`], or the journal is away.
    pub(super) async fn undo_permit(
        &self,
        order: &Order,
        execution: &Execution,
        until: Instant,
    ) -> Result<UndoPermit, Refusal> {
        let writ = self.undo_writ(execution, until).await?;
        let now_seconds = clock::now().timestamp();
        let admit = || {
            let keys = self.trust.keys();
            let verifier = Verifier {
                keys: &keys,
                audience: &self.rules.audience,
                now_seconds,
                leeway_seconds: self.rules.leeway_seconds,
                ttl_seconds_max: UNDO_SECONDS_MAX,
                client_cert_sha256: None,
                require_cnf: false,
            };
            undo_writ::admit(execution, writ.as_deref(), order.unsigned, &verifier)
        };
        let admitted = admit();
        let signed = admitted.as_ref().is_ok_and(UndoPermit::is_signed);
        // It may be signed with a key that is newer than the trust document that was read last.
        if writ.is_some() && !signed && self.trust.refresh(now_seconds) {
            return admit();
        }
        admitted
    }

    /// The undo writ of an execution; waits for it while it may be on its way.
    async fn undo_writ(
        &self,
        execution: &Execution,
        until: Instant,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let mut pause = LOOK;
        loop {
            let asked = [execution.id.as_str()];
            let found = self.journal.undo_writs(&execution.tenant, &asked).await;
            let found = found.map_err(|error| {
                let error = AppError::from(error);
                Refusal::new(error.reason, error.public)
            })?;
            let writ = found.into_values().next();
            let fresh = is_fresh(execution, clock::now().timestamp_millis());
            if writ.is_some() || !fresh || Instant::now() >= until {
                return Ok(writ);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }
}
