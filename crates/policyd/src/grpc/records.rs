//! `RecordService`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use writ_proto::ids::TenantId;
use writ_proto::limits::{OUTCOMES_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use writ_proto::pb::record_service_server::RecordService;
use writ_proto::value::{Map, Value};
use writ_proto::{Reason, pb};

use super::exports::{Exports, READ_MAX};
use super::status::status;
use crate::app::SharedApp;
use crate::app::reports::undo_writ::UndoWrit;
use crate::domain::log::merkle::leaf_hash;
use crate::domain::record::{project, read_disclosed};
use crate::error::AppError;
use crate::grpc::convert::reported::reported;
use crate::identity::{Authn, own_tenant};
use crate::store::RecordRow;

const STREAM_BUFFER: usize = 4;
/// An export comes in pieces of this length; a line may go on in the next one.
const PIECE_BYTES: usize = 1_024 * 1_024;
/// A page of records ends before it is longer; clients take messages of 4 MiB.
const PAGE_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// The service.
#[derive(Debug, Clone)]
pub struct Records {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
    /// Exports that run.
    pub exports: Exports,
}

impl Records {
    fn operator<T>(&self, request: &Request<T>, parent: &str) -> Result<TenantId, Status> {
        let own = self
            .authn
            .operator(request)
            .map_err(|error| status(&error))?;
        own_tenant(parent, &own).map_err(|error| status(&error))?;
        Ok(own)
    }
}

fn record(row: RecordRow) -> Result<pb::Record, AppError> {
    let read = project(&row.leaf).map_err(|_| AppError::of(Reason::StoreCorrupt))?;
    let time = chrono::DateTime::parse_from_rfc3339(&read.time).ok();
    Ok(pb::Record {
        seq: row.seq,
        record_id: read.record_id,
        version: read.version,
        kind: read.kind,
        time: time.map(|time| prost_types::Timestamp {
            seconds: time.timestamp(),
            nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
        }),
        agent: read.agent,
        action: read.action,
        verdict: read.verdict,
        reason_codes: read.reasons,
        rule_ids: read.rules,
        policy_version: read.policy,
        status: read.status,
        values_json: values_json(&row.disclosed),
        leaf_hash: leaf_hash(&row.leaf).to_vec(),
        leaf: row.leaf,
    })
}

/// The records that fit into a page, and whether there are more. One is always there, or a long one would end the list.
fn page(
    all: impl Iterator<Item = Result<pb::Record, AppError>>,
) -> Result<(Vec<pb::Record>, bool), AppError> {
    let (mut records, mut bytes) = (Vec::new(), 0_usize);
    for one in all {
        let one = one?;
        bytes = bytes.saturating_add(one.encoded_len());
        if bytes > PAGE_BYTES_MAX && !records.is_empty() {
            return Ok((records, true));
        }
        records.push(one);
    }
    Ok((records, false))
}

/// The values of a record as one JSON object; what was erased is absent.
fn values_json(disclosed: &[u8]) -> String {
    let mut map = Map::new();
    for item in read_disclosed(disclosed).unwrap_or_default() {
        map.set(&item.name, item.value);
    }
    Value::Map(map).to_json()
}

/// Lines in pieces that fit into a message.
fn pieces(lines: &[String]) -> Vec<Vec<u8>> {
    let bytes = lines.concat().into_bytes();
    bytes.chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect()
}

type ExportStream = Pin<Box<dyn Stream<Item = Result<pb::ExportRecordsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RecordService for Records {
    async fn list_records(
        &self,
        request: Request<pb::ListRecordsRequest>,
    ) -> Result<Response<pb::ListRecordsResponse>, Status> {
        let tenant = self.operator(&request, &request.get_ref().parent)?;
        let pb::ListRecordsRequest {
            parent: _,
            page_size,
            page_token,
        } = request.into_inner();
        let size = match usize::try_from(page_size) {
            Ok(0) | Err(_) => PAGE_SIZE_DEFAULT,
            Ok(size) => size.min(PAGE_SIZE_MAX),
        };
        let from: u64 = if page_token.is_empty() {
            Ok(0)
        } else {
            page_token.parse()
        }
        .map_err(|_| status(&AppError::new(Reason::RequestMalformed, "page_token")))?;
        let rows = self
            .app
            .records(&tenant, from, size)
            .await
            .map_err(|error| status(&error))?;
        let full = rows.len() == size;
        let (records, cut) = page(rows.into_iter().map(record)).map_err(|error| status(&error))?;
        let last = records.last().filter(|_| full || cut);
        let next = last.map(|record| record.seq.saturating_add(1));
        Ok(Response::new(pb::ListRecordsResponse {
            records,
            next_page_token: next.map(|seq| seq.to_string()).unwrap_or_default(),
        }))
    }

    type ExportRecordsStream = ExportStream;

    async fn export_records(
        &self,
        request: Request<pb::ExportRecordsRequest>,
    ) -> Result<Response<Self::ExportRecordsStream>, Status> {
        let tenant = self.operator(&request, &request.get_ref().parent)?;
        let pb::ExportRecordsRequest {
            parent: _,
            from_seq: from,
            with_values,
        } = request.into_inner();
        let place = self.exports.take(&tenant).map_err(|error| status(&error))?;
        let start = self.app.export_start(&tenant, from, with_values).await;
        let (head, header) = start.map_err(|error| status(&error))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_BUFFER);
        let app = SharedApp::clone(&self.app);
        let whole = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&whole);
        tokio::spawn(async move {
            let _place = place;
            let chunk = |chunk: Vec<u8>| Ok(pb::ExportRecordsResponse { chunk });
            let mut next = from;
            if let Some(header) = header {
                let header = chunk(header.into_bytes());
                if sender.send_timeout(header, READ_MAX).await.is_err() {
                    return;
                }
            }
            while next < head.frontier.size() {
                let lines = match app.export_lines(&tenant, (next, with_values), &head).await {
                    Ok(lines) if !lines.is_empty() => lines,
                    Ok(_) => {
                        let error = AppError::of(Reason::StoreCorrupt);
                        drop(sender.send_timeout(Err(status(&error)), READ_MAX).await);
                        return;
                    }
                    Err(error) => {
                        drop(sender.send_timeout(Err(status(&error)), READ_MAX).await);
                        return;
                    }
                };
                next = next.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
                for part in pieces(&lines) {
                    // Who reads nothing keeps no place.
                    if sender.send_timeout(chunk(part), READ_MAX).await.is_err() {
                        return;
                    }
                }
            }
            let end = app.export_end(&tenant, &head).await;
            let end = end.map_err(|error| status(&error));
            let end = end.and_then(|end| chunk(end.into_bytes()));
            let sent = sender.send_timeout(end, READ_MAX).await;
            ended.store(sent.is_ok(), Ordering::Release);
        });
        // One that was given up on does not end as if it were whole.
        let cut = std::iter::once_with(move || {
            let error = AppError::new(Reason::Unavailable, "the export was not read in time");
            (!whole.load(Ordering::Acquire)).then(|| Err(status(&error)))
        });
        let cut = tokio_stream::iter(cut.flatten());
        Ok(Response::new(Box::pin(
            ReceiverStream::new(receiver).chain(cut),
        )))
    }

    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        let tenant = self.operator(&request, &request.get_ref().parent)?;
        let note = self
            .app
            .checkpoint(&tenant)
            .await
            .map_err(|error| status(&error))?;
        Ok(Response::new(pb::GetCheckpointResponse { note }))
    }

    async fn report_outcomes(
        &self,
        request: Request<pb::ReportOutcomesRequest>,
    ) -> Result<Response<pb::ReportOutcomesResponse>, Status> {
        self.authn
            .connectord(&request)
            .map_err(|error| status(&error))?;
        let pb::ReportOutcomesRequest { outcomes } = request.into_inner();
        if outcomes.len() > OUTCOMES_MAX {
            let message = format!("outcomes: at most {OUTCOMES_MAX}");
            return Err(status(&AppError::new(Reason::RequestTooLarge, message)));
        }
        let mut response = pb::ReportOutcomesResponse::default();
        let reject = |id: String, error: &AppError| pb::OutcomeRejection {
            outcome_id: id,
            reason_code: error.reason.code().to_owned(),
        };
        let (mut ids, mut read) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            let id = outcome.outcome_id.clone();
            match reported(outcome) {
                Ok(one) => {
                    ids.push(id);
                    read.push(one);
                }
                Err(error) => response.rejections.push(reject(id, &error)),
            }
        }
        let mut away = None;
        for (id, result) in ids.into_iter().zip(self.app.report(&read).await) {
            match result {
                Ok(undo) => {
                    response.accepted_outcome_ids.push(id);
                    response.undo_writs.extend(undo.map(undo_writ));
                }
                // A store that is away is no verdict on the outcome: the sender keeps it.
                Err(error)
                    if matches!(error.reason, Reason::StoreUnavailable | Reason::RateLimited) =>
                {
                    away = away.or(Some(error));
                }
                Err(error) => response.rejections.push(reject(id, &error)),
            }
        }
        // What is neither accepted nor rejected is offered again, and holds up nothing that was stored.
        match away {
            Some(error) if response.accepted_outcome_ids.is_empty() => Err(status(&error)),
            _ => Ok(Response::new(response)),
        }
    }
}

fn undo_writ(undo: UndoWrit) -> pb::UndoWrit {
    pb::UndoWrit {
        tenant: undo.tenant.to_string(),
        execution_id: undo.execution.to_string(),
        token: undo.token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_it_is_too_long_for_a_message() {
        let record = |bytes: usize| pb::Record {
            leaf: vec![0; bytes],
            ..pb::Record::default()
        };
        let (half, long) = (PAGE_BYTES_MAX / 2, 2 * PAGE_BYTES_MAX);
        for (sizes, taken) in [
            (&[1, 1, 1][..], 3),
            (&[half, half, half], 1),
            (&[half - 9, half - 9, 100], 2),
            (&[long, 1], 1),
            (&[1, long, 1], 1),
        ] {
            let all = sizes.iter().map(|size| Ok(record(*size)));
            let (records, cut) = page(all).unwrap();
            assert_eq!(
                (records.len(), cut),
                (taken, taken < sizes.len()),
                "{sizes:?}"
            );
        }
    }
}
