//! Asks for the halts that incidents want, until connectord says that each is set. Until then
//! policyd denies the agent itself, in every replica. What one process asked for and lost with its
//! end, another one asks for again.

use std::time::Duration;

use uuid::Uuid;
use writ_proto::scope::{Part, Scope};

use crate::app::SharedApp;
use crate::app::containment::halting::Cause;
use crate::error::AppError;

const PERIOD: Duration = Duration::from_millis(500);

/// Runs until the process ends.
pub async fn run(app: SharedApp) {
    let mut last = Uuid::nil();
    loop {
        let rested = tokio::time::timeout(PERIOD, app.escalate.notified()).await;
        drop(rested);
        match round(&app, last).await {
            Ok(next) => last = next,
            Err(error) => tracing::warn!(%error, "wanted halts are asked for later"),
        }
    }
}

/// Asks once for each of the next halts that are wanted and not known to be set. The last of them, or
/// none where they begin anew.
async fn round(app: &SharedApp, after: Uuid) -> Result<Uuid, AppError> {
    app.refresh_stops().await?;
    let incidents = app.halts_wanted(after).await?;
    for incident in &incidents {
        let part = Part::Agent(incident.agent.clone());
        let scope = Scope::new(Some(incident.tenant.clone()), part.clone());
        // Heard from connectord, whoever set it.
        if app.halted_since(&scope, incident.opened_ms) {
            app.ledger.incident_halt_set(incident.id).await?;
            tracing::warn!(%scope, incident = %incident.id, "an incident halted an agent");
        } else {
            let reason = format!("incident {}", incident.id);
            let asked = app
                .halting
                .set(&incident.tenant, part, &reason, (Cause::Incident, ""));
            if let Err(error) = asked {
                tracing::warn!(%error, %scope, "a wanted halt is asked for later");
            }
        }
    }
    Ok(incidents.last().map_or_else(Uuid::nil, |last| last.id))
}
