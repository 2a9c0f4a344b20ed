//! Takes changed files into force while everything goes on: cards, system files, credentials, and the
//! trust document. What is refused keeps what it said before and is told.

use std::sync::Arc;
use std::time::Duration;

use crate::app::SharedApp;
use crate::app::catalog::Catalog;
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
            let changed = known != Some(seen);
            let read = changed.then(|| read(&looker, &mut files, known.is_none()));
            (files, seen, read.flatten())
        });
        let Ok((returned, seen, read)) = looked.await else {
            return;
        };
        files = returned;
        if let Some(catalog) = read {
            // Before anybody can use them: who has used an action is moved by people alone.
            if let Err(error) = app.start_new_actions(&catalog).await {
                tracing::warn!(%error, "what was read again waits for the journal");
                continue;
            }
            app.catalog.store(Arc::new(catalog));
        }
        known = Some(seen);
    }
}

/// What the files say now.
fn read(app: &SharedApp, files: &mut Files, first: bool) -> Option<Catalog> {
    let now = clock::now().timestamp_millis();
    let before = app.catalog.load_full();
    match files.load(&before, now) {
        Ok(catalog) => {
            for problem in &catalog.problems {
                let tenant = problem.tenant.as_deref().unwrap_or("*");
                tracing::error!(tenant, "{}", problem.what);
            }
            if !first {
                say_read(&catalog, !before.problems.is_empty());
            }
            Some(catalog)
        }
        Err(error) => {
            tracing::error!(%error, "cards and system files stay as they were");
            None
        }
    }
}

/// That the files were read again, and whether what was wrong with them is mended.
fn say_read(catalog: &Catalog, was_wrong: bool) {
    let (cards, problems) = (catalog.cards.len(), catalog.problems.len());
    let what = if problems == 0 && was_wrong {
        "what was wrong in cards or system files is mended"
    } else {
        "cards and system files were read again"
    };
    tracing::info!(cards, problems, "{what}");
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
