//! Gives back expired holds and removes counters that are over, again and again.

use std::time::{Duration, Instant};

use crate::app::SharedApp;
use crate::app::spending::holds::ROUND_MAX;

const PERIOD: Duration = Duration::from_secs(10);
const PRUNE_PERIOD: Duration = Duration::from_secs(600);

/// Runs until the process ends.
pub async fn release(app: SharedApp) {
    let mut pruned = None::<Instant>;
    loop {
        tokio::time::sleep(PERIOD).await;
        if pruned.is_none_or(|at| at.elapsed() > PRUNE_PERIOD) {
            pruned = Some(Instant::now());
            prune(&app).await;
        }
        // As long as there are more, the next round follows at once.
        while round(&app).await >= ROUND_MAX {}
    }
}

async fn prune(app: &SharedApp) {
    match app.prune_counters().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "counters of windows that are over are removed"),
        Err(error) => tracing::warn!(%error, "old counters could not be removed"),
    }
}

/// How many there were; none where they could not be given back.
async fn round(app: &SharedApp) -> usize {
    match app.release_expired().await {
        Ok(0) => 0,
        Ok(count) => {
            tracing::info!(count, "holds of writs that were not used are given back");
            count
        }
        Err(error) => {
            tracing::warn!(%error, "expired holds could not be given back");
            0
        }
    }
}
