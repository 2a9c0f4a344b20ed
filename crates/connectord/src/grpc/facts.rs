//! `FactService`: what systems of record say of a record, for policyd.

use tonic::{Request, Response, Status};
use writ_proto::ids::TenantId;
use writ_proto::limits::{EVIDENCE_QUOTE_BYTES_MAX, MESSAGE_BYTES_MAX};
use writ_proto::pb::fact_service_server::{FactService, FactServiceServer};
use writ_proto::value::args_from_cbor;
use writ_proto::{Caller, Reason, pb};

use crate::app::SharedApp;
use crate::app::facts::{Answer, Places, Question};
use crate::app::ground::{Cited, Ground};
use crate::domain::ground::Extractor;
use crate::error::AppError;
use crate::grpc::authn::{Authn, not_for};
use crate::grpc::status::status;

/// The service.
#[derive(Debug, Clone)]
pub struct Facts {
    app: SharedApp,
    authn: Authn,
    places: Places,
    /// Those of looks for evidence, so that they hold up no facts.
    looks: Places,
}

impl Facts {
    /// Over the use cases.
    #[must_use]
    pub fn new(app: SharedApp, authn: Authn) -> Self {
        Self {
            app,
            authn,
            places: Places::default(),
            looks: Places::default(),
        }
    }

    /// As it is served.
    #[must_use]
    pub fn server(self) -> FactServiceServer<Self> {
        FactServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn only_policyd<T>(&self, request: &Request<T>) -> Result<(), AppError> {
        match self.authn.peer(request)?.caller {
            Caller::Service { name } if name.as_str() == "policyd" => Ok(()),
            other => Err(not_for(&other, Reason::ServiceRequired)),
        }
    }

    async fn read(
        &self,
        request: Request<pb::ReadFactsRequest>,
    ) -> Result<Option<Answer>, AppError> {
        self.only_policyd(&request)?;
        let pb::ReadFactsRequest {
            parent,
            connection,
            object_type,
            object_id,
            fields,
        } = request.into_inner();
        let tenant = tenant(&parent)?;
        let question = Question {
            tenant,
            connection,
            object: object_type,
            id: object_id,
            fields,
        };
        self.app.facts(&question, &self.places).await
    }

    async fn ground(&self, request: Request<pb::CheckEvidenceRequest>) -> Result<Ground, AppError> {
        self.only_policyd(&request)?;
        let cited = cited(request.into_inner())?;
        Box::pin(self.app.ground(&cited, &self.looks)).await
    }
}

fn malformed(why: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, why.into())
}

fn tenant(parent: &str) -> Result<TenantId, AppError> {
    let tenant = parent.strip_prefix("tenants/").unwrap_or_default();
    TenantId::parse(tenant).map_err(|error| malformed(format!("parent: {error}")))
}

fn cited(message: pb::CheckEvidenceRequest) -> Result<Cited, AppError> {
    let pb::CheckEvidenceRequest {
        parent,
        action,
        argument,
        value_cbor,
        source,
        quote,
        extractor,
        sha256,
    } = message;
    let pb::TextSource {
        connection,
        object_type,
        object_id,
        text,
    } = source.unwrap_or_default();
    let value = args_from_cbor(&value_cbor).map_err(|error| malformed(error.to_string()))?;
    let value = value.get("value").cloned();
    let sha256 = match sha256.len() {
        0 => None,
        _ => Some(<[u8; 32]>::try_from(sha256).map_err(|_| malformed("sha256: 32 bytes"))?),
    };
    if quote.len() > EVIDENCE_QUOTE_BYTES_MAX {
        return Err(malformed(format!(
            "quote: at most {EVIDENCE_QUOTE_BYTES_MAX} bytes"
        )));
    }
    Ok(Cited {
        tenant: tenant(&parent)?,
        argument: (
            action,
            argument,
            value.ok_or_else(|| malformed("value_cbor"))?,
        ),
        source: [connection, object_type, object_id, text],
        quote,
        extractor: match pb::Extractor::try_from(extractor) {
            Ok(pb::Extractor::Literal) => Extractor::Literal,
            Ok(pb::Extractor::Enum) => Extractor::Enum,
            Ok(pb::Extractor::Date) => Extractor::Date,
            Ok(pb::Extractor::Money) => Extractor::Money,
            Ok(pb::Extractor::Unspecified) | Err(_) => return Err(malformed("extractor")),
        },
        sha256,
    })
}

#[tonic::async_trait]
impl FactService for Facts {
    async fn read_facts(
        &self,
        request: Request<pb::ReadFactsRequest>,
    ) -> Result<Response<pb::ReadFactsResponse>, Status> {
        let read = self.read(request).await.map_err(|error| status(&error))?;
        let exists = read.is_some();
        let Answer { fields, version } = read.unwrap_or_default();
        Ok(Response::new(pb::ReadFactsResponse {
            exists,
            fields_cbor: if exists { fields.encode() } else { Vec::new() },
            version: version.unwrap_or_default(),
        }))
    }

    async fn check_evidence(
        &self,
        request: Request<pb::CheckEvidenceRequest>,
    ) -> Result<Response<pb::CheckEvidenceResponse>, Status> {
        let found = self.ground(request).await.map_err(|error| status(&error))?;
        Ok(Response::new(pb::CheckEvidenceResponse {
            grounded: found.missing.is_none(),
            why: found.missing.unwrap_or_default(),
            sha256: found.sha256.map(Vec::from).unwrap_or_default(),
        }))
    }
}
