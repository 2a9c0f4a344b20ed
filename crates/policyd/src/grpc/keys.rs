//! `KeyService`: the public keys. Rotation is done by `policyd keys rotate` beside the key files,
//! so the call answers where to do it.

use tonic::{Request, Response, Status};
use writ_proto::pb::key_service_server::KeyService;
use writ_proto::{Reason, pb};

use super::status::status;
use crate::app::SharedApp;
use crate::error::AppError;
use crate::identity::Authn;

/// The service.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn list_signing_keys(
        &self,
        request: Request<pb::ListSigningKeysRequest>,
    ) -> Result<Response<pb::ListSigningKeysResponse>, Status> {
        self.authn.peer(&request).map_err(|error| status(&error))?;
        let seconds =
            |bound: Option<i64>| bound.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        let signer = self.app.signer.load();
        let keys = signer.keys.entries().iter().map(|entry| pb::PublicKey {
            kid: entry.kid.to_vec(),
            public_key: entry.key.as_bytes().to_vec(),
            issuer: entry.issuer.clone(),
            r#use: entry.usage.name().to_owned(),
            status: entry.status.name().to_owned(),
            not_before: seconds(entry.not_before),
            not_after: seconds(entry.not_after),
        });
        Ok(Response::new(pb::ListSigningKeysResponse {
            keys: keys.collect(),
        }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<pb::RotateSigningKeyRequest>,
    ) -> Result<Response<pb::RotateSigningKeyResponse>, Status> {
        self.authn
            .operator(&request)
            .map_err(|error| status(&error))?;
        let message = "keys are rotated on the machine that holds them: policyd keys rotate";
        Err(status(&AppError::new(Reason::OperatorRequired, message)))
    }

    async fn get_key_set(
        &self,
        request: Request<pb::GetKeySetRequest>,
    ) -> Result<Response<pb::GetKeySetResponse>, Status> {
        self.authn.peer(&request).map_err(|error| status(&error))?;
        let document_json = self.app.signer.load().document();
        Ok(Response::new(pb::GetKeySetResponse { document_json }))
    }
}
