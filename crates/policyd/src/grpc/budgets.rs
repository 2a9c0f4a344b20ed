//! `BudgetService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;
use writ_proto::ids::{AgentId, RequestId, TenantId};
use writ_proto::limits::REASON_BYTES_MAX;
use writ_proto::pb::budget_service_server::BudgetService;
use writ_proto::{Caller, Reason, pb};

use super::convert;
use super::status::status;
use crate::app::SharedApp;
use crate::app::spending::budgets::{Standing, Wish};
use crate::app::spending::usage::Used;
use crate::error::AppError;
use crate::identity::{Authn, own_tenant};

/// The service.
#[derive(Debug, Clone)]
pub struct Budgets {
    /// Use cases.
    pub app: SharedApp,
    /// Who calls.
    pub authn: Authn,
    /// Services that may report usage, by the name in their certificate.
    pub reporters: Arc<[String]>,
}

fn malformed(what: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, what)
}

fn request_id(text: &str) -> Result<Uuid, AppError> {
    let id = RequestId::parse(text).map_err(|error| malformed(error.to_string()))?;
    Ok(id.uuid())
}

impl Budgets {
    /// Who reads: an operator, or an agent for itself.
    fn reader<T>(&self, request: &Request<T>) -> Result<(TenantId, Option<AgentId>), AppError> {
        match self.authn.peer(request)?.caller {
            Caller::Agent { tenant, agent } => Ok((tenant, Some(agent))),
            Caller::Operator { tenant, .. } => Ok((tenant, None)),
            Caller::Service { .. } => Err(AppError::of(Reason::NotFound)),
        }
    }

    async fn one(&self, request: Request<pb::GetBudgetRequest>) -> Result<pb::Budget, AppError> {
        let (tenant, agent) = self.reader(&request)?;
        let pb::GetBudgetRequest { name, subject } = request.into_inner();
        let id = named(&name, &tenant)?;
        let found = self
            .app
            .budget(&tenant, agent.as_ref(), (id, &subject))
            .await?;
        Ok(budget(&tenant, found))
    }

    async fn raised(
        &self,
        request: Request<pb::RaiseBudgetRequest>,
    ) -> Result<pb::Budget, AppError> {
        let by = match self.authn.peer(&request)?.caller {
            Caller::Operator { name, .. } => name.as_str().to_owned(),
            Caller::Agent { .. } | Caller::Service { .. } => String::new(),
        };
        let tenant = self.authn.operator(&request)?;
        let pb::RaiseBudgetRequest {
            name,
            request_id,
            subject,
            amount,
            until,
            reason,
        } = request.into_inner();
        let until = until.and_then(|until| chrono::DateTime::from_timestamp(until.seconds, 0));
        if reason.len() > REASON_BYTES_MAX || reason.contains('\0') {
            return Err(malformed("reason"));
        }
        let budget_id = named(&name, &tenant)?.to_owned();
        let wish = Wish {
            request_id: self::request_id(&request_id)?,
            budget: budget_id,
            subject,
            amount,
            until: until.ok_or_else(|| malformed("until is missing"))?,
            reason,
            by,
        };
        Ok(budget(&tenant, self.app.raise(&tenant, &wish).await?))
    }

    async fn used(&self, request: Request<pb::ReportUsageRequest>) -> Result<bool, AppError> {
        let caller = self.authn.peer(&request)?.caller;
        let pb::ReportUsageRequest {
            parent,
            request_id,
            agent,
            run_id,
            tokens,
            usd_micros,
        } = request.into_inner();
        let (tenant, agent, complete) = match &caller {
            Caller::Agent { tenant, agent: own } if agent.is_empty() || agent == own.as_str() => {
                own_tenant(&parent, tenant)?;
                // Its own word raises what is used. It does not say that there is no more, unless
                // nobody else could.
                (tenant.clone(), own.clone(), self.reporters.is_empty())
            }
            Caller::Service { name } if self.reporters.iter().any(|own| own == name.as_str()) => {
                let tenant = parent.strip_prefix("tenants/").unwrap_or_default();
                let tenant = TenantId::parse(tenant).map_err(|_| AppError::of(Reason::NotFound))?;
                let agent = AgentId::parse(&agent).map_err(|error| malformed(error.to_string()))?;
                (tenant, agent, true)
            }
            Caller::Agent { .. } | Caller::Operator { .. } | Caller::Service { .. } => {
                return Err(AppError::of(Reason::ReporterRequired));
            }
        };
        let used = Used {
            request_id: self::request_id(&request_id)?,
            agent,
            run: convert::run(&run_id)?,
            tokens,
            micro_usd: usd_micros,
            // An agent may be named like a service.
            by: match &caller {
                Caller::Agent { .. } => format!("agent:{}", caller.name()),
                _ => caller.name().to_owned(),
            },
            is_own_word: matches!(caller, Caller::Agent { .. }),
            complete,
        };
        self.app.report_usage(&tenant, &used).await
    }
}

