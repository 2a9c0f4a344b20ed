//! Halts that limits ordered: set at connectord, again and again until it has taken them.

use std::future::Future;

use writ_proto::ids::TenantId;

use super::{App, AppError};
use crate::store::Trip;

/// Most halts of one round.
const ROUND_MAX: usize = 64;

impl App {
    /// Sets what is still to be set, the oldest first. Gives how many were set; the first failure
    /// ends the round, and the rest stays for the next.
    ///
    /// # Errors
    /// When the store or connectord is away.
    pub async fn set_ordered_halts<F>(
        &self,
        mut set: impl FnMut(TenantId, Trip) -> F,
    ) -> Result<usize, AppError>
    where
        F: Future<Output = Result<(), AppError>>,
    {
        let open = self.ledger.trip_list(ROUND_MAX).await?;
        let count = open.len();
        for (tenant, trip) in open {
            set(tenant.clone(), trip.clone()).await?;
            // Set twice is set: a crash right here repeats it.
            self.ledger.trip_done(&tenant, &trip).await?;
        }
        Ok(count)
    }
}
