//! The clients of one identity, and what they ask for.

use std::time::{Duration, Instant};

use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::pb::budget_service_client::BudgetServiceClient;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::value::args_from_json;

use crate::PATIENCE;
use crate::wish::{Asked, Wish};

/// The clients of one identity.
#[derive(Clone)]
pub struct Actor {
    pub authorize: AuthorizationServiceClient<Channel>,
    pub records: RecordServiceClient<Channel>,
    pub budgets: BudgetServiceClient<Channel>,
    pub execute: ConnectorServiceClient<Channel>,
    pub halt: HaltServiceClient<Channel>,
}

/// The reason code of a status.
pub fn code(status: &tonic::Status) -> String {
    status
        .get_details_error_info()
        .map_or_else(|| status.to_string(), |info| info.reason)
}

/// The denial that a status tells of which was only counted: `RATE_LIMITED HALTED was answered ...`.
fn counted(status: &tonic::Status) -> Option<pb::Decision> {
    let rest = status.message().strip_prefix("RATE_LIMITED ")?;
    let code = rest
        .split(' ')
        .next()
        .filter(|_| rest.contains("only counted"))?;
    Some(pb::Decision {
        verdict: pb::Verdict::Deny.into(),
        reason_code: code.to_owned(),
        ..pb::Decision::default()
    })
}

impl Actor {
    pub fn request(wish: &Wish) -> pb::AuthorizeRequest {
        let args = args_from_json(&wish.args).unwrap().encode();
        pb::AuthorizeRequest {
            provenance: None,
            parent: format!("tenants/{}", wish.tenant),
            request_id: uuid::Uuid::now_v7().to_string(),
            validate_only: false,
            call: Some(pb::ActionCall {
                connection: wish.connection.clone(),
                action: wish.action.clone(),
                target: Some(pb::Target {
                    r#type: wish.target.0.clone(),
                    id: wish.target.1.clone(),
                }),
                mode: wish.mode.into(),
                precondition: None,
                arguments: Some(pb::action_call::Arguments::ArgsCbor(args)),
            }),
            reason: wish.reason.clone(),
            evidence: vec![],
            confidence_percent: None,
            again: false,
            traceparent: String::new(),
            run_id: "test".into(),
        }
    }

    pub async fn ask(&mut self, wish: &Wish) -> Asked {
        self.ask_for(Self::request(wish)).await
    }

    pub async fn ask_for(&mut self, request: pb::AuthorizeRequest) -> Asked {
        let call = request.call.clone().unwrap();
        let tenant = request.parent.strip_prefix("tenants/").unwrap().to_owned();
        let decision = match self.authorize.authorize(request).await {
            Ok(answer) => answer.into_inner().decision.unwrap(),
            Err(status) => counted(&status).unwrap_or_else(|| panic!("{status}")),
        };
        Asked {
            decision,
            call,
            tenant,
        }
    }

    pub fn execute_request(asked: &Asked) -> pb::ExecuteRequest {
        pb::ExecuteRequest {
            parent: format!("tenants/{}", asked.tenant),
            request_id: uuid::Uuid::now_v7().to_string(),
            token: asked.decision.token.clone(),
            call: Some(asked.call.clone()),
            run_id: "test".into(),
        }
    }

    /// Executes under a fresh request id; a refusal is its reason code.
    pub async fn present(&mut self, asked: &Asked) -> Result<pb::Execution, String> {
        self.send(Self::execute_request(asked))
            .await
            .map(|response| response.execution.unwrap())
    }

    /// Asks and executes until it goes through: that a halt is over is heard a moment later.
    pub async fn carry(&mut self, wish: &Wish) -> pb::Execution {
        let started = Instant::now();
        loop {
            let asked = self.ask(wish).await;
            let refused = if asked.decision.token.is_empty() {
                asked.decision.reason_code
            } else {
                match self.present(&asked).await {
                    Ok(execution) => return execution,
                    Err(refused) => refused,
                }
            };
            let late = ["HALTED", "TOKEN_REVOKED"].contains(&refused.as_str());
            assert!(late && started.elapsed() < PATIENCE, "{refused}");
        }
    }

    pub async fn send(
        &mut self,
        request: pb::ExecuteRequest,
    ) -> Result<pb::ExecuteResponse, String> {
        match self.execute.execute(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(code(&status)),
        }
    }

    /// Waits until policyd has signed the undo of an execution.
    pub async fn signed(&mut self, execution: &pb::Execution) {
        let started = Instant::now();
        loop {
            let request = pb::GetExecutionRequest {
                name: execution.name.clone(),
            };
            let found = self.execute.get_execution(request).await.unwrap();
            if found.into_inner().execution.unwrap().undo_signed {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "nobody signed its undo");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same, where no answer may come.
    pub async fn try_undo(&mut self, execution: &pb::Execution) -> Result<pb::UndoItem, String> {
        let request = pb::UndoRequest {
            name: execution.name.clone(),
            reason: "test".into(),
            ..pb::UndoRequest::default()
        };
        let answer = self.execute.undo(request).await;
        let answer = answer.map_err(|status| crate::code(&status))?;
        Ok(answer.into_inner().item.unwrap())
    }

    pub async fn undo(&mut self, execution: &pb::Execution) -> pb::UndoItem {
        let request = pb::UndoRequest {
            name: execution.name.clone(),
            reason: "test".into(),
            dry_run: false,
            unsigned: false,
            request_id: String::new(),
        };
        self.execute
            .undo(request)
            .await
            .unwrap()
            .into_inner()
            .item
            .unwrap()
    }
}
