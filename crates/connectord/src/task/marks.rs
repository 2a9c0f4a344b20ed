//! Writes down, outside the stores, how far they have come.

use std::time::Duration;

use crate::app::SharedApp;
use crate::clock;

/// What was done within this time before the end of a process may be unknown to the next one.
const PERIOD: Duration = Duration::from_millis(200);
/// The time alone is written down this often, in milliseconds.
const CLOCK_MS: i64 = 5_000;

/// Writes until the process ends.
pub async fn keep(app: SharedApp) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let keeper = SharedApp::clone(&app);
        let kept = tokio::task::spawn_blocking(move || {
            let now = clock::now().timestamp_millis();
            let at = now.saturating_sub(now.rem_euclid(CLOCK_MS));
            let keys = keeper.trust.keys();
            keeper.marks.raise(&keeper.journal.reached(), &keys, at)?;
            // Of a store that went back too: it must be armed after a restart as well.
            drop(keeper.halt_state());
            keeper.marks.raise_halts(keeper.halts.reached())
        });
        match kept.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what is remembered could not be written"),
            Err(_) => return,
        }
    }
}
