//! Writes down, outside the database, how far the logs have come.

use std::sync::atomic::Ordering;
use std::time::Duration;

use writ_proto::Reason;

use crate::app::SharedApp;
use crate::clock;

/// What was recorded within this time before the end of a process may be unknown to the next one. A
/// signed head is written down before it is given out.
const PERIOD: Duration = Duration::from_millis(500);
/// How long reading the logs and writing the file may take, each.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes until the process ends.
pub async fn keep(app: SharedApp) {
    let mut failing = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        let looked = tokio::time::timeout(PATIENCE, app.heads_as_remembered()).await;
        let heads = match looked {
            Ok(Ok(heads)) => heads,
            Ok(Err(error)) if error.reason == Reason::StoreRestored => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "how far the logs are is looked at later");
                continue;
            }
            Err(_) => {
                fails(&app, &mut failing, "the database does not answer");
                continue;
            }
        };
        let keeper = SharedApp::clone(&app);
        let mut kept = tokio::task::spawn_blocking(move || {
            let now_ms = clock::now().timestamp_millis();
            keeper.marks.raise(&heads, now_ms)
        });
        let done = match tokio::time::timeout(PATIENCE, &mut kept).await {
            Ok(done) => done,
            Err(_) => {
                fails(&app, &mut failing, "the file or its lock does not answer");
                kept.await
            }
        };
        match done {
            Ok(Ok(())) => {
                failing = false;
                app.marked.store(true, Ordering::Relaxed);
            }
            Ok(Err(error)) => fails(&app, &mut failing, &error.to_string()),
            Err(_) => return,
        }
    }
}

/// A database put back from this time on would pass for the newest: health is NOT_SERVING until it is written down, and who asks
/// all the same is answered.
fn fails(app: &SharedApp, failing: &mut bool, why: &str) {
    app.marked.store(false, Ordering::Relaxed);
    if !*failing {
        tracing::error!("how far the logs are cannot be written down: {why}");
    }
    *failing = true;
}
