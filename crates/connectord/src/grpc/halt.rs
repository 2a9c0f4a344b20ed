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
use crate::halt::{Act, Flag, Scope};

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
        scope: flag.scope.to_string(),
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
    fn changer<T>(&self, request: &Request<T>, scope: &str) -> Result<(Scope, String), AppError> {
        let (tenant, name) = self.authn.operator(request)?;
        let scope: Scope = scope
            .parse()
            .map_err(|error: writ_proto::ids::IdError| malformed(error.to_string()))?;
        if !scope.concerns(tenant.as_str()) {
            return Err(AppError::of(Reason::NotFound));
        }
        Ok((scope, format!("{tenant}/{name}")))
    }
}

#[tonic::async_trait]
impl HaltService for Halts {
    async fn set_halt(
        &self,
        request: Request<pb::SetHaltRequest>,
    ) -> Result<Response<pb::SetHaltResponse>, Status> {
        let scope = request.get_ref().scope.clone();
        let (scope, by) = self
            .changer(&request, &scope)
            .map_err(|error| status(&error))?;
        let pb::SetHaltRequest { scope: _, reason } = request.into_inner();
        let at = clock::now().timestamp();
        let act = Act { by, reason, at };
        let flag = Flag::new(scope, &act, crate::ids::new_id().to_string());
        let set = self.app.halts.set(&flag).await;
        let state = set.map_err(|error| unknown(&error))?;
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
        let (scope, by) = self
            .changer(&request, &scope)
            .map_err(|error| status(&error))?;
        let pb::ClearHaltRequest { scope: _, reason } = request.into_inner();
        if reason.trim().is_empty() {
            return Err(status(&malformed("a reason is required to resume")));
        }
        let at = clock::now().timestamp();
        let cleared = self.app.halts.clear(&scope, &Act { by, reason, at }).await;
        let (state, _) = cleared.map_err(|error| unknown(&error))?;
        Ok(Response::new(pb::ClearHaltResponse { epoch: state.epoch }))
    }

    async fn list_halts(
        &self,
        request: Request<pb::ListHaltsRequest>,
    ) -> Result<Response<pb::ListHaltsResponse>, Status> {
        self.authn.peer(&request).map_err(|error| status(&error))?;
        let read = self.app.halts.read(clock::now().timestamp());
        let state = read.map_err(|error| unknown(&error))?;
        Ok(Response::new(pb::ListHaltsResponse {
            halts: state.flags.iter().map(halt).collect(),
        }))
    }

    async fn get_halt_state(
        &self,
        request: Request<pb::GetHaltStateRequest>,
    ) -> Result<Response<pb::GetHaltStateResponse>, Status> {
        self.authn.peer(&request).map_err(|error| status(&error))?;
        let response = match self.app.halts.read(clock::now().timestamp()) {
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
