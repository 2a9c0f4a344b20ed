//! Delivers reports to policyd. They are durable here until they are durable there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use writ_proto::limits::{OUTCOMES_MAX, TOKEN_BYTES_MAX};
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::{Reason, pb};

use crate::app::SharedApp;
use crate::store::{Report, UndoWrit};

/// Below what policyd reads, with room for the frame.
const REPORT_BYTES_MAX: usize = 200 * 1_024;
/// A report that policyd refuses for now is offered again after this long.
const PARKED_FOR: Duration = Duration::from_secs(60);
const PARKED_MAX: usize = 500;
const IDLE: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, endpoint: Endpoint) {
    let mut client = RecordServiceClient::new(endpoint.connect_lazy());
    let mut wait = IDLE;
    let mut parked = Parked::default();
    loop {
        wait = match round(&app, &mut client, &mut parked).await {
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

/// Reports that policyd refused, and when they are offered again: they must not hold up the others.
#[derive(Debug, Default)]
struct Parked(BTreeMap<uuid::Uuid, Instant>);

impl Parked {
    /// What is due, of the oldest reports.
    fn due(&mut self, mut reports: Vec<Report>, now: Instant) -> Vec<Report> {
        self.0.retain(|_, until| *until > now);
        reports.retain(|report| !self.0.contains_key(&report.id));
        reports.truncate(OUTCOMES_MAX);
        reports
    }

    /// A full table forgets: then the refused ones are offered again, which is only slower.
    fn park(&mut self, id: uuid::Uuid, now: Instant) {
        if self.0.len() >= PARKED_MAX {
            self.0.clear();
        }
        self.0.insert(id, now + PARKED_FOR);
    }
}

/// One batch; true if any of it was accepted.
async fn round(
    app: &SharedApp,
    client: &mut RecordServiceClient<Channel>,
    parked: &mut Parked,
) -> Result<bool, String> {
    let limit = OUTCOMES_MAX.saturating_add(parked.0.len());
    let reports = app
        .journal
        .outbox(u32::try_from(limit).unwrap_or(u32::MAX))
        .await
        .map_err(|error| error.to_string())?;
    let reports = parked.due(reports, Instant::now());
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
        undo_writs,
    } = answer.into_inner();
    for rejection in &rejections {
        let (id, reason) = (&rejection.outcome_id, &rejection.reason_code);
        tracing::error!(id, reason, "policyd refuses this report");
        if let Ok(id) = uuid::Uuid::try_parse(id) {
            parked.park(id, Instant::now());
        }
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
    let any = !ids.is_empty();
    app.journal
        .outbox_done(ids, undo_writs.into_iter().filter_map(undo_writ).collect())
        .await
        .map_err(|error| error.to_string())?;
    Ok(any)
}

/// An undo writ as it came; one that cannot be one is left out.
fn undo_writ(writ: pb::UndoWrit) -> Option<UndoWrit> {
    let pb::UndoWrit {
        tenant,
        execution_id,
        token,
    } = writ;
    let execution = uuid::Uuid::try_parse(&execution_id).ok()?;
    let fits = token.len() <= TOKEN_BYTES_MAX && !tenant.contains('\0');
    fits.then_some(UndoWrit {
        tenant,
        execution,
        token,
    })
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
            outcome.note.push_str(" (values too long to report)");
            outcome.collateral.clear();
            if outcome.encoded_len() > REPORT_BYTES_MAX {
                outcome.changes.clear();
            }
        }
        bytes = bytes.saturating_add(outcome.encoded_len());
        // The first goes, whatever it is: what waits behind it must not wait for good.
        if bytes > REPORT_BYTES_MAX && !outcomes.is_empty() {
            break;
        }
        outcomes.push(outcome);
    }
    outcomes
}

#[cfg(test)]
mod tests;
