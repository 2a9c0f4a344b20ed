//! Follows connectord's halts and epoch, so that writs carry the epoch and halted requests are
//! denied early. connectord's own check is the one that counts: stale knowledge here only means
//! that a writ is refused there.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Endpoint;
use writ_proto::pb;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::scope::Scope;

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
        let request = pb::GetHaltStateRequest::default();
        match client.get_halt_state(request).await {
            Ok(response) => {
                let view = view(response.into_inner());
                if **app.halts.load() != view {
                    let scopes: Vec<String> = view.scopes.iter().map(ToString::to_string).collect();
                    tracing::info!(epoch = view.epoch, ?scopes, "halts changed");
                    app.halts.store(Arc::new(view));
                }
            }
            Err(error) => tracing::debug!(%error, "connectord does not answer"),
        }
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
    }
}
