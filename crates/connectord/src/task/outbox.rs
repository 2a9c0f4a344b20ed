//! Delivers reports to policyd. They are durable here until they are durable there.

use std::time::{Duration, Instant};

use prost::Message as _;
use tonic::transport::Channel;
use writ_proto::host::channel::Peer;
use writ_proto::limits::{OUTCOMES_MAX, TOKEN_BYTES_MAX};
use writ_proto::pb;
use writ_proto::pb::record_service_client::RecordServiceClient;

use crate::app::SharedApp;
use crate::store::{UndoWrit, Waiting};

/// Below what policyd reads, with room for the frame.
const REPORT_BYTES_MAX: usize = 200 * 1_024;
/// A report that policyd refuses is offered again after this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Longest pass over the outbox.
const PASS_MAX: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const START_STEP: Duration = Duration::from_secs(1);
/// A policyd that takes nothing for longer than this does not merely start.
const AWAY_FOR: Duration = Duration::from_secs(15);

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, policyd: Peer) {
    let mut client = RecordServiceClient::new(policyd.connect_lazy());
    let (mut wait, mut away) = (IDLE, Away::default());
    // Nothing may be waiting for days, and a wrong address is to be seen before that.
    while let Err(error) = policyd.connect().await {
        away.tell(&error.to_string(), Instant::now());
        tokio::time::sleep(START_STEP).await;
    }
    let mut cursor = Cursor::default();
    loop {
        wait = match round(&app, &mut client, &mut cursor).await {
            Ok(more) => {
                away = Away::default();
                if more { Duration::ZERO } else { IDLE }
            }
            Err(failed) => {
                match failed {
                    Failed::Journal(why) => tracing::debug!(why, "the outbox is read later"),
                    Failed::Policyd(why) => {
                        away.tell(&why, Instant::now());
                    }
                }
                (wait.max(IDLE) * 2).min(BACKOFF_MAX)
            }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Whose fault it was that a batch was not delivered.
#[derive(Debug)]
enum Failed {
    Journal(String),
    Policyd(String),
}

/// Since when policyd takes no reports, and whether the log was told.
#[derive(Debug, Default)]
struct Away {
    since: Option<Instant>,
    told: bool,
}

impl Away {
    /// Told once, and not of a restart; whether it was now.
    fn tell(&mut self, why: &str, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let is_due = !self.told && now >= since + AWAY_FOR;
        if is_due {
            tracing::warn!(
                "policyd takes no reports ({why}); they wait here. Start it, or correct addr under [policyd] in connectord.toml"
            );
            self.told = true;
        }
        is_due
    }
}

/// How far the outbox was offered. What policyd refuses stays where it is and holds up nobody: the next
/// reports are offered, and what was refused again when the end was reached and a while is over.
#[derive(Debug, Default)]
struct Cursor {
    /// The last report that was offered, while there are refused ones before it.
    after: Option<uuid::Uuid>,
    /// When the first of this pass was refused.
    refused: Option<Instant>,
}

impl Cursor {
    /// After a page was offered.
    fn offered(&mut self, last: uuid::Uuid, any_refused: bool, now: Instant) {
        if any_refused {
            self.refused.get_or_insert(now);
        }
        // A pass that never comes to an end, because so much is new, begins again too.
        if self.refused.is_some_and(|since| now >= since + PASS_MAX) {
            *self = Self::default();
        } else if self.refused.is_some() {
            self.after = Some(last);
        }
    }

    /// At the end of the outbox.
    fn ended(&mut self, now: Instant) {
        if self.refused.is_none_or(|since| now >= since + REFUSED_FOR) {
            *self = Self::default();
        }
    }
}

/// One batch; true if there may be more.
async fn round(
    app: &SharedApp,
    client: &mut RecordServiceClient<Channel>,
    cursor: &mut Cursor,
) -> Result<bool, Failed> {
    let limit = u32::try_from(OUTCOMES_MAX).unwrap_or(u32::MAX);
    let reports = app.journal.outbox(cursor.after, limit).await;
    let reports = reports.map_err(|error| Failed::Journal(error.to_string()))?;
    let (outcomes, last) = fitting(&reports);
    let Some(last) = last else {
        cursor.ended(Instant::now());
        return Ok(false);
    };
    let considered = reports
        .iter()
        .take_while(|report| report.id <= last)
        .count();
    if outcomes.is_empty() {
        cursor.offered(last, true, Instant::now());
        return Ok(true);
    }
    let sent = outcomes.len();
    let request = pb::ReportOutcomesRequest { outcomes };
    let answer = client
        .report_outcomes(request)
        .await
        .map_err(|error| Failed::Policyd(error.to_string()))?;
    let pb::ReportOutcomesResponse {
        accepted_outcome_ids,
        rejections,
        undo_writs,
    } = answer.into_inner();
    for rejection in &rejections {
        let (id, reason) = (&rejection.outcome_id, &rejection.reason_code);
        tracing::error!(id, reason, "policyd refuses this report; it is kept");
    }
    // Gone from here is only what policyd has.
    let ids: Vec<uuid::Uuid> = accepted_outcome_ids
        .iter()
        .filter_map(|id| uuid::Uuid::try_parse(id).ok())
        .collect();
    let kept = ids.len() < considered;
    let is_short = ids.len().saturating_add(rejections.len()) < sent;
    app.journal
        .outbox_done(ids, undo_writs.into_iter().filter_map(undo_writ).collect())
        .await
        .map_err(|error| Failed::Journal(error.to_string()))?;
    if is_short {
        // Neither taken nor refused: there was no room for it, and it is offered again soon.
        return Err(Failed::Policyd("it has no room for all".to_owned()));
    }
    cursor.offered(last, kept, Instant::now());
    Ok(true)
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

/// The first reports that fit into one message, and the last of them. Values that alone are too long for one are left
/// out of their report; the journal keeps them.
fn fitting(reports: &[Waiting]) -> (Vec<pb::Outcome>, Option<uuid::Uuid>) {
    let (mut outcomes, mut last) = (Vec::new(), None);
    let mut bytes = 0_usize;
    for report in reports {
        let body = report.body.as_deref();
        let Some(Ok(mut outcome)) = body.map(pb::Outcome::decode) else {
            tracing::error!(id = %report.id, "a stored report cannot be read, or no connectord of this service signed it; it is kept");
            last = Some(report.id);
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
        last = Some(report.id);
    }
    (outcomes, last)
}

#[cfg(test)]
mod tests;
