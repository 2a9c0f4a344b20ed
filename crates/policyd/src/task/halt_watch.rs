//! Follows connectord's halts and epoch, so that writs carry the epoch and halted requests are
//! denied early. connectord's own check is the one that counts: stale knowledge here only means
//! that a writ is refused there.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Endpoint;
use writ_proto::pb;
use writ_proto::pb::halt_service_client::HaltServiceClient;

use crate::app::SharedApp;
use crate::domain::facts::HaltView;

const PERIOD: Duration = Duration::from_millis(250);

/// Asks until the process ends.
pub async fn follow(app: SharedApp, endpoint: Endpoint) {
    let mut client = HaltServiceClient::new(endpoint.connect_lazy());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match client.get_halt_state(pb::GetHaltStateRequest {}).await {
            Ok(response) => {
                let pb::GetHaltStateResponse {
                    epoch,
                    halts,
                    known,
                } = response.into_inner();
                let mut scopes: Vec<String> = halts.into_iter().map(|halt| halt.scope).collect();
                if !known {
                    scopes.push("global".to_owned());
                }
                let view = HaltView { epoch, scopes };
                if **app.halts.load() != view {
                    tracing::info!(epoch, scopes = ?view.scopes, "halts changed");
                    app.halts.store(Arc::new(view));
                }
            }
            Err(error) => tracing::debug!(%error, "connectord does not answer"),
        }
    }
}
