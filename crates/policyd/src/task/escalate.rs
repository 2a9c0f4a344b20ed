//! Asks connectord for the halts that incidents want, until it has confirmed each. Until then
//! policyd denies the agent itself, and goes on with that in every replica.

use std::time::Duration;

use tonic::transport::Endpoint;
use writ_proto::pb;
use writ_proto::pb::halt_service_client::HaltServiceClient;

use crate::app::SharedApp;

const PERIOD: Duration = Duration::from_millis(500);

/// Runs until the process ends. Without connectord only the own denials are kept up to date.
pub async fn run(app: SharedApp, endpoint: Option<Endpoint>) {
    let mut client = endpoint.map(|endpoint| HaltServiceClient::new(endpoint.connect_lazy()));
    loop {
        let rested = tokio::time::timeout(PERIOD, app.escalate.notified()).await;
        drop(rested);
        let wanted = match app.refresh_stops().await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(%error, "wanted halts cannot be read");
                continue;
            }
        };
        let Some(client) = &mut client else { continue };
        for incident in wanted {
            let request = pb::SetHaltRequest {
                scope: format!("agent:{}", incident.agent),
                reason: format!("incident {} of {}", incident.id, incident.tenant),
            };
            match client.set_halt(request).await {
                Ok(_) => {
                    tracing::warn!(agent = incident.agent, incident = %incident.id, "halted");
                    if let Err(error) = app.ledger.incident_halt_set(incident.id).await {
                        tracing::warn!(%error, "the halt is set and will be set again");
                    }
                }
                Err(error) => tracing::debug!(%error, "the halt is not set"),
            }
        }
    }
}
