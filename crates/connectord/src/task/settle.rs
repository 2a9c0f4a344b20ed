//! Settles executions in doubt, again and again until each has ended, and ends time-boxed lives.

use std::time::Duration;

use crate::app::SharedApp;
use crate::app::reconcile::TAKEOVER;

const PERIOD: Duration = Duration::from_secs(2);

/// Looks until the process ends.
pub async fn settle(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = app.end_time_boxes().await {
            tracing::warn!(%error, "time-boxed actions could not be looked at");
        }
        if let Err(error) = app.reconcile(TAKEOVER).await {
            tracing::warn!(%error, "executions in doubt could not be looked at");
        }
    }
}
