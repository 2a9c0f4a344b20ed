//! Tells of every halt that is set or ended, however it was done: by a call, by the command line,
//! by `touch`, or by its time. Many connectords over one store tell the same, and it is recorded
//! once: what is told is named by the act, not by who saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;
use writ_proto::digest::sha256;

use crate::app::SharedApp;
use crate::app::outcome::{Kind, Outcome};
use crate::clock;
use crate::halt::{Act, Cleared, Flag, HaltError, HaltState, Scope};

const PERIOD: Duration = Duration::from_millis(100);
/// How often the log is told that the halts are not known.
const AGAIN: Duration = Duration::from_secs(60);

/// Watches until the process ends.
pub async fn watch(app: SharedApp) {
    let (mut teller, mut doubt) = (Teller::default(), Doubt::default());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock::now().timestamp();
        if let Err(error) = app.halts.tend(now).await {
            tracing::debug!(%error, "the halts cannot be tended");
        }
        let state = app.halts.read(now);
        doubt.told(state.as_ref().err(), Instant::now());
        let state = state.ok();
        app.halt_changes.send_if_modified(|known| {
            let changed = *known != state;
            known.clone_from(&state);
            changed
        });
        if let Some(state) = state {
            teller.look(&app, &state).await;
        }
    }
}

/// Since when the halts are not known, and when the log was last told so.
#[derive(Debug, Default)]
struct Doubt(Option<Instant>);

impl Doubt {
    fn told(&mut self, error: Option<&HaltError>, now: Instant) {
        match (error, self.0) {
            (Some(error), told) if told.is_none_or(|at| now >= at + AGAIN) => {
                tracing::error!(%error, "the halt state is not known, so nothing is written: connectord halt status");
                self.0 = Some(now);
            }
            (None, Some(_)) => {
                tracing::info!("the halt state is known again");
                self.0 = None;
            }
            _ => {}
        }
    }
}

/// What was seen and told so far.
#[derive(Debug, Default)]
struct Teller {
    seen: Option<Arc<HaltState>>,
    /// Flags in force at the last look, by id.
    standing: BTreeMap<String, Flag>,
    told: BTreeSet<(bool, String)>,
}

/// Whether another of us has told it, and policyd has not heard it yet: what was told first has the right time.
async fn waits(app: &SharedApp, id: Uuid) -> bool {
    let before = Uuid::from_u128(id.as_u128().wrapping_sub(1));
    let next = app.journal.outbox(Some(before), 1).await;
    let next = next.unwrap_or_default().into_iter().next();
    next.is_some_and(|one| one.id == id && one.body.is_some())
}

impl Teller {
    async fn look(&mut self, app: &SharedApp, state: &Arc<HaltState>) {
        if self.seen.as_ref() == Some(state) {
            return;
        }
        // Written before a flag goes, so what went by a program is in here.
        let cleared = match app.halts.cleared().await {
            Ok(cleared) => cleared,
            Err(error) => {
                tracing::warn!(%error, "what halts were ended cannot be read");
                return;
            }
        };
        let mut complete = true;
        let counted = state.flags.iter().filter(|flag| flag.is_counted());
        for flag in cleared.iter().map(|one| &one.flag).chain(counted) {
            complete &= self.tell(app, flag, None).await;
        }
        for one in cleared.iter().chain(&self.by_hand(state, &cleared)) {
            complete &= self.tell(app, &one.flag, Some(&one.act)).await;
        }
        if !complete {
            return;
        }
        let current = |id: &str| {
            state.flags.iter().any(|flag| flag.id == id)
                || cleared.iter().any(|one| one.flag.id == id)
        };
        self.told.retain(|(_, id)| current(id));
        let standing = state.flags.iter();
        self.standing = standing
            .map(|flag| (flag.id.clone(), flag.clone()))
            .collect();
        self.seen = Some(Arc::clone(state));
    }

    /// Flags that went without a trace: somebody removed a file.
    fn by_hand(&self, state: &HaltState, cleared: &[Cleared]) -> Vec<Cleared> {
        let traced = |id: &str| {
            state.flags.iter().any(|flag| flag.id == id)
                || cleared.iter().any(|one| one.flag.id == id)
        };
        // One that was replaced still halts: nothing was resumed.
        let halts = |scope: &Scope| state.flags.iter().any(|flag| flag.scope == *scope);
        let gone = self.standing.iter();
        let gone = gone.filter(|(id, flag)| !traced(id) && !halts(&flag.scope));
        let act = Act {
            reason: "removed by hand".to_owned(),
            at: clock::now().timestamp(),
            ..Act::default()
        };
        gone.map(|(_, flag)| Cleared {
            flag: flag.clone(),
            act: act.clone(),
        })
        .collect()
    }

    /// Whether it is told, now or earlier.
    async fn tell(&mut self, app: &SharedApp, flag: &Flag, ended: Option<&Act>) -> bool {
        let key = (ended.is_some(), flag.id.clone());
        if self.told.contains(&key) {
            return true;
        }
        for tenant in tenants(app, flag) {
            let report = outcome(&tenant, flag, ended).report();
            if waits(app, report.id).await {
                continue;
            }
            if let Err(error) = app.journal.report(report).await {
                tracing::error!(%error, scope = %flag.scope, "a halt could not be reported");
                return false;
            }
        }
        self.told.insert(key);
        true
    }
}

fn outcome(tenant: &str, flag: &Flag, ended: Option<&Act>) -> Outcome {
    let (kind, status) = match ended {
        None => (Kind::HaltSet, "HALTED"),
        Some(_) => (Kind::HaltCleared, "RUNNING"),
    };
    let set = Act {
        by: flag.by.clone(),
        reason: flag.reason.clone(),
        at: flag.since,
    };
    let act = ended.unwrap_or(&set);
    let mut outcome = Outcome::new(kind, tenant, status);
    outcome.id = id_of(tenant, status, flag);
    outcome.time_ms = match ended {
        None => flag.moment_ms(),
        Some(act) => act.at.saturating_mul(1_000),
    };
    outcome.scope = flag.scope.to_string();
    (outcome.by, outcome.note) = (act.by.clone(), act.reason.clone());
    outcome
}

/// The same for everybody who tells of the same act to the same tenant.
fn id_of(tenant: &str, status: &str, flag: &Flag) -> Uuid {
    let scope = flag.scope.to_string();
    let mut text = Vec::new();
    for part in ["writ.halt.outcome", tenant, status, &scope, &flag.id] {
        text.extend_from_slice(part.as_bytes());
        text.push(0);
    }
    text.extend_from_slice(&flag.since.to_be_bytes());
    let digest = sha256(&text);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The tenants whose log tells of a halt.
fn tenants(app: &SharedApp, flag: &Flag) -> BTreeSet<String> {
    let catalog = app.catalog.load();
    let all = catalog.cards.keys().map(|(tenant, _)| tenant);
    all.filter(|tenant| flag.scope.concerns(tenant))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
