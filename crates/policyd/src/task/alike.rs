//! Writes down how many denials were only counted.

use std::time::Duration;

use crate::app::SharedApp;

const PERIOD: Duration = Duration::from_secs(5);

/// Runs until the process ends.
pub async fn record(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = app.record_counts(false).await {
            tracing::warn!(%error, "counted denials are written down later");
        }
    }
}
