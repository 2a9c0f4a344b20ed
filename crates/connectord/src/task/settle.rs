//! Settles executions in doubt, again and again until each has ended, and moves the
//! actions that are due.

use std::time::Duration;

use crate::app::SharedApp;
use crate::app::write::settle::TAKEOVER;

const PERIOD: Duration = Duration::from_secs(2);
/// A pilot that is due is looked at with all that it wrote, so not every time.
const WIDEN_EVERY: u64 = 5;

/// Looks until the process ends.
pub async fn settle(app: SharedApp) {
    for round in 1_u64.. {
        tokio::time::sleep(PERIOD).await;
        let widens = round.is_multiple_of(WIDEN_EVERY);
        if let Err(error) = app.move_what_is_due(widens).await {
            tracing::warn!(%error, "actions that are due to move could not be looked at");
        }
        if let Err(error) = app.reconcile(TAKEOVER).await {
            tracing::warn!(%error, "executions in doubt could not be looked at");
        }
    }
}
