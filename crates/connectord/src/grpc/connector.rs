//! `ConnectorService`.

use tonic::{Request, Response, Status};
use writ_proto::host::serve::turn::{Kind, Turn};
use writ_proto::ids::TenantId;
use writ_proto::limits::REASON_BYTES_MAX;
use writ_proto::pb::connector_service_server::ConnectorService;
use writ_proto::{Caller, Reason, pb};

use super::authn::{Authn, not_for, own_tenant};
use super::status::status;
use super::weight::{listed, turn, undo_turn, undone};
use crate::app::SharedApp;
use crate::app::catalog::Held;
use crate::app::order::Order;
use crate::app::undo::UNDO_MAX;
use crate::app::veil;
use crate::domain::execution::{Change, Execution};
use crate::error::AppError;
use crate::grpc::convert;
use crate::store::{AT_ONCE, Filter};
use crate::wire::outcome::changes;
use crate::wire::sheet;

/// The service.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
}

/// Splits `tenants/{t}/{collection}/{id}` of the caller's own tenant.
fn name_in(name: &str, collection: &str, own: &TenantId) -> Result<String, AppError> {
    let separator = format!("/{collection}/");
    let parts = name.split_once(separator.as_str());
    let (parent, id) = parts.ok_or_else(|| AppError::of(Reason::NotFound))?;
    own_tenant(parent, own)?;
    Ok(id.to_owned())
}

/// An order that does without the writ of policyd: an operator's, with a reason.
fn doing_without(order: Order, unsigned: bool) -> Result<Order, AppError> {
    if unsigned && order.agent.is_some() {
        return Err(AppError::of(Reason::OperatorRequired));
    }
    if unsigned && order.reason.trim().is_empty() {
        let message = "say why it is undone although policyd signed nothing";
        return Err(AppError::new(Reason::ReasonRequired, message));
    }
    Ok(Order { unsigned, ..order })
}

/// A reason is kept: it must fit, and be a text that every database takes.
fn check_reason(reason: &str) -> Result<(), AppError> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(AppError::of(Reason::RequestTooLarge));
    }
    if reason.contains('\0') {
        let message = "reason: U+0000 is not taken";
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    Ok(())
}

impl Connector {
    fn order<T>(
        &self,
        request: &Request<T>,
        reason: &str,
        dry_run: bool,
    ) -> Result<Order, AppError> {
        let (tenant, name) = self.authn.operator(request)?;
        check_reason(reason)?;
        Ok(Order {
            tenant: tenant.as_str().to_owned(),
            by: name.as_str().to_owned(),
            agent: None,
            reason: reason.to_owned(),
            dry_run,
            unsigned: false,
            request: String::new(),
        })
    }

    /// As above, and an agent may ask too, for what is its own.
    fn order_of_anybody<T>(
        &self,
        request: &Request<T>,
        reason: &str,
        dry_run: bool,
    ) -> Result<(TenantId, Order), AppError> {
        let caller = self.authn.peer(request)?.caller;
        let (tenant, by, agent) = match caller {
            Caller::Operator { tenant, name } => (tenant, name.to_string(), None),
            Caller::Agent { tenant, agent } => {
                (tenant, format!("agent:{agent}"), Some(agent.to_string()))
            }
            service @ Caller::Service { .. } => {
                return Err(not_for(&service, Reason::OperatorRequired));
            }
        };
        check_reason(reason)?;
        let order = Order {
            tenant: tenant.to_string(),
            by,
            agent,
            reason: reason.to_owned(),
            dry_run,
            unsigned: false,
            request: String::new(),
        };
        Ok((tenant, order))
    }

    /// Who looks: an agent, or none for everybody who may see a whole tenant.
    fn onlooker<T>(&self, request: &Request<T>) -> Result<(TenantId, Option<String>), AppError> {
        let own = self.authn.tenant(request)?;
        let agent = match self.authn.peer(request)?.caller {
            Caller::Agent { agent, .. } => Some(agent.to_string()),
            Caller::Operator { .. } | Caller::Service { .. } => None,
        };
        Ok((own, agent))
    }

    /// An execution as somebody may see it.
    fn seen_by(&self, agent: Option<&String>, execution: Execution) -> Execution {
        if agent.is_none() {
            return execution;
        }
        let card = self.app.card(&execution.tenant, &execution.action).ok();
        veil::execution(card.as_deref(), execution)
    }

    async fn action(&self, tenant: &TenantId, name: &str) -> Result<pb::Action, AppError> {
        let catalog = self.app.catalog.load_full();
        self.shown(tenant, catalog.held(tenant.as_str(), name)?)
            .await
    }

