//! `ConnectorService`.

use tonic::{Request, Response, Status};
use writ_proto::card::Rollout;
use writ_proto::ids::TenantId;
use writ_proto::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, REASON_BYTES_MAX};
use writ_proto::pb::connector_service_server::ConnectorService;
use writ_proto::{Reason, pb};

use super::authn::{Authn, own_tenant};
use super::convert::{self, malformed};
use super::outcome::changes;
use super::status::status;
use crate::app::undo::{Order, UNDO_MAX};
use crate::app::{AppError, SharedApp};
use crate::domain::execution::Change;
use crate::store::Filter;

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

impl Connector {
    fn order<T>(
        &self,
        request: &Request<T>,
        reason: &str,
        dry_run: bool,
    ) -> Result<Order, AppError> {
        let (tenant, name) = self.authn.operator(request)?;
        if reason.len() > REASON_BYTES_MAX {
            return Err(AppError::of(Reason::RequestTooLarge));
        }
        Ok(Order {
            tenant: tenant.as_str().to_owned(),
            by: name.as_str().to_owned(),
            reason: reason.to_owned(),
            dry_run,
        })
    }

    async fn action(&self, tenant: &TenantId, name: &str) -> Result<pb::Action, AppError> {
        let card = self.app.card(tenant.as_str(), name)?;
        let rollout = self.app.rollout_of(tenant.as_str(), &card).await?;
        Ok(convert::action(&card, rollout))
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
        let pb::ListActionsRequest { parent } = request.into_inner();
        own_tenant(&parent, &own).map_err(|error| status(&error))?;
        let mut actions = Vec::new();
        let own_cards = self
            .app
            .cards
            .iter()
            .filter(|((tenant, _), _)| tenant == own.as_str());
        for (_, card) in own_cards {
            let rollout = self.app.rollout_of(own.as_str(), card).await;
            actions.push(convert::action(
                card,
                rollout.map_err(|error| status(&error))?,
            ));
        }
        Ok(Response::new(pb::ListActionsResponse { actions }))
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
        let execution = Some(convert::execution(executed.execution));
        Ok(Response::new(pb::ExecuteResponse {
            execution,
            replayed: executed.replayed,
        }))
    }

    async fn undo(
        &self,
        request: Request<pb::UndoRequest>,
    ) -> Result<Response<pb::UndoResponse>, Status> {
        let message = request.get_ref();
        let order = self.order(&request, &message.reason, message.dry_run);
        let order = order.map_err(|error| status(&error))?;
        let (own, _) = self
            .authn
            .operator(&request)
            .map_err(|error| status(&error))?;
        let pb::UndoRequest {
            name,
            reason: _,
            dry_run: _,
        } = request.into_inner();
        let id = name_in(&name, "executions", &own).map_err(|error| status(&error))?;
        let app = SharedApp::clone(&self.app);
        let task = tokio::spawn(async move { app.undo(&order, &id).await });
        let item = task
            .await
            .map_err(|_| status(&AppError::of(Reason::OutcomeUnknown)))?;
        let item = convert::undone(own.as_str(), item.map_err(|error| status(&error))?);
        Ok(Response::new(pb::UndoResponse { item: Some(item) }))
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
        let pb::BatchUndoRequest {
            parent,
            run_id,
            since,
            action,
            reason: _,
            dry_run: _,
        } = request.into_inner();
        own_tenant(&parent, &own).map_err(|error| status(&error))?;
        if run_id.is_empty() && since.is_none() {
            return Err(status(&malformed("name a run_id or a time since")));
        }
        let filter = Filter {
            state: None,
            run: Some(run_id).filter(|run| !run.is_empty()),
            action: Some(action).filter(|action| !action.is_empty()),
            since_ms: since.map(|since| since.seconds.saturating_mul(1_000)),
            limit: UNDO_MAX,
        };
        let app = SharedApp::clone(&self.app);
        let task = tokio::spawn(async move { app.batch_undo(&order, &filter).await });
        let items = task
            .await
            .map_err(|_| status(&AppError::of(Reason::OutcomeUnknown)))?;
        let items = items.map_err(|error| status(&error))?;
        let items = items
            .into_iter()
            .map(|item| convert::undone(own.as_str(), item))
            .collect();
        Ok(Response::new(pb::BatchUndoResponse { items }))
    }

    async fn get_execution(
        &self,
        request: Request<pb::GetExecutionRequest>,
    ) -> Result<Response<pb::GetExecutionResponse>, Status> {
        let own = self
            .authn
            .tenant(&request)
            .map_err(|error| status(&error))?;
        let pb::GetExecutionRequest { name } = request.into_inner();
        let id = name_in(&name, "executions", &own).map_err(|error| status(&error))?;
        let found = self.app.journal.execution(own.as_str(), &id).await;
        let found = found.map_err(|error| status(&AppError::from(error)))?;
        let found = found.ok_or_else(|| status(&AppError::of(Reason::NotFound)))?;
        let execution = Some(convert::execution(found));
        Ok(Response::new(pb::GetExecutionResponse { execution }))
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        let own = self
            .authn
            .tenant(&request)
            .map_err(|error| status(&error))?;
        let pb::ListExecutionsRequest {
            parent,
            page_size,
            page_token,
            state,
            run_id,
        } = request.into_inner();
        own_tenant(&parent, &own).map_err(|error| status(&error))?;
        if !page_token.is_empty() {
            return Err(status(&malformed(
                "page_token: one page of at most 1000 is served",
            )));
        }
        let size = usize::try_from(page_size).unwrap_or(0);
        let size = if size == 0 {
            PAGE_SIZE_DEFAULT
        } else {
            size.min(PAGE_SIZE_MAX)
        };
        let filter = Filter {
            state: convert::wanted_state(state).map_err(|error| status(&error))?,
            run: Some(run_id).filter(|run| !run.is_empty()),
            limit: u32::try_from(size).unwrap_or(1),
            ..Filter::default()
        };
        let found = self.app.journal.list(own.as_str(), &filter).await;
        let found = found.map_err(|error| status(&AppError::from(error)))?;
        let executions = found.into_iter().map(convert::execution).collect();
        let next_page_token = String::new();
        Ok(Response::new(pb::ListExecutionsResponse {
            executions,
            next_page_token,
        }))
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
        let pb::SetActionRolloutRequest {
            name,
            rollout,
            reason: _,
        } = request.into_inner();
        let rollout = match pb::Rollout::try_from(rollout) {
            Ok(pb::Rollout::Suggest) => Rollout::Suggest,
            Ok(pb::Rollout::DryRun) => Rollout::DryRun,
            Ok(pb::Rollout::Live) => Rollout::Live,
            Ok(pb::Rollout::Unspecified) | Err(_) => return Err(status(&malformed("rollout"))),
        };
        let name = name_in(&name, "actions", &own).map_err(|error| status(&error))?;
        let set = self.app.set_rollout(&order, &name, rollout).await;
        set.map_err(|error| status(&error))?;
        let action = self
            .action(&own, &name)
            .await
            .map_err(|error| status(&error))?;
        Ok(Response::new(pb::SetActionRolloutResponse {
            action: Some(action),
        }))
    }
}
