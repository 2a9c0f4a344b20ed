//! Reports how many refusals were only counted.

use std::time::Duration;

use crate::app::SharedApp;

const PERIOD: Duration = Duration::from_secs(5);

/// Runs until the process ends.
pub async fn report(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = app.report_counts(false).await {
            tracing::warn!(%error, "counted refusals are reported later");
        }
    }
}
