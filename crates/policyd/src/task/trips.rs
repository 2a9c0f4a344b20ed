//! Tells connectord the halts that limits ordered.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use writ_proto::ids::TenantId;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::{Reason, pb};

use crate::app::{AppError, SharedApp};
use crate::store::Trip;

const PERIOD: Duration = Duration::from_millis(250);

/// Runs until the process ends.
pub async fn deliver(app: SharedApp, endpoint: Endpoint) {
    let client = HaltServiceClient::new(endpoint.connect_lazy());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let set = |tenant, trip| set(client.clone(), tenant, trip);
        match app.set_ordered_halts(set).await {
            Ok(0) => failing = false,
            Ok(count) => tracing::warn!(count, "limits fired: halts are set"),
            Err(error) if failing => tracing::debug!(%error, "ordered halts are not set"),
            Err(error) => {
                failing = true;
                tracing::error!(%error, "a limit fired and its halt is not set yet");
            }
        }
    }
}

async fn set(
    mut client: HaltServiceClient<Channel>,
    tenant: TenantId,
    trip: Trip,
) -> Result<(), AppError> {
    let request = pb::SetHaltRequest {
        scope: format!("tenant:{tenant}/{}", trip.scope),
        reason: trip.reason,
    };
    let answer = client.set_halt(request).await;
    let failed = |status: tonic::Status| AppError {
        detail: status.to_string(),
        ..AppError::of(Reason::PeerUnreachable)
    };
    answer.map(|_| ()).map_err(failed)
}
