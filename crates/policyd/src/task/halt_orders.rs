//! Delivers the halts that policyd orders to connectord, one after another, until each stands.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::scope::Part;
use writ_proto::{Reason, pb};

use crate::app::SharedApp;
use crate::app::halting::{HaltQueue, Wanted};

type Client = HaltServiceClient<Channel>;

/// A day.
const RUN_HALT: prost_types::Duration = prost_types::Duration {
    seconds: 24 * 3_600,
    nanos: 0,
};
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long an order rests that connectord refuses: its cards or its configuration must change first.
const REFUSED_REST: Duration = Duration::from_secs(10);
/// How long one rests whose tenant has no room for halts.
const FULL_REST: Duration = Duration::from_secs(1);

/// How an order ended.
enum Ended {
    /// It stands.
    Done,
    /// Its tenant has no room; it rests, and the others go on.
    Full,
    /// connectord refuses it, with this code. It is asked for again later, and meanwhile policyd
    /// itself denies whom it concerns.
    Refused(String),
}

/// Orders that rest, the next one first.
type Resting = BTreeMap<Instant, Vec<Wanted>>;

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, mut queue: HaltQueue, endpoint: Endpoint) {
    let mut client = HaltServiceClient::new(endpoint.connect_lazy());
    let mut resting = Resting::new();
    while let Some(wanted) = next(&mut queue, &mut resting).await {
        // An incident that was closed meanwhile wants no halt any more.
        if !app.still_wants(&wanted).await {
            queue.done(&wanted.scope);
            continue;
        }
        let rest = match set(&mut client, &wanted).await {
            Ended::Done => {
                queue.stands(&wanted);
                // Whoever ordered it for a limit takes note before anybody can clear it again.
                app.trips.notify_one();
                continue;
            }
            Ended::Full => FULL_REST,
            Ended::Refused(code) => {
                if let Err(error) = app.tell_halt_refused(&wanted.scope, &code).await {
                    tracing::warn!(%error, "nobody is told that a halt was refused");
                }
                REFUSED_REST
            }
        };
        let due = Instant::now() + rest;
        resting.entry(due).or_default().push(wanted);
    }
}

/// The next order: one whose rest is over before any new one.
async fn next(queue: &mut HaltQueue, resting: &mut Resting) -> Option<Wanted> {
    loop {
        let Some(due) = resting.keys().next().copied() else {
            return queue.next().await;
        };
        if due > Instant::now() {
            match tokio::time::timeout_at(due, queue.next()).await {
                Ok(wanted) => return wanted,
                Err(_) => continue,
            }
        }
        let rested = resting.get_mut(&due).and_then(Vec::pop);
        if resting.get(&due).is_none_or(Vec::is_empty) {
            resting.remove(&due);
        }
        if rested.is_some() {
            return rested;
        }
    }
}

/// Asks until there is an answer.
async fn set(client: &mut Client, wanted: &Wanted) -> Ended {
    let request = pb::SetHaltRequest {
        scope: wanted.scope.to_string(),
        reason: wanted.reason.clone(),
        duration: match wanted.scope.part() {
            // A run is over one day; an agent stays halted until somebody looked.
            Part::Run(_) => Some(RUN_HALT),
            _ => None,
        },
        cause: wanted.by.name().to_owned(),
    };
    let mut pause = PAUSE;
    loop {
        let Err(status) = client.set_halt(request.clone()).await else {
            return Ended::Done;
        };
        if is_final(&status) {
            tracing::error!(scope = request.scope, %status, "connectord refuses a halt");
            let info = status.get_details_error_info();
            return Ended::Refused(info.map_or_else(String::new, |info| info.reason));
        }
        tracing::warn!(scope = request.scope, %status, "a halt is not set yet");
        if is_full(&status) {
            return Ended::Full;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether only this tenant has no room: halts of the others must not wait for it.
fn is_full(status: &tonic::Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == Reason::RateLimited.code())
}

/// Whether asking again would be refused again.
fn is_final(status: &tonic::Status) -> bool {
    let info = status.get_details_error_info();
    let reason = info.and_then(|info| Reason::from_code(&info.reason));
    matches!(
        reason,
        Some(
            Reason::RequestMalformed
                | Reason::RequestTooLarge
                | Reason::OperatorRequired
                | Reason::UnknownTenant
        )
    )
}
