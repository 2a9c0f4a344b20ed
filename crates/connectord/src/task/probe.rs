//! Asks each system, before a write has to, what its credential may do: at start, whenever the credential or the file changed, and
//! again after a while.

use std::sync::Arc;
use std::time::Duration;

use crate::app::SharedApp;
use crate::app::catalog::Connection;
use crate::app::standing::{told, too_wide};
use crate::system::{STALE, System};

const PERIOD: Duration = Duration::from_secs(2);

/// Looks until the process ends. One that hangs holds up no other: each is asked by itself, and none twice at once.
pub async fn ask(app: SharedApp) {
    loop {
        let catalog = app.catalog.load_full();
        for (name, connection) in &catalog.connections {
            let Ok(system) = &connection.system else {
                continue;
            };
            if system.is_to_be_asked() {
                let (app, name) = (SharedApp::clone(&app), name.clone());
                tokio::spawn(one(app, name, connection.clone(), Arc::clone(system)));
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn one(app: SharedApp, name: String, connection: Connection, system: Arc<System>) {
    let catalog = app.catalog.load_full();
    let told = told(&catalog, (&name, &connection, &system), STALE).await;
    match told {
        Ok(told) if !told.beyond.is_empty() => {
            let refusal = too_wide(&name, &told.beyond);
            tracing::error!(
                connection = name,
                code = refusal.reason.code(),
                "{}",
                refusal.detail
            );
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(connection = name, %error, "what its credential may do is not known");
        }
    }
}