    /// All actions of a tenant, and what is wrong with its cards.
    async fn cards(
        &self,
        own: &TenantId,
        mut turn: Turn,
    ) -> Result<pb::ListActionsResponse, AppError> {
        let catalog = self.app.catalog.load_full();
        let cards = catalog.cards.iter();
        let own_cards = cards.filter(|((tenant, _), _)| tenant == own.as_str());
        let count = own_cards.clone().count();
        listed(&mut turn, u32::try_from(count).unwrap_or(u32::MAX));
        let mut actions = Vec::with_capacity(count);
        for (_, held) in own_cards {
            actions.push(self.shown(own, held).await?);
        }
        let problems = catalog.problems_of(own.as_str()).map(str::to_owned);
        let problems = problems.collect();
        Ok(pb::ListActionsResponse { actions, problems })
    }

    async fn shown(&self, tenant: &TenantId, held: &Held) -> Result<pb::Action, AppError> {
        let card = &held.card;
        let rollout = self.app.rollout_of(tenant.as_str(), card).await?;
        let name = card.name.as_str();
        let set = self.app.journal.rollout(tenant.as_str(), name).await?;
        let until = set.as_ref().map_or(0, |set| set.until_ms);
        let lasts = until > crate::clock::now().timestamp_millis();
        let mut action = sheet::action(card, rollout, if lasts { until } else { 0 });
        action.pending = self.app.pending(tenant.as_str(), card, set.as_ref());
        action.problem = held.unfit.clone().unwrap_or_default();
        Ok(action)
    }