/// The budget of a name, which must be of the caller's own tenant.
fn named<'a>(name: &'a str, own: &TenantId) -> Result<&'a str, AppError> {
    let parts = name.split_once("/budgets/");
    let (parent, id) = parts.ok_or_else(|| AppError::of(Reason::NotFound))?;
    own_tenant(parent, own)?;
    Ok(id)
}

fn budget(tenant: &TenantId, standing: Standing) -> pb::Budget {
    let Standing { budget, view, open } = standing;
    let shown = |figure| budget.unit.shown(figure);
    let figures = pb::BudgetFigures {
        limit: shown(view.limit),
        raised: shown(view.raised),
        held: shown(view.held),
        spent: shown(view.spent),
        remaining: shown(view.remaining),
        limit_kind: view.kind.name().to_owned(),
        max: budget.max.map(shown).unwrap_or_default(),
    };
    pb::Budget {
        name: format!("tenants/{tenant}/budgets/{}", budget.id),
        scope: budget.scope.name().to_owned(),
        subject: view.subject,
        measure: budget.measure.name().to_owned(),
        unit: budget.unit.name().to_owned(),
        window: budget.window.name().to_owned(),
        actions: budget
            .actions()
            .map(|action| action.as_str().to_owned())
            .collect(),
        figures: open.then_some(figures),
        reset_time: view.reset.map(|reset| prost_types::Timestamp {
            seconds: reset.timestamp(),
            nanos: 0,
        }),
        halts: budget.halts,
    }
}

#[tonic::async_trait]
impl BudgetService for Budgets {
    async fn get_budget(
        &self,
        request: Request<pb::GetBudgetRequest>,
    ) -> Result<Response<pb::GetBudgetResponse>, Status> {
        let budget = self.one(request).await.map_err(|error| status(&error))?;
        let budget = Some(budget);
        Ok(Response::new(pb::GetBudgetResponse { budget }))
    }

    async fn list_budgets(
        &self,
        request: Request<pb::ListBudgetsRequest>,
    ) -> Result<Response<pb::ListBudgetsResponse>, Status> {
        let reader = self.reader(&request).and_then(|(tenant, agent)| {
            own_tenant(&request.get_ref().parent, &tenant)?;
            Ok((tenant, agent))
        });
        let (tenant, agent) = reader.map_err(|error| status(&error))?;
        let found = self.app.budgets(&tenant, agent.as_ref()).await;
        let (found, truncated) = found.map_err(|error| status(&error))?;
        let budgets = found.into_iter().map(|one| budget(&tenant, one)).collect();
        Ok(Response::new(pb::ListBudgetsResponse {
            budgets,
            truncated,
        }))
    }

    async fn raise_budget(
        &self,
        request: Request<pb::RaiseBudgetRequest>,
    ) -> Result<Response<pb::RaiseBudgetResponse>, Status> {
        let budget = self.raised(request).await.map_err(|error| status(&error))?;
        let budget = Some(budget);
        Ok(Response::new(pb::RaiseBudgetResponse { budget }))
    }

    async fn report_usage(
        &self,
        request: Request<pb::ReportUsageRequest>,
    ) -> Result<Response<pb::ReportUsageResponse>, Status> {
        let repeated_report = self.used(request).await.map_err(|error| status(&error))?;
        Ok(Response::new(pb::ReportUsageResponse { repeated_report }))
    }
}
