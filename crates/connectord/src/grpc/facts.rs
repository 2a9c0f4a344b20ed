//! `FactService`: what systems of record say of a record, for policyd.

use tonic::{Request, Response, Status};
use writ_proto::ids::TenantId;
use writ_proto::limits::MESSAGE_BYTES_MAX;
use writ_proto::pb::fact_service_server::{FactService, FactServiceServer};
use writ_proto::{Caller, Reason, pb};

use crate::app::SharedApp;
use crate::app::facts::{Answer, Places, Question};
use crate::error::AppError;
use crate::grpc::authn::{Authn, not_for};
use crate::grpc::status::status;

/// The service.
#[derive(Debug, Clone)]
pub struct Facts {
    app: SharedApp,
    authn: Authn,
    places: Places,
}

impl Facts {
    /// Over the use cases.
    #[must_use]
    pub fn new(app: SharedApp, authn: Authn) -> Self {
        let places = Places::default();
        Self { app, authn, places }
    }

    /// As it is served.
    #[must_use]
    pub fn server(self) -> FactServiceServer<Self> {
        FactServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    async fn read(
        &self,
        request: Request<pb::ReadFactsRequest>,
    ) -> Result<Option<Answer>, AppError> {
        match self.authn.peer(&request)?.caller {
            Caller::Service { name } if name.as_str() == "policyd" => {}
            other => return Err(not_for(&other, Reason::ServiceRequired)),
        }
        let pb::ReadFactsRequest {
            parent,
            connection,
            object_type,
            object_id,
            fields,
        } = request.into_inner();
        let tenant = parent.strip_prefix("tenants/").unwrap_or_default();
        let tenant = TenantId::parse(tenant)
            .map_err(|error| AppError::new(Reason::RequestMalformed, format!("parent: {error}")))?;
        let question = Question {
            tenant,
            connection,
            object: object_type,
            id: object_id,
            fields,
        };
        self.app.facts(&question, &self.places).await
    }
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
}
