//! Settles executions in doubt, again and again until each has ended, and moves the
//! actions that are due.

use std::time::Duration;

use crate::app::SharedApp;
use crate::app::reconcile::TAKEOVER;

const PERIOD: Duration = Duration::from_secs(2);

/// Looks until the process ends.
pub async fn settle(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = app.move_what_is_due().await {
            tracing::warn!(%error, "actions that are due to move could not be looked at");
        }
        if let Err(error) = app.reconcile(TAKEOVER).await {
            tracing::warn!(%error, "executions in doubt could not be looked at");
        }
    }
}
