//! Writes down, outside the database, how far the logs have come.

use std::time::Duration;

use writ_proto::Reason;

use crate::app::SharedApp;
use crate::clock;

/// What was recorded within this time before the end of a process may be unknown to the next one. A
/// signed head is written down before it is given out.
const PERIOD: Duration = Duration::from_millis(500);

/// Writes until the process ends.
pub async fn keep(app: SharedApp) {
    let mut failing = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        let heads = match app.heads_as_remembered().await {
            Ok(heads) => heads,
            Err(error) if error.reason == Reason::StoreRestored => return,
            Err(error) => {
                tracing::debug!(%error, "how far the logs are is looked at later");
                continue;
            }
        };
        let keeper = SharedApp::clone(&app);
        let kept = tokio::task::spawn_blocking(move || {
            let now_ms = clock::now().timestamp_millis();
            keeper.marks.raise(&heads, now_ms)
        });
        match kept.await {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) => {
                if !failing {
                    tracing::error!(%error, "how far the logs are cannot be written down");
                }
                failing = true;
            }
            Err(_) => return,
        }
    }
}
