//! `HaltService`. Reading is for every authenticated caller; changing is for operators, and only
//! for scopes of their own tenant unless the scope is global.

use tonic::{Request, Response, Status};
use writ_proto::pb::halt_service_server::HaltService;
use writ_proto::{Reason, pb};

use super::authn::Authn;
use super::convert::malformed;
use super::status::status;
use crate::app::{AppError, SharedApp};
use crate::clock;
use crate::halt::{Flag, is_scope};

/// The service.
#[derive(Debug, Clone)]
pub struct Halts {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
}

fn halt(flag: &Flag) -> pb::Halt {
    let since = (flag.since > 0).then_some(prost_types::Timestamp {
        seconds: flag.since,
        nanos: 0,
    });
    let (by, reason) = (flag.by.clone(), flag.reason.clone());
    pb::Halt {
        scope: flag.scope.clone(),
        since,
        by,
        reason,
    }
}

fn unknown(error: &crate::halt::HaltError) -> Status {
    status(&AppError {
        detail: error.to_string(),
        ..AppError::of(Reason::HaltUnknown)
    })
}

impl Halts {
    /// The operator who changes a scope, as `tenant/name`.
    fn changer<T>(&self, request: &Request<T>, scope: &str) -> Result<String, AppError> {
        let (tenant, name) = self.authn.operator(request)?;
        if !is_scope(scope) {
            return Err(malformed(
                "scope: global, tenant:, connection:, action:, agent:, customer:",
            ));
        }
        if scope
            .strip_prefix("tenant:")
            .is_some_and(|named| named != tenant.as_str())
        {
            return Err(AppError::of(Reason::NotFound));
        }
        Ok(format!("{tenant}/{name}"))
    }
}

#[tonic::async_trait]
impl HaltService for Halts {
    async fn set_halt(
        &self,
        request: Request<pb::SetHaltRequest>,
    ) -> Result<Response<pb::SetHaltResponse>, Status> {
        let scope = request.get_ref().scope.clone();
        let by = self
            .changer(&request, &scope)
            .map_err(|error| status(&error))?;
        let pb::SetHaltRequest { scope, reason } = request.into_inner();
        let flag = Flag {
            scope,
            by,
            reason,
            since: clock::now().timestamp(),
        };
        let state = self.app.halts.set(&flag).map_err(|error| unknown(&error))?;
        let halt = Some(halt(&flag));
        Ok(Response::new(pb::SetHaltResponse {
            halt,
            epoch: state.epoch,
        }))
    }

    async fn clear_halt(
        &self,
        request: Request<pb::ClearHaltRequest>,
    ) -> Result<Response<pb::ClearHaltResponse>, Status> {
        let scope = request.get_ref().scope.clone();
        self.changer(&request, &scope)
            .map_err(|error| status(&error))?;
        let pb::ClearHaltRequest { scope, reason } = request.into_inner();
        if reason.trim().is_empty() {
            return Err(status(&malformed("a reason is required to resume")));
        }
        let state = self
            .app
            .halts
            .clear(&scope)
            .map_err(|error| unknown(&error))?;
        Ok(Response::new(pb::ClearHaltResponse { epoch: state.epoch }))
    }

    async fn list_halts(
        &self,
        request: Request<pb::ListHaltsRequest>,
    ) -> Result<Response<pb::ListHaltsResponse>, Status> {
        self.authn.peer(&request).map_err(|error| status(&error))?;
        let state = self.app.halts.read().map_err(|error| unknown(&error))?;
        Ok(Response::new(pb::ListHaltsResponse {
            halts: state.flags.iter().map(halt).collect(),
        }))
    }

    async fn get_halt_state(
        &self,
        request: Request<pb::GetHaltStateRequest>,
    ) -> Result<Response<pb::GetHaltStateResponse>, Status> {
        self.authn.peer(&request).map_err(|error| status(&error))?;
        let response = match self.app.halts.read() {
            Ok(state) => pb::GetHaltStateResponse {
                epoch: state.epoch,
                halts: state.flags.iter().map(halt).collect(),
                known: true,
            },
            Err(_) => pb::GetHaltStateResponse {
                epoch: 0,
                halts: Vec::new(),
                known: false,
            },
        };
        Ok(Response::new(response))
    }
}
