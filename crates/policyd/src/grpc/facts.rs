//! Asks connectord what a system of record says of a record, for the policies of its tenant.

use std::sync::Arc;

use tonic::Request;
use tonic::transport::Channel;
use writ_proto::host::channel::Peer;
use writ_proto::pb::fact_service_client::FactServiceClient;
use writ_proto::value::{Map, args_from_cbor};
use writ_proto::{Reason, pb};

use crate::app::ask::grounds::{Check, Cited, Found};
use crate::app::ask::known::{DEADLINE, Question, Read, Source};
use crate::domain::request::Extractor;
use crate::error::AppError;
use crate::grpc::client::failed;

/// Bytes of the fields of one record.
const FIELDS_BYTES_MAX: usize = 16 * 1_024;
/// Longest words for what is missing.
const WHY_CHARS_MAX: usize = 300;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 2 * FIELDS_BYTES_MAX;

/// Who is asked at a connectord, and who looks for evidence there.
#[must_use]
pub(crate) fn asked_at(connectord: &Peer) -> (Source, Check) {
    (source(connectord), check(connectord))
}

/// The answers of a connectord.
fn source(connectord: &Peer) -> Source {
    let client = FactServiceClient::new(connectord.connect_lazy());
    let client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
    Arc::new(move |question| Box::pin(ask(client.clone(), question)))
}

/// What a connectord finds of evidence.
fn check(connectord: &Peer) -> Check {
    let client = FactServiceClient::new(connectord.connect_lazy());
    let client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
    Arc::new(move |cited| Box::pin(look(client.clone(), cited)))
}

async fn look(mut client: FactServiceClient<Channel>, cited: Cited) -> Result<Found, AppError> {
    let [connection, object_type, object_id, text] = cited.cites.source;
    let mut value = Map::new();
    value.set("value", cited.value);
    let extractor = match cited.cites.extractor {
        Extractor::Literal => pb::Extractor::Literal,
        Extractor::Enum => pb::Extractor::Enum,
        Extractor::Date => pb::Extractor::Date,
        Extractor::Money => pb::Extractor::Money,
    };
    let mut request = Request::new(pb::CheckEvidenceRequest {
        parent: format!("tenants/{}", cited.tenant),
        action: cited.action.to_string(),
        argument: cited.cites.argument,
        value_cbor: value.encode(),
        source: Some(pb::TextSource {
            connection,
            object_type,
            object_id,
            text,
        }),
        quote: cited.quote,
        extractor: extractor.into(),
        sha256: cited.sha256.map(Vec::from).unwrap_or_default(),
    });
    request.set_timeout(DEADLINE);
    let answer = client.check_evidence(request).await.map_err(failed)?;
    let pb::CheckEvidenceResponse {
        grounded,
        why,
        sha256,
    } = answer.into_inner();
    let sha256: Option<[u8; 32]> = sha256.try_into().ok();
    Ok(Found {
        // Who found it has read the text.
        grounded: grounded && sha256.is_some(),
        why: why.chars().take(WHY_CHARS_MAX).collect(),
        sha256,
    })
}

async fn ask(mut client: FactServiceClient<Channel>, question: Question) -> Read {
    let asked = question.fields.clone();
    let mut request = Request::new(pb::ReadFactsRequest {
        parent: format!("tenants/{}", question.tenant),
        connection: question.connection,
        object_type: question.object,
        object_id: question.id,
        fields: question.fields,
    });
    request.set_timeout(DEADLINE);
    let answer = client
        .read_facts(request)
        .await
        .map_err(failed)?
        .into_inner();
    if !answer.exists {
        return Ok(None);
    }
    let odd = |why: &str| {
        AppError::new(
            Reason::FieldUnreadable,
            format!("connectord's answer: {why}"),
        )
    };
    if answer.fields_cbor.len() > FIELDS_BYTES_MAX {
        return Err(odd(&format!("more than {FIELDS_BYTES_MAX} bytes of facts")));
    }
    let fields = args_from_cbor(&answer.fields_cbor).map_err(|error| odd(&error.to_string()))?;
    if fields
        .iter()
        .any(|(name, _)| !asked.iter().any(|wanted| wanted == name))
    {
        return Err(odd("it holds a field that was not asked for"));
    }
    Ok(Some(fields))
}
