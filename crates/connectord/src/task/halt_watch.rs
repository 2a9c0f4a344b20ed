//! Tells policyd when a halt is set or cleared, however it was done: by a call, by the command
//! line, or by `touch`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::app::SharedApp;
use crate::app::outcome::{Kind, Outcome};
use crate::halt::Flag;

const PERIOD: Duration = Duration::from_millis(250);

/// Watches until the process ends.
pub async fn watch(app: SharedApp) {
    let mut known: Option<Vec<Flag>> = None;
    loop {
        if let Ok(state) = app.halts.read() {
            if let Some(before) = &known {
                tell(&app, before, &state.flags).await;
            }
            known = Some(state.flags);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn tell(app: &SharedApp, before: &[Flag], after: &[Flag]) {
    let scopes = |flags: &[Flag]| {
        flags
            .iter()
            .map(|f| f.scope.clone())
            .collect::<BTreeSet<_>>()
    };
    let (was, is) = (scopes(before), scopes(after));
    let set = after.iter().filter(|flag| !was.contains(&flag.scope));
    let cleared = before.iter().filter(|flag| !is.contains(&flag.scope));
    let changes = set.map(|flag| (Kind::HaltSet, "HALTED", flag));
    let changes = changes.chain(cleared.map(|flag| (Kind::HaltCleared, "RUNNING", flag)));
    for (kind, status, flag) in changes {
        for tenant in tenants(app, &flag.scope) {
            let mut outcome = Outcome::new(kind, &tenant, status);
            outcome.by.clone_from(&flag.by);
            outcome.note = format!("{} {}", flag.scope, flag.reason);
            if let Err(error) = app.journal.report(outcome.report()).await {
                tracing::error!(%error, scope = flag.scope, "a halt could not be reported");
            }
        }
    }
}

/// The tenants whose log tells of a scope.
fn tenants(app: &SharedApp, scope: &str) -> BTreeSet<String> {
    let all = app.cards.keys().map(|(tenant, _)| tenant.clone());
    match scope.strip_prefix("tenant:") {
        Some(named) => all.filter(|tenant| tenant == named).collect(),
        None => all.collect(),
    }
}
