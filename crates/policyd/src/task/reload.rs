//! Takes changed policies into force, each tenant's for itself. A set that is refused never replaces
//! a good one, and its tenant is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use writ_proto::Reason;
use writ_proto::ids::TenantId;

use crate::app::SharedApp;
use crate::app::policies::{Change, PolicyTable, Watched};
use crate::domain::policy::{PolicyErrors, TenantPolicies};

/// How often the folders are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Looking for changes takes at most one part in so many of the time: of very many folders it is rarer.
const SHARE: u32 = 10;
/// A pause is never longer, however long a look took.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A look that takes longer is said aloud.
const LATE: Duration = Duration::from_secs(60);

/// Looks until the process ends.
pub async fn watch(app: SharedApp, mut watched: Watched) {
    let mut wrong = BTreeSet::new();
    loop {
        let began = Instant::now();
        let mut looking = tokio::task::spawn_blocking(move || {
            let changes = watched.look();
            (watched, changes)
        });
        let looked = loop {
            match tokio::time::timeout(LATE, &mut looking).await {
                Ok(looked) => break looked,
                Err(_) => {
                    let reason = Reason::PolicyReloadFailed.code();
                    tracing::error!(reason, "reading the policies takes more than a minute");
                }
            }
        };
        let pause = began.elapsed().saturating_mul(SHARE);
        let Ok((returned, changes)) = looked else {
            // Only a defect ends the look; what is in force stays, and that is said.
            let reason = Reason::Internal.code();
            tracing::error!(reason, "policies are no longer reloaded");
            return;
        };
        watched = returned;
        for (name, change) in changes {
            say_mended(&mut wrong, &name, &change);
            match change {
                Change::Set(set) => {
                    if !came_into_force(&app, set).await {
                        watched.again(&name);
                    }
                }
                Change::Gone => gone(&app, &name).await,
                Change::Refused(errors) => refused(&app, &name, &errors).await,
            }
        }
        tokio::time::sleep(pause.clamp(PERIOD, PAUSE_MAX)).await;
    }
}

/// Says when what was refused can be read again, also where it is what was in force all the time.
fn say_mended(wrong: &mut BTreeSet<String>, name: &str, change: &Change) {
    if matches!(change, Change::Refused(_)) {
        wrong.insert(name.to_owned());
    } else if wrong.remove(name) {
        tracing::info!(tenant = name, "what was wrong in its files is mended");
    }
}

/// Whether a set is in force now. One that could not be recorded is not: it is tried again.
async fn came_into_force(app: &SharedApp, set: Arc<TenantPolicies>) -> bool {
    let tenant = set.tenant.clone();
    let known = app.policies.load().get(&tenant).map(|known| known.digest);
    if known == Some(set.digest) {
        return true;
    }
    if let Err(error) = app.publish(&set).await {
        tracing::warn!(%error, %tenant, "a changed policy set waits for its record");
        return false;
    }
    for warning in &set.warnings {
        tracing::warn!(%tenant, "{warning}");
    }
    let digest = hex::encode(set.digest);
    replace(app, |table| {
        table.insert(tenant.clone(), Arc::clone(&set));
    });
    tracing::info!(%tenant, digest, "policies reloaded");
    true
}

/// A folder that is gone ends its tenant, recorded or not: denying needs no record of its own.
async fn gone(app: &SharedApp, name: &str) {
    let Ok(tenant) = TenantId::parse(name) else {
        return;
    };
    let last = app.policies.load().get(&tenant).cloned();
    replace(app, |table| {
        table.remove(&tenant);
    });
    tracing::warn!(%tenant, "its policy folder is gone: every request is denied");
    let Some(last) = last else { return };
    if let Err(error) = app.retire(&last).await {
        tracing::warn!(%error, %tenant, "no record says that its policies were retired");
    }
}

fn replace(app: &SharedApp, change: impl Fn(&mut PolicyTable)) {
    app.policies.rcu(|table| {
        let mut table = PolicyTable::clone(table);
        change(&mut table);
        table
    });
}

async fn refused(app: &SharedApp, name: &str, errors: &PolicyErrors) {
    let reason = Reason::PolicyReloadFailed.code();
    let table = app.policies.load();
    let keeps = name.is_empty() || table.keys().any(|tenant| tenant.as_str() == name);
    let what = if keeps {
        "the last good policies stay in force"
    } else {
        "the tenant has no policies in force: every request of it is denied"
    };
    tracing::error!(reason, tenant = name, %errors, "{what}");
    // What concerns the folder of all tenants concerns each of them.
    let tenants: Vec<TenantId> = if name.is_empty() {
        app.policies.load().keys().cloned().collect()
    } else {
        TenantId::parse(name).into_iter().collect()
    };
    for tenant in tenants {
        if let Err(error) = app.tell_reload_failed(&tenant, errors).await {
            tracing::warn!(%error, %tenant, "nobody is told that policies were not accepted");
        }
    }
}

/// Tells the tenants whose policies are refused while policyd starts.
pub async fn tell_refused(app: SharedApp, refused_at_start: BTreeMap<String, PolicyErrors>) {
    for (name, errors) in refused_at_start {
        refused(&app, &name, &errors).await;
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::app::policies::load_tenant;
    use crate::app::tests::{STRICT, config, folder, opened};

    #[tokio::test]
    async fn a_set_comes_into_force_with_its_record_or_not_at_all() {
        let (old, new) = (folder(""), folder(STRICT));
        let app = opened(&config(&old)).await;
        let load = |folder: &TempDir| load_tenant(&folder.path().join("policies/acme")).unwrap();
        let (old, new) = (load(&old), load(&new));
        let in_force = || app.policies.load()[&old.tenant].digest;
        assert_ne!(old.digest, new.digest);
        assert!(came_into_force(&app, Arc::clone(&new)).await);
        assert_eq!(in_force(), new.digest);
        app.writer.close();
        assert!(!came_into_force(&app, Arc::clone(&old)).await);
        assert_eq!(in_force(), new.digest);
    }
}
