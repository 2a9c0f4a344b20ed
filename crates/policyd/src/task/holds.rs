//! Gives back expired holds, again and again.

use std::time::Duration;

use crate::app::SharedApp;
use crate::app::holds::ROUND_MAX;

const PERIOD: Duration = Duration::from_secs(10);

/// Runs until the process ends.
pub async fn release(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        // As long as there are more, the next round follows at once.
        loop {
            match app.release_expired().await {
                Ok(0) => break,
                Ok(count) => {
                    tracing::info!(count, "holds of writs that were not used are given back");
                    if count < ROUND_MAX {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "expired holds could not be given back");
                    break;
                }
            }
        }
    }
}
