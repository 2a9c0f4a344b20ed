//! Asks the Vault for credentials, again and again: one that was replaced there is in use a moment later.

use std::sync::Arc;
use std::time::Duration;

use crate::credentials::vault::Vault;

/// How soon a Vault that did not answer is asked again, at the latest.
const AGAIN: Duration = Duration::from_secs(5);

/// Asks until the process ends.
pub async fn ask(vault: Arc<Vault>, period: Duration) {
    // What the start did not get is not waited for any longer.
    let mut pause = period.min(AGAIN);
    loop {
        tokio::time::sleep(pause).await;
        pause = if vault.refresh().await {
            period
        } else {
            period.min(AGAIN)
        };
    }
}
