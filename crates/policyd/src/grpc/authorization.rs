//! `AuthorizationService`.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use writ_proto::host::serve::rate::Pace;
use writ_proto::ids::{AgentId, DecisionId, TenantId};
use writ_proto::limits::BATCH_ITEMS_MAX;
use writ_proto::pb::authorization_service_server::AuthorizationService;
use writ_proto::{Caller, Reason, pb};

use super::convert;
use super::status::{over_rate, status};
use crate::app::SharedApp;
use crate::app::ask::authorize::{Answer, Malformed};
use crate::clock;
use crate::error::AppError;
use crate::identity::{Authn, own_tenant};

/// The service.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
}

/// Tenant and name of an agent, and the digest of its certificate.
pub type Agent = (TenantId, AgentId, [u8; 32]);

/// Seconds of moments that a simulation takes.
const MOMENTS: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

impl Authorization {
    /// Decides one message; what cannot be read is a record too, because its sender is known.
    pub(crate) async fn decide(
        &self,
        message: pb::AuthorizeRequest,
        agent: Agent,
    ) -> Result<Answer, AppError> {
        let action = message
            .call
            .as_ref()
            .map(|call| call.action.clone())
            .unwrap_or_default();
        let validate_only = message.validate_only;
        // Before anything costs time: what waits for its turn costs none.
        let _turn = self.app.admission.turn(&agent.0, &agent.1).await?;
        match convert::request(message, agent.clone()) {
            Ok(request) if validate_only => {
                let answer = self.app.simulate(&request, clock::now()).await;
                answer.map(Answer::for_agent)
            }
            Ok(request) => self.app.authorize(&request).await.map(Answer::for_agent),
            Err(error) => Err(self.unreadable((&agent, &action), error).await),
        }
    }

    /// The same for who has no turn yet: what is recorded waits for one like everything else.
    pub(crate) async fn unreadable_in_turn(
        &self,
        (agent, action): (&Agent, &str),
        error: AppError,
    ) -> AppError {
        match self.app.admission.turn(&agent.0, &agent.1).await {
            Ok(_turn) => self.unreadable((agent, action), error).await,
            Err(busy) => busy,
        }
    }

    /// Records what could not be read, and gives the error that its sender is told.
    pub(crate) async fn unreadable(
        &self,
        (agent, action): (&Agent, &str),
        error: AppError,
    ) -> AppError {
        let malformed = Malformed {
            tenant: agent.0.clone(),
            agent: agent.1.as_str().to_owned(),
            action: action.chars().filter(char::is_ascii_graphic).collect(),
            reason: error.reason,
        };
        let recorded = self.app.record_malformed(&malformed).await;
        recorded.err().unwrap_or(error)
    }
}

/// The id in `tenants/{own tenant}/decisions/{uuid}`.
fn decision_id(name: &str, own: &TenantId) -> Result<DecisionId, AppError> {
    let not_found = || AppError::of(Reason::NotFound);
    let (parent, id) = name.split_once("/decisions/").ok_or_else(not_found)?;
    own_tenant(parent, own)?;
    DecisionId::parse(id).map_err(|_| not_found())
}

fn item(result: Result<Answer, AppError>) -> pb::BatchAuthorizeItem {
    use pb::batch_authorize_item::Outcome;
    let outcome = match result {
        Ok(answer) => Outcome::Decision(convert::decision(answer)),
        Err(error) => Outcome::Error(pb::ItemError {
            reason_code: error.reason.code().to_owned(),
            remedy: error.fix().to_owned(),
            message: error.public,
        }),
    };
    pb::BatchAuthorizeItem {
        outcome: Some(outcome),
    }
}

