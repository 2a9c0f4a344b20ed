//! Vendors behind their system files: each fake speaks its vendor's dialect, which the vendor's own client and, where
//! there is one, the published description vouch for. What happened is read from what the vendor holds.

pub(super) mod hubspot;
pub(super) mod salesforce;
pub(super) mod shopify;
pub(super) mod slack;
mod spec;
pub(super) mod stripe;
mod tokens;
pub(super) mod zendesk;

use e2e::vendors::Served;
use serde_json::Value as Json;

/// What a vendor's own client saw.
async fn client(name: &str, args: &[&str]) -> Json {
    let program = e2e::root().join("tests/services/vendors");
    let ran = tokio::process::Command::new(program)
        .args(["run", name])
        .args(args)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success(),
        "{said}\n(`tests/services/vendors install` installs the clients; tests/run does it)"
    );
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    // Some of them print what they were refused with.
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

/// The requests that could change something.
fn writes(served: &Served) -> Vec<e2e::vendors::Heard> {
    let heard = served.heard().into_iter();
    heard.filter(|one| one.method != "GET").collect()
}

/// A day from now, as a date.
fn in_days(days: i64) -> String {
    let at = e2e::now_seconds() + days * 86_400;
    let at = chrono::DateTime::from_timestamp(at, 0).unwrap();
    at.format("%Y-%m-%d").to_string()
}
