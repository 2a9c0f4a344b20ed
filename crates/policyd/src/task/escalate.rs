//! Asks for the halts that incidents want, until connectord says that each is set. Until then
//! policyd denies the agent itself, in every replica. What one process asked for and lost with its
//! end, another one asks for again.

use std::time::Duration;

use writ_proto::scope::{Part, Scope};

use crate::app::halting::Cause;
use crate::app::{AppError, SharedApp};

const PERIOD: Duration = Duration::from_millis(500);

/// Runs until the process ends.
pub async fn run(app: SharedApp) {
    loop {
        let rested = tokio::time::timeout(PERIOD, app.escalate.notified()).await;
        drop(rested);
        if let Err(error) = round(&app).await {
            tracing::warn!(%error, "wanted halts are asked for later");
        }
    }
}

/// Asks once for each halt that is wanted and not known to be set.
async fn round(app: &SharedApp) -> Result<(), AppError> {
    for incident in app.refresh_stops().await? {
        let part = Part::Agent(incident.agent.clone());
        let scope = Scope::new(Some(incident.tenant.clone()), part.clone());
        // Heard from connectord, whoever set it.
        if app.halts.load().scopes.contains(&scope) {
            app.ledger.incident_halt_set(incident.id).await?;
            tracing::warn!(%scope, incident = %incident.id, "an incident halted an agent");
        } else {
            let reason = format!("incident {}", incident.id);
            app.halting
                .set(&incident.tenant, part, &reason, Cause::Incident)?;
        }
    }
    Ok(())
}