#[tonic::async_trait]
impl AuthorizationService for Authorization {
    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        let agent = self.authn.agent(&request).map_err(|error| status(&error))?;
        let answer = self.decide(request.into_inner(), agent).await;
        let decision = Some(convert::decision(answer.map_err(|error| status(&error))?));
        Ok(Response::new(pb::AuthorizeResponse { decision }))
    }

    async fn batch_authorize(
        &self,
        request: Request<pb::BatchAuthorizeRequest>,
    ) -> Result<Response<pb::BatchAuthorizeResponse>, Status> {
        let agent = self.authn.agent(&request).map_err(|error| status(&error))?;
        let pace = request.extensions().get::<Pace>().cloned();
        let pace = pace.unwrap_or_default();
        let pb::BatchAuthorizeRequest { parent, requests } = request.into_inner();
        if requests.len() > BATCH_ITEMS_MAX {
            let message = format!("requests: at most {BATCH_ITEMS_MAX}");
            let error = AppError::new(Reason::RequestTooLarge, message);
            return Err(status(&self.unreadable_in_turn((&agent, ""), error).await));
        }
        if requests.iter().any(|item| item.parent != parent) {
            let message = "every item names the parent of the batch";
            let error = AppError::new(Reason::RequestMalformed, message);
            return Err(status(&self.unreadable_in_turn((&agent, ""), error).await));
        }
        // The call itself has cost one already.
        let more = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let paced = pace.spend(more.saturating_sub(1)).await;
        paced.map_err(over_rate)?;
        // Items run together so that they share a commit; each has its own outcome.
        // They end with the call: nobody would hear of what is decided after it.
        let mut running = JoinSet::new();
        let count = requests.len();
        for (place, message) in requests.into_iter().enumerate() {
            let (service, agent) = (self.clone(), agent.clone());
            running.spawn(async move { (place, service.decide(message, agent).await) });
        }
        let mut ended = BTreeMap::new();
        while let Some(one) = running.join_next().await {
            ended.extend(one.ok());
        }
        let failed = || Err(AppError::of(Reason::Internal));
        let items = (0..count).map(|place| item(ended.remove(&place).unwrap_or_else(failed)));
        let items = items.collect();
        Ok(Response::new(pb::BatchAuthorizeResponse { items }))
    }

    async fn simulate_authorization(
        &self,
        request: Request<pb::SimulateAuthorizationRequest>,
    ) -> Result<Response<pb::SimulateAuthorizationResponse>, Status> {
        let agent = self.authn.agent(&request).map_err(|error| status(&error))?;
        let pb::SimulateAuthorizationRequest {
            request: message,
            at,
        } = request.into_inner();
        let missing = || {
            status(&AppError::new(
                Reason::RequestMalformed,
                "request is missing",
            ))
        };
        let message = message.ok_or_else(missing)?;
        let turn = self.app.admission.turn(&agent.0, &agent.1).await;
        let _turn = turn.map_err(|error| status(&error))?;
        let moment = at.filter(|at| MOMENTS.contains(&at.seconds));
        let moment = moment.and_then(|at| chrono::DateTime::from_timestamp(at.seconds, 0));
        if at.is_some() != moment.is_some() {
            let message = "at: a moment from 1970 to 9999";
            return Err(status(&AppError::new(Reason::RequestMalformed, message)));
        }
        let action = message.call.as_ref().map(|call| call.action.clone());
        let request = match convert::request(message, agent.clone()) {
            Ok(request) => request,
            Err(error) => {
                let action = action.unwrap_or_default();
                return Err(status(&self.unreadable((&agent, &action), error).await));
            }
        };
        let moment = moment.unwrap_or_else(clock::now);
        let answer = self.app.simulate(&request, moment).await;
        let answer = answer.map_err(|error| status(&error))?;
        let decision = Some(convert::decision(answer.for_agent()));
        Ok(Response::new(pb::SimulateAuthorizationResponse {
            decision,
        }))
    }

    async fn get_decision(
        &self,
        request: Request<pb::GetDecisionRequest>,
    ) -> Result<Response<pb::GetDecisionResponse>, Status> {
        let peer = self.authn.peer(&request).map_err(|error| status(&error))?;
        let (tenant, agent) = match &peer.caller {
            Caller::Agent { tenant, agent } => (tenant, Some((agent.as_str(), peer.cert_sha256))),
            Caller::Operator { tenant, .. } => (tenant, None),
            Caller::Service { .. } => return Err(status(&AppError::of(Reason::NotFound))),
        };
        let pb::GetDecisionRequest { name } = request.into_inner();
        let id = decision_id(&name, tenant).map_err(|error| status(&error))?;
        let answer = self.app.decision(tenant, agent, id).await;
        let answer = answer.map_err(|error| status(&error))?;
        let answer = match agent {
            Some(_) => answer.for_agent(),
            None => answer,
        };
        let decision = Some(convert::found(answer));
        Ok(Response::new(pb::GetDecisionResponse { decision }))
    }

    async fn cancel_decision(
        &self,
        request: Request<pb::CancelDecisionRequest>,
    ) -> Result<Response<pb::CancelDecisionResponse>, Status> {
        let agent = self.authn.agent(&request).map_err(|error| status(&error))?;
        let (tenant, agent, certificate) = agent;
        let pb::CancelDecisionRequest { name } = request.into_inner();
        let id = decision_id(&name, &tenant).map_err(|error| status(&error))?;
        let answer = self
            .app
            .cancel(&tenant, (agent.as_str(), certificate), id)
            .await;
        let answer = answer.map_err(|error| status(&error))?;
        let decision = Some(convert::decision(answer.for_agent()));
        Ok(Response::new(pb::CancelDecisionResponse { decision }))
    }
}
