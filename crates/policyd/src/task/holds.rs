//! Gives back expired holds, again and again.

use std::time::Duration;

use crate::app::SharedApp;

const PERIOD: Duration = Duration::from_secs(10);

/// Runs until the process ends.
pub async fn release(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        match app.release_expired().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "holds of writs that were not used are given back"),
            Err(error) => tracing::warn!(%error, "expired holds could not be given back"),
        }
    }
}
