//! Delivers reports to policyd. They are durable here until they are durable there.

use std::time::Duration;

use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use writ_proto::limits::OUTCOMES_MAX;
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::{Reason, pb};

use crate::app::SharedApp;
use crate::store::Report;

/// Below what policyd reads, with room for the frame.
const REPORT_BYTES_MAX: usize = 200 * 1_024;
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
    let outcomes = fitting(&reports);
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
        tracing::error!(id, reason, "policyd refuses this report");
    }
    // Only what can never be read is given up; for everything else policyd may be mended.
    let malformed = rejections
        .iter()
        .filter(|rejection| rejection.reason_code == Reason::RequestMalformed.code());
    let ended = accepted_outcome_ids
        .iter()
        .chain(malformed.map(|rejection| &rejection.outcome_id));
    let ids: Vec<uuid::Uuid> = ended
        .filter_map(|id| uuid::Uuid::try_parse(id).ok())
        .collect();
    app.journal
        .outbox_done(ids)
        .await
        .map_err(|error| error.to_string())?;
    Ok(true)
}

/// The first reports that fit into one message. Values that alone are too long for one are left
/// out of their report; the journal keeps them.
fn fitting(reports: &[Report]) -> Vec<pb::Outcome> {
    let mut outcomes = Vec::new();
    let mut bytes = 0_usize;
    for report in reports {
        let Ok(mut outcome) = pb::Outcome::decode(report.body.as_slice()) else {
            tracing::error!(id = %report.id, "a stored report cannot be read");
            continue;
        };
        if outcome.encoded_len() > REPORT_BYTES_MAX {
            outcome.changes.clear();
            outcome.collateral.clear();
            outcome.note.push_str(" (values too long to report)");
        }
        bytes = bytes.saturating_add(outcome.encoded_len());
        if bytes > REPORT_BYTES_MAX {
            break;
        }
        outcomes.push(outcome);
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: u128, bytes: usize) -> Report {
        let outcome = pb::Outcome {
            outcome_id: uuid::Uuid::from_u128(id).to_string(),
            changes: vec![pb::FieldChange {
                field: "x".repeat(bytes),
                ..pb::FieldChange::default()
            }],
            ..pb::Outcome::default()
        };
        Report {
            id: uuid::Uuid::from_u128(id),
            body: outcome.encode_to_vec(),
        }
    }

    #[test]
    fn a_message_of_reports_stays_below_its_limit_and_is_never_empty() {
        let long = fitting(&[report(1, 100_000), report(2, 90_000), report(3, 50_000)]);
        assert_eq!(long.len(), 2);
        let alone = fitting(&[report(1, 300_000), report(2, 10)]);
        assert_eq!(alone.len(), 2);
        assert!(alone[0].changes.is_empty() && alone[0].note.contains("too long"));
        let mut broken = report(1, 10);
        broken.body = vec![0xff];
        assert_eq!(fitting(&[broken, report(2, 10)]).len(), 1);
    }
}
