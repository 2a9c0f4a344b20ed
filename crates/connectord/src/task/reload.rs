//! Takes changed files into force while everything goes on: cards, system files, credentials, and the
//! trust document. What is refused keeps what it said before and is told.

use std::sync::Arc;
use std::time::Duration;

use crate::app::SharedApp;
use crate::catalog::Files;
use crate::clock;

/// How often the files are looked at. They are read whole: how they were put in place (edited,
/// renamed, behind a link that was switched) makes no difference.
const PERIOD: Duration = Duration::from_millis(500);
/// How often the trust document is: a revoked key is believed no longer than this and a moment.
const TRUST_PERIOD: Duration = Duration::from_secs(1);

/// Looks until the process ends.
pub async fn watch(app: SharedApp, mut files: Files) {
    let mut known = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let looker = SharedApp::clone(&app);
        let looked = tokio::task::spawn_blocking(move || {
            let seen = files.fingerprint();
            if known != Some(seen) {
                take(&looker, &mut files, known.is_none());
            }
            (files, seen)
        });
        let Ok((returned, seen)) = looked.await else {
            return;
        };
        (files, known) = (returned, Some(seen));
    }
}

/// Takes what the files say now into force.
fn take(app: &SharedApp, files: &mut Files, first: bool) {
    let now = clock::now().timestamp_millis();
    match files.load(&app.catalog.load_full(), now) {
        Ok(catalog) => {
            for problem in &catalog.problems {
                let tenant = problem.tenant.as_deref().unwrap_or("*");
                tracing::error!(tenant, "{}", problem.what);
            }
            if !first {
                let cards = catalog.cards.len();
                tracing::info!(cards, "cards and system files were read again");
            }
            app.catalog.store(Arc::new(catalog));
        }
        Err(error) => tracing::error!(%error, "cards and system files stay as they were"),
    }
}

/// Reads the trust document until the process ends.
pub async fn watch_trust(app: SharedApp) {
    loop {
        tokio::time::sleep(TRUST_PERIOD).await;
        let looker = SharedApp::clone(&app);
        let looked = tokio::task::spawn_blocking(move || looker.trust.look());
        if looked.await.is_err() {
            return;
        }
    }
}
