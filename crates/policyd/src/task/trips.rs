//! Sets the halts that limits ordered.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::app::SharedApp;

/// How often what is under way is looked at; a limit that fires wakes at once.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs until the process ends.
pub async fn deliver(app: SharedApp) {
    let mut asked = BTreeSet::new();
    loop {
        if let Err(error) = app.set_ordered_halts(&mut asked).await {
            tracing::error!(%error, "halts that limits ordered are not set yet");
        }
        // Either way there is another round.
        let _woken = tokio::time::timeout(PERIOD, app.trips.notified()).await;
    }
}
