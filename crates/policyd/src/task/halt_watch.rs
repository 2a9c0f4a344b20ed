//! Follows connectord's halts and epoch, so that writs carry the epoch and halted requests are
//! denied early. connectord's own check is the one that counts: stale knowledge here only means
//! that a writ is refused there.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tonic::Status;
use writ_proto::host::channel::{Peer, cause_of};
use writ_proto::pb;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::scope::Scope;

use crate::app::SharedApp;
use crate::clock;
use crate::domain::decide::facts::HaltView;

const PERIOD: Duration = Duration::from_millis(250);
/// Every halt of every tenant, with its reason.
const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Halts that one line of the log names.
const SHOWN_MAX: usize = 10;
/// After this time without an answer somebody is told.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// Asks until the process ends.
pub async fn follow(app: SharedApp, connectord: Peer) {
    let client = HaltServiceClient::new(connectord.connect_lazy());
    let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut silent = None::<Instant>;
    let (mut is_known, mut is_told) = (false, true);
    let mut log = HaltLog::default();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let request = pb::GetHaltStateRequest::default();
        let asked_ms = clock::now().timestamp_millis();
        match client.get_halt_state(request).await {
            Ok(response) => {
                let state = response.into_inner();
                let (are_known, view) = (state.known, view(state));
                let view = Arc::new(view);
                if app.halts.load_full() != view {
                    app.halts.store(Arc::clone(&view));
                }
                app.halts_asked_ms.store(asked_ms, Ordering::Release);
                log.tell(are_known, &view.scopes);
                if is_told {
                    tracing::info!("connectord can be reached");
                }
                (is_known, is_told, silent) = (true, false, None);
            }
            Err(error) => {
                let since = silent.get_or_insert_with(Instant::now);
                if since.elapsed() > SILENT_MAX {
                    tell(is_known, connectord.addr(), &error);
                    (is_told, silent) = (true, None);
                }
            }
        }
    }
}

/// What the log said last; none where connectord did not know its halts.
struct HaltLog(Option<Vec<Scope>>);

impl Default for HaltLog {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

impl HaltLog {
    fn tell(&mut self, are_known: bool, scopes: &[Scope]) {
        match self.change(are_known, scopes) {
            Some(halts) if are_known => tracing::info!("{halts}"),
            Some(unknown) => tracing::warn!("{unknown}"),
            None => {}
        }
    }

    /// What the log has to say now, if anything changed.
    fn change(&mut self, are_known: bool, scopes: &[Scope]) -> Option<String> {
        let now = are_known.then(|| scopes.to_vec());
        if self.0 == now {
            return None;
        }
        let before = std::mem::replace(&mut self.0, now).unwrap_or_default();
        if !are_known {
            let text = "connectord does not know its halts, so everything counts as halted";
            return Some(text.to_owned());
        }
        Some(told(&before, scopes))
    }
}

/// Which halts stand, for the log: first those that are new.
fn told(before: &[Scope], scopes: &[Scope]) -> String {
    let (before, now): (BTreeSet<&Scope>, BTreeSet<&Scope>) =
        (before.iter().collect(), scopes.iter().collect());
    let all: Vec<&Scope> = now
        .difference(&before)
        .chain(now.intersection(&before))
        .copied()
        .collect();
    let mut text = match all.as_slice() {
        [] => "heard from connectord: nothing is halted any more".to_owned(),
        all => format!(
            "heard from connectord, and denied from now on: {}",
            some_of(all)
        ),
    };
    let over: Vec<&Scope> = before.difference(&now).copied().collect();
    if !over.is_empty() {
        text.push_str(&format!("; ended: {}", some_of(&over)));
    }
    text
}

fn some_of(scopes: &[&Scope]) -> String {
    let shown = scopes.iter().take(SHOWN_MAX).map(ToString::to_string);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match scopes.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether nobody listens at its address, as before it is started.
fn is_not_there(error: &Status) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let known = cause.downcast_ref::<std::io::Error>();
        if known.is_some_and(|cause| cause.kind() == ErrorKind::ConnectionRefused) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// What it means that connectord is silent.
fn tell(is_known: bool, addr: &str, error: &Status) {
    let cause = cause_of(error);
    let why = if cause.is_empty() {
        error.message()
    } else {
        &cause
    };
    let after = "policyd asks again every 250 ms, and is NOT_SERVING after 10 s without an answer";
    if is_known {
        tracing::error!(
            "connectord at {addr} answers no more ({why}). {after}; it goes by the halts of the last answer meanwhile, and \
             connectord itself looks at its halts before each write"
        );
    } else if !is_not_there(error) {
        tracing::error!(
            "connectord at {addr} does not say which halts are set ({why}); [connectord] addr in policyd.toml must be its. {after}"
        );
    } else {
        tracing::warn!(
            "nobody answers at {addr} ({why}): start connectord, or correct addr under [connectord] in policyd.toml. {after}"
        );
    }
}

/// A scope that cannot be read is taken for everything, and so is a state that is not known.
fn view(state: pb::GetHaltStateResponse) -> HaltView {
    let scope = |halt: pb::Halt| halt.scope.parse().unwrap_or_else(|_| Scope::global());
    let mut scopes: Vec<Scope> = state.halts.into_iter().map(scope).collect();
    if !state.known {
        scopes.push(Scope::global());
    }
    HaltView {
        epoch: state.epoch,
        scopes,
        heard_ms: None,
    }
}

#[cfg(test)]
mod tests;
