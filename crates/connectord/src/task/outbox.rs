//! Delivers reports to policyd. They are durable here until they are durable there.

use std::time::Duration;

use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use writ_proto::limits::OUTCOMES_MAX;
use writ_proto::pb;
use writ_proto::pb::record_service_client::RecordServiceClient;

use crate::app::SharedApp;

const IDLE: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, endpoint: Endpoint) {
    let mut client = RecordServiceClient::new(endpoint.connect_lazy());
    let mut wait = IDLE;
    loop {
        wait = match round(&app, &mut client).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => IDLE,
            Err(why) => {
                tracing::debug!(why, "policyd does not take reports; they wait");
                (wait.max(IDLE) * 2).min(BACKOFF_MAX)
            }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// One batch; true if there was one.
async fn round(app: &SharedApp, client: &mut RecordServiceClient<Channel>) -> Result<bool, String> {
    let limit = u32::try_from(OUTCOMES_MAX).unwrap_or(1);
    let reports = app
        .journal
        .outbox(limit)
        .await
        .map_err(|error| error.to_string())?;
    if reports.is_empty() {
        return Ok(false);
    }
    let decode = |report: &crate::store::Report| pb::Outcome::decode(report.body.as_slice());
    let outcomes: Result<Vec<_>, _> = reports.iter().map(decode).collect();
    let outcomes = outcomes.map_err(|error| error.to_string())?;
    let request = pb::ReportOutcomesRequest { outcomes };
    let answer = client
        .report_outcomes(request)
        .await
        .map_err(|error| error.to_string())?;
    let pb::ReportOutcomesResponse {
        accepted_outcome_ids,
        rejections,
    } = answer.into_inner();
    for rejection in &rejections {
        let (id, reason) = (&rejection.outcome_id, &rejection.reason_code);
        tracing::error!(id, reason, "policyd will never take this report");
    }
    let ended = accepted_outcome_ids
        .iter()
        .chain(rejections.iter().map(|r| &r.outcome_id));
    let ids: Vec<uuid::Uuid> = ended
        .filter_map(|id| uuid::Uuid::try_parse(id).ok())
        .collect();
    app.journal
        .outbox_done(ids)
        .await
        .map_err(|error| error.to_string())?;
    Ok(true)
}
