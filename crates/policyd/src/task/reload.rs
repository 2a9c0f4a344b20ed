//! Reloads policies when their files change. A set that is not accepted never replaces a good one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use writ_proto::Reason;

use crate::app::{SharedApp, policies};
use crate::domain::policy_set::PolicyErrors;

/// Files are written in several steps; the set is read once they have rested this long.
const REST: Duration = Duration::from_millis(150);

/// Loads the folder and swaps the table in, or keeps the old one and says why.
///
/// # Errors
/// What is wrong with the folder.
pub fn reload(app: &SharedApp, folder: &std::path::Path) -> Result<(), PolicyErrors> {
    match policies::load(folder) {
        Ok(table) => {
            let tenants = table.len();
            app.policies.store(Arc::new(table));
            tracing::info!(tenants, "policies reloaded");
            Ok(())
        }
        Err(errors) => {
            let reason = Reason::PolicyReloadFailed.code();
            tracing::error!(reason, %errors, "the last good policies stay in force");
            Err(errors)
        }
    }
}

/// Watches until the process ends.
///
/// # Errors
/// When the folder cannot be watched.
pub fn watch(app: SharedApp, folder: PathBuf) -> notify::Result<tokio::task::JoinHandle<()>> {
    let (sender, mut changes) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let changed = event.is_ok_and(|event| !event.kind.is_access());
        if changed {
            // A full channel means that a reload is due anyway.
            let _due = sender.try_send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::Recursive)?;
    Ok(tokio::spawn(async move {
        let _watcher = watcher;
        while changes.recv().await.is_some() {
            while tokio::time::timeout(REST, changes.recv())
                .await
                .is_ok_and(|more| more.is_some())
            {}
            let (loader, folder) = (SharedApp::clone(&app), folder.clone());
            let loaded = tokio::task::spawn_blocking(move || reload(&loader, &folder)).await;
            if let Ok(Err(errors)) = loaded
                && let Err(error) = app.tell_reload_failed(&errors).await
            {
                tracing::warn!(%error, "nobody is told that policies were not accepted");
            }
        }
    }))
}