    /// A page of executions, as somebody may see them.
    async fn listed(
        &self,
        own: &TenantId,
        agent: Option<String>,
        filter: &Filter,
    ) -> Result<pb::ListExecutionsResponse, AppError> {
        let found = self.app.journal.list(own.as_str(), filter).await?;
        let full = u32::try_from(found.len()).is_ok_and(|count| count == filter.limit);
        let last = found.last().filter(|_| full).map(|own| own.id.clone());
        let ids: Vec<&str> = found.iter().map(|own| own.id.as_str()).collect();
        let signed = self.app.journal.undo_writs(own.as_str(), &ids).await?;
        let mut executions = Vec::with_capacity(found.len());
        for (at, execution) in found.into_iter().enumerate() {
            if at > 0 && at.is_multiple_of(AT_ONCE) {
                tokio::task::yield_now().await;
            }
            let signed = signed.contains_key(&execution.id);
            let seen = self.seen_by(agent.as_ref(), execution);
            executions.push(convert::execution(seen, signed));
        }
        Ok(pb::ListExecutionsResponse {
            executions,
            next_page_token: last.unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl ConnectorService for Connector {
    async fn list_actions(
        &self,
        request: Request<pb::ListActionsRequest>,
    ) -> Result<Response<pb::ListActionsResponse>, Status> {
        let own = self
            .authn
            .tenant(&request)
            .map_err(|error| status(&error))?;
        let turn = turn(&request, Kind::Cards).await?;
        let pb::ListActionsRequest { parent } = request.into_inner();
        own_tenant(&parent, &own).map_err(|error| status(&error))?;
        let service = self.clone();
        let list = self
            .app
            .long
            .run(async move { service.cards(&own, turn).await })
            .await;
        let list = list.unwrap_or_else(|| Err(AppError::of(Reason::Internal)));
        Ok(Response::new(list.map_err(|error| status(&error))?))
    }

    async fn get_action(
        &self,
        request: Request<pb::GetActionRequest>,
    ) -> Result<Response<pb::GetActionResponse>, Status> {
        let own = self
            .authn
            .tenant(&request)
            .map_err(|error| status(&error))?;
        let pb::GetActionRequest { name } = request.into_inner();
        let name = name_in(&name, "actions", &own).map_err(|error| status(&error))?;
        let action = self
            .action(&own, &name)
            .await
            .map_err(|error| status(&error))?;
        Ok(Response::new(pb::GetActionResponse {
            action: Some(action),
        }))
    }

    async fn preview(
        &self,
        request: Request<pb::PreviewRequest>,
    ) -> Result<Response<pb::PreviewResponse>, Status> {
        let (own, agent, certificate) =
            self.authn.agent(&request).map_err(|error| status(&error))?;
        let (token, call) = convert::preview(request.into_inner(), (&own, &agent))
            .map_err(|error| status(&error))?;
        let plan = self.app.preview(&token, &call, certificate).await;
        let plan = plan.map_err(|error| status(&error))?;
        let fields: Vec<Change> = plan
            .fields
            .iter()
            .map(|field| Change {
                field: field.field.clone(),
                before_json: field.old.as_ref().map(writ_proto::value::Value::to_json),
                after_json: Some(field.new.to_json()),
            })
            .collect();
        let card = self.app.card(&call.tenant, &call.action).ok();
        let fields = veil::changes(card.as_deref(), fields);
        let would_have = format!("would {}", plan.sentence);
        Ok(Response::new(pb::PreviewResponse {
            would_have,
            changes: changes(&fields),
        }))
    }

    async fn execute(
        &self,
        request: Request<pb::ExecuteRequest>,
    ) -> Result<Response<pb::ExecuteResponse>, Status> {
        let (own, agent, certificate) =
            self.authn.agent(&request).map_err(|error| status(&error))?;
        let (token, call) =
            convert::call(request.into_inner(), (&own, &agent)).map_err(|error| status(&error))?;
        let app = SharedApp::clone(&self.app);
        let executed = app.execute(&token, call, certificate).await;
        let executed = executed.map_err(|error| status(&error))?;
        let seen = self.seen_by(Some(&agent.to_string()), executed.execution);
        let execution = Some(convert::execution(seen, false));
        Ok(Response::new(pb::ExecuteResponse {
            execution,
            replayed: executed.replayed,
        }))
    }

    async fn read(
        &self,
        request: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        let (own, agent, certificate) =
            self.authn.agent(&request).map_err(|error| status(&error))?;
        let (token, call) = convert::reading(request.into_inner(), (&own, &agent))
            .map_err(|error| status(&error))?;
        let reading = self.app.read_records(&token, &call, certificate).await;
        let reading = reading.map_err(|error| status(&error))?;
        Ok(Response::new(convert::read(reading)))
    }

    async fn undo(
        &self,
        request: Request<pb::UndoRequest>,
    ) -> Result<Response<pb::UndoResponse>, Status> {
        let message = request.get_ref();
        let order = self.order_of_anybody(&request, &message.reason, message.dry_run);
        let (own, order) = order.map_err(|error| status(&error))?;
        let turn = undo_turn(&request, order.agent.is_some(), order.dry_run).await?;
        let pb::UndoRequest {
            name,
            reason: _,
            dry_run: _,
            unsigned,
            request_id,
        } = request.into_inner();
        let mut order = doing_without(order, unsigned).map_err(|error| status(&error))?;
        order.request = convert::optional_request(&request_id).map_err(|error| status(&error))?;
        let id = name_in(&name, "executions", &own).map_err(|error| status(&error))?;
        let (app, agent) = (SharedApp::clone(&self.app), order.agent.clone());
        let work = async move {
            let _turn = turn;
            app.undo(&order, &id).await
        };
        // It goes on when its caller is gone.
        let item = self.app.long.run(work).await;
        let item = item.unwrap_or_else(|| Err(AppError::of(Reason::OutcomeUnknown)));
        let mut item = item.map_err(|error| status(&error))?;
        if agent.is_some() {
            let card = self.app.card(own.as_str(), &item.execution.action).ok();
            item = veil::undone(card.as_deref(), item);
        }
        let replayed = item.replayed;
        let item = Some(convert::undone(item));
        Ok(Response::new(pb::UndoResponse { item, replayed }))
    }

    async fn batch_undo(
        &self,
        request: Request<pb::BatchUndoRequest>,
    ) -> Result<Response<pb::BatchUndoResponse>, Status> {
        let message = request.get_ref();
        let order = self.order(&request, &message.reason, message.dry_run);
        let order = order.map_err(|error| status(&error))?;
        let (own, _) = self
            .authn
            .operator(&request)
            .map_err(|error| status(&error))?;
        let mut turn = turn(&request, Kind::Undos).await?;
        let message = request.into_inner();
        own_tenant(&message.parent, &own).map_err(|error| status(&error))?;
        let order = doing_without(order, message.unsigned).map_err(|error| status(&error))?;
        let page = convert::selection(message).map_err(|error| status(&error))?;
        let app = SharedApp::clone(&self.app);
        let counted = page.before.is_none().then_some(UNDO_MAX);
        let looked_at = counted.unwrap_or_default().saturating_add(page.limit);
        undone(&mut turn, looked_at, page.limit);
        let work = async move {
            let _turn = turn;
            app.batch_undo(&order, &page).await
        };
        let batch = self.app.long.run(work).await;
        let batch = batch.unwrap_or_else(|| Err(AppError::of(Reason::OutcomeUnknown)));
        let batch = batch.map_err(|error| status(&error))?;
        Ok(Response::new(convert::batch(batch)))
    }

    async fn get_execution(
        &self,
        request: Request<pb::GetExecutionRequest>,
    ) -> Result<Response<pb::GetExecutionResponse>, Status> {
        let (own, agent) = self.onlooker(&request).map_err(|error| status(&error))?;
        let pb::GetExecutionRequest { name } = request.into_inner();
        let id = name_in(&name, "executions", &own).map_err(|error| status(&error))?;
        let found = self.app.journal.execution(own.as_str(), &id).await;
        let found = found.map_err(|error| status(&AppError::from(error)))?;
        let mine = |found: &Execution| agent.as_ref().is_none_or(|agent| *agent == found.agent);
        let found = found.filter(mine);
        let found = found.ok_or_else(|| status(&AppError::no_execution(own.as_str(), &id)))?;
        let asked = [found.id.as_str()];
        let signed = self.app.journal.undo_writs(own.as_str(), &asked).await;
        let signed = signed.map_err(|error| status(&AppError::from(error)))?;
        let signed = signed.contains_key(&found.id);
        let found = self.seen_by(agent.as_ref(), found);
        let execution = Some(convert::execution(found, signed));
        Ok(Response::new(pb::GetExecutionResponse { execution }))
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        let (own, agent) = self.onlooker(&request).map_err(|error| status(&error))?;
        let mut turn = turn(&request, Kind::Lists).await?;
        let message = request.into_inner();
        own_tenant(&message.parent, &own).map_err(|error| status(&error))?;
        let mut filter = convert::filter(message).map_err(|error| status(&error))?;
        if agent.is_some() {
            // An agent sees what it did itself, and of another one nothing.
            if filter.agent.is_some() && filter.agent != agent {
                return Ok(Response::new(pb::ListExecutionsResponse::default()));
            }
            filter.agent.clone_from(&agent);
        }
        listed(&mut turn, filter.limit);
        let service = self.clone();
        let list = async move {
            let _turn = turn;
            service.listed(&own, agent, &filter).await
        };
        let list = self.app.long.run(list).await;
        let list = list.unwrap_or_else(|| Err(AppError::of(Reason::Internal)));
        Ok(Response::new(list.map_err(|error| status(&error))?))
    }

    async fn set_action_rollout(
        &self,
        request: Request<pb::SetActionRolloutRequest>,
    ) -> Result<Response<pb::SetActionRolloutResponse>, Status> {
        let reason = request.get_ref().reason.clone();
        let order = self
            .order(&request, &reason, false)
            .map_err(|error| status(&error))?;
        let (own, _) = self
            .authn
            .operator(&request)
            .map_err(|error| status(&error))?;
        let message = request.into_inner();
        let to = convert::shift(&message).map_err(|error| status(&error))?;
        let name = name_in(&message.name, "actions", &own).map_err(|error| status(&error))?;
        let log = self.app.set_rollout(&order, &name, &to).await;
        let log = log.map_err(|error| status(&error))?;
        let action = self.action(&own, &name).await;
        Ok(Response::new(pb::SetActionRolloutResponse {
            action: Some(action.map_err(|error| status(&error))?),
            would_have_rows: i32::try_from(log.rows).unwrap_or(i32::MAX),
            surprises: i32::try_from(log.surprises).unwrap_or(i32::MAX),
            unchanged: log.unchanged,
        }))
    }

    async fn settle_execution(
        &self,
        request: Request<pb::SettleExecutionRequest>,
    ) -> Result<Response<pb::SettleExecutionResponse>, Status> {
        let reason = request.get_ref().reason.clone();
        let order = self.order(&request, &reason, false);
        let order = order.map_err(|error| status(&error))?;
        let (own, _) = self
            .authn
            .operator(&request)
            .map_err(|error| status(&error))?;
        let pb::SettleExecutionRequest {
            name,
            applied,
            reason: _,
        } = request.into_inner();
        let id = name_in(&name, "executions", &own).map_err(|error| status(&error))?;
        let settled = self.app.settle_by_hand(&order, &id, applied).await;
        let execution = convert::execution(settled.map_err(|error| status(&error))?, false);
        Ok(Response::new(pb::SettleExecutionResponse {
            execution: Some(execution),
        }))
    }

    async fn mark_surprise(
        &self,
        request: Request<pb::MarkSurpriseRequest>,
    ) -> Result<Response<pb::MarkSurpriseResponse>, Status> {
        let surprise = request.get_ref().surprise.clone();
        let order = self.order(&request, &surprise, false);
        let order = order.map_err(|error| status(&error))?;
        let (own, _) = self
            .authn
            .operator(&request)
            .map_err(|error| status(&error))?;
        let name = request.into_inner().name;
        let id = name_in(&name, "executions", &own).map_err(|error| status(&error))?;
        let marked = self.app.mark_surprise(&order, &id, &surprise).await;
        // Dry runs alone are marked, and nothing undoes those.
        let execution = convert::execution(marked.map_err(|error| status(&error))?, false);
        Ok(Response::new(pb::MarkSurpriseResponse {
            execution: Some(execution),
        }))
    }
}
