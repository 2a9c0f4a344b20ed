//! Delivers the halts that policyd asks for to connectord, one after another, until each is set.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_types::StatusExt as _;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::scope::Part;
use writ_proto::{Reason, pb};

use crate::app::halting::HaltQueue;

/// A day.
const RUN_HALT: prost_types::Duration = prost_types::Duration {
    seconds: 24 * 3_600,
    nanos: 0,
};
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Delivers until the process ends.
pub async fn deliver(mut queue: HaltQueue, endpoint: Endpoint) {
    let mut client = HaltServiceClient::new(endpoint.connect_lazy());
    while let Some(wanted) = queue.next().await {
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
            match client.set_halt(request.clone()).await {
                Ok(_) => break,
                Err(status) if is_final(&status) => {
                    tracing::error!(scope = request.scope, %status, "connectord refuses a halt");
                    break;
                }
                Err(status) => {
                    tracing::warn!(scope = request.scope, %status, "a halt is not set yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        queue.done(&wanted.scope);
    }
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
