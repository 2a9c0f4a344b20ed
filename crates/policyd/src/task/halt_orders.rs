//! Delivers the halts that policyd orders to connectord, one after another, until each stands.

use std::collections::VecDeque;
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

/// How an order ended.
enum Ended {
    /// It stands.
    Done,
    /// Its tenant has no room, and it waits behind the others.
    PutBack,
    /// connectord refuses it, with this code. It is asked for again later, and meanwhile policyd
    /// itself denies whom it concerns.
    Refused(String),
}

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, mut queue: HaltQueue, endpoint: Endpoint) {
    let mut client = HaltServiceClient::new(endpoint.connect_lazy());
    let mut refused = VecDeque::new();
    while let Some(wanted) = next(&mut queue, &mut refused).await {
        match set(&mut client, &queue, &wanted).await {
            Ended::Done => queue.done(&wanted.scope),
            Ended::PutBack => tokio::time::sleep(PAUSE).await,
            Ended::Refused(code) => {
                if let Err(error) = app.tell_halt_refused(&wanted.scope, &code).await {
                    tracing::warn!(%error, "nobody is told that a halt was refused");
                }
                refused.push_back((Instant::now() + REFUSED_REST, wanted));
            }
        }
    }
}

/// The next order: one that was refused when its rest is over, or else a new one.
async fn next(queue: &mut HaltQueue, refused: &mut VecDeque<(Instant, Wanted)>) -> Option<Wanted> {
    let Some((due, _)) = refused.front() else {
        return queue.next().await;
    };
    match tokio::time::timeout_at(*due, queue.next()).await {
        Ok(wanted) => wanted,
        Err(_) => refused.pop_front().map(|(_, wanted)| wanted),
    }
}

/// Asks until there is an answer.
async fn set(client: &mut Client, queue: &HaltQueue, wanted: &Wanted) -> Ended {
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
        if is_full(&status) && queue.put_back(wanted) {
            return Ended::PutBack;
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
