//! `IncidentService`.

use tonic::{Request, Response, Status};
use uuid::Uuid;
use writ_proto::ids::TenantId;
use writ_proto::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, REASON_BYTES_MAX};
use writ_proto::pb::incident_service_server::IncidentService;
use writ_proto::{Reason, pb};

use super::status::status;
use crate::app::SharedApp;
use crate::domain::incident::{HaltWish, Incident};
use crate::error::AppError;
use crate::identity::{Authn, own_tenant};

/// The service, and that of notices.
#[derive(Debug, Clone)]
pub struct Incidents {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
}

impl Incidents {
    /// The operator's tenant, which must be the one named.
    pub(super) fn operator<T>(
        &self,
        request: &Request<T>,
        parent: &str,
    ) -> Result<TenantId, AppError> {
        let own = self.authn.operator(request)?;
        own_tenant(parent, &own)?;
        Ok(own)
    }

    fn named<T>(&self, request: &Request<T>, name: &str) -> Result<(TenantId, Uuid), AppError> {
        let own = self.authn.operator(request)?;
        let not_found = || AppError::of(Reason::NotFound);
        let (parent, id) = name.split_once("/incidents/").ok_or_else(not_found)?;
        own_tenant(parent, &own)?;
        let id = Uuid::try_parse(id).map_err(|_| not_found())?;
        Ok((own, id))
    }
}

pub(super) fn page(size: i32) -> usize {
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    size.unwrap_or(PAGE_SIZE_DEFAULT).min(PAGE_SIZE_MAX)
}

pub(super) fn moment(milliseconds: i64) -> prost_types::Timestamp {
    let time = chrono::DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

fn incident(incident: Incident) -> pb::Incident {
    let closed = incident.closed;
    let state = match closed {
        Some(_) => pb::IncidentState::Closed,
        None => pb::IncidentState::Open,
    };
    let halt = match incident.halt {
        HaltWish::None => pb::IncidentHalt::None,
        HaltWish::Wanted => pb::IncidentHalt::Wanted,
        HaltWish::Set => pb::IncidentHalt::Set,
    };
    pb::Incident {
        name: format!("tenants/{}/incidents/{}", incident.tenant, incident.id),
        state: state.into(),
        agent: incident.agent,
        action: incident.action,
        rule: incident.rule,
        denials: incident.count,
        window_seconds: incident.window_seconds,
        reason_codes: incident.codes,
        open_time: Some(moment(incident.opened_ms)),
        halt: halt.into(),
        close_time: closed.as_ref().map(|closed| moment(closed.time_ms)),
        closed_by: closed
            .as_ref()
            .map_or_else(String::new, |closed| closed.by.clone()),
        close_reason: closed.map_or_else(String::new, |closed| closed.reason),
    }
}

#[tonic::async_trait]
impl IncidentService for Incidents {
    async fn list_incidents(
        &self,
        request: Request<pb::ListIncidentsRequest>,
    ) -> Result<Response<pb::ListIncidentsResponse>, Status> {
        let pb::ListIncidentsRequest { parent, page_size } = request.get_ref();
        let tenant = self
            .operator(&request, parent)
            .map_err(|error| status(&error))?;
        let found = self.app.incidents(&tenant, page(*page_size)).await;
        let found = found.map_err(|error| status(&error))?;
        Ok(Response::new(pb::ListIncidentsResponse {
            incidents: found.into_iter().map(incident).collect(),
        }))
    }

    async fn get_incident(
        &self,
        request: Request<pb::GetIncidentRequest>,
    ) -> Result<Response<pb::GetIncidentResponse>, Status> {
        let pb::GetIncidentRequest { name } = request.get_ref();
        let (tenant, id) = self.named(&request, name).map_err(|error| status(&error))?;
        let found = self.app.incident(&tenant, id).await;
        let found = found.map_err(|error| status(&error))?;
        Ok(Response::new(pb::GetIncidentResponse {
            incident: Some(incident(found)),
        }))
    }

    async fn close_incident(
        &self,
        request: Request<pb::CloseIncidentRequest>,
    ) -> Result<Response<pb::CloseIncidentResponse>, Status> {
        let pb::CloseIncidentRequest { name, reason } = request.get_ref();
        let (tenant, id) = self.named(&request, name).map_err(|error| status(&error))?;
        if reason.len() > REASON_BYTES_MAX || reason.contains('\0') {
            let message = format!("reason: at most {REASON_BYTES_MAX} bytes and no U+0000");
            return Err(status(&AppError::new(Reason::RequestTooLarge, message)));
        }
        let by = self
            .authn
            .operator_name(&request)
            .map_err(|error| status(&error))?;
        let closed = self.app.close_incident(&tenant, id, (&by, reason)).await;
        let closed = closed.map_err(|error| status(&error))?;
        Ok(Response::new(pb::CloseIncidentResponse {
            incident: Some(incident(closed)),
        }))
    }
}
