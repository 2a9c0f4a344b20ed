//! Asks connectord what a system of record says of a record, for the policies of its tenant.

use std::sync::Arc;

use tonic::Request;
use tonic::transport::Channel;
use writ_proto::host::channel::Peer;
use writ_proto::pb::fact_service_client::FactServiceClient;
use writ_proto::value::args_from_cbor;
use writ_proto::{Reason, pb};

use crate::app::ask::known::{DEADLINE, Question, Read, Source};
use crate::error::AppError;
use crate::grpc::client::failed;

/// Bytes of the fields of one record.
const FIELDS_BYTES_MAX: usize = 16 * 1_024;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 2 * FIELDS_BYTES_MAX;

/// The answers of a connectord.
#[must_use]
pub(crate) fn source(connectord: &Peer) -> Source {
    let client = FactServiceClient::new(connectord.connect_lazy());
    let client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
    Arc::new(move |question| Box::pin(ask(client.clone(), question)))
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
