//! Asks for the halts that incidents want, until connectord says that each is set. Until then
//! policyd denies the agent itself, in every replica. What one process asked for and lost with its
//! end, another one asks for again.

use std::time::Duration;

use writ_proto::scope::{Part, Scope};

use crate::app::SharedApp;
use crate::app::halting::Cause;

const PERIOD: Duration = Duration::from_millis(500);

/// Runs until the process ends.
pub async fn run(app: SharedApp) {
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
        for incident in wanted {
            let part = Part::Agent(incident.agent.clone());
            let scope = Scope::new(Some(incident.tenant.clone()), part.clone());
            // Heard from connectord, whoever set it.
            if app.halts.load().scopes.contains(&scope) {
                tracing::warn!(%scope, incident = %incident.id, "an incident halted an agent");
                if let Err(error) = app.ledger.incident_halt_set(incident.id).await {
                    tracing::warn!(%error, "a halt that is set is not noted yet");
                }
                continue;
            }
            let reason = format!("incident {}", incident.id);
            let asked = app
                .halting
                .set(&incident.tenant, part, &reason, Cause::Incident);
            if let Err(error) = asked {
                tracing::warn!(%scope, %error, "a halt cannot be asked for yet");
            }
        }
    }
}
