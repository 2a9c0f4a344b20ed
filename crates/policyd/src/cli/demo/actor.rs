//! The people and agents of the demo: clients of both daemons with the certificate of one
//! identity, asking and presenting exactly as any agent would.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::value::args_from_json;

use super::processes::{Processes, broken};
use crate::cli::people::authorize::verdict;
use crate::error::AppError;
use crate::grpc::client::{ClientFiles, peer};
use crate::ids;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The clients of one identity.
pub(super) struct Actor {
    authorize: AuthorizationServiceClient<Channel>,
    pub(super) execute: ConnectorServiceClient<Channel>,
    pub(super) halt: HaltServiceClient<Channel>,
    pub(super) records: RecordServiceClient<Channel>,
    /// The run its executions belong to.
    pub(super) run: &'static str,
}

/// Connects an identity by the name of its certificate.
pub(super) async fn actor(processes: &Processes, name: &str) -> Result<Actor, AppError> {
    let path = |text: String| -> PathBuf { processes.folder.join(text) };
    let (ca, cert, key) = (
        path("certs/ca.pem".to_owned()),
        path(format!("certs/{name}.pem")),
        path(format!("keys/{name}-tls.pem")),
    );
    let files = ClientFiles {
        ca: &ca,
        cert: &cert,
        key: &key,
    };
    let policyd = peer((&processes.policyd_url, "policyd"), &files, CALL_TIMEOUT)?;
    let policyd = policyd.connect().await?;
    let connectord = peer(
        (&processes.connectord_url, "connectord"),
        &files,
        CALL_TIMEOUT,
    )?;
    let connectord = connectord.connect().await?;
    Ok(Actor {
        authorize: AuthorizationServiceClient::new(policyd.clone()),
        records: RecordServiceClient::new(policyd),
        execute: ConnectorServiceClient::new(connectord.clone()),
        halt: HaltServiceClient::new(connectord),
        run: "demo",
    })
}

/// What an agent asks for.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) tenant: &'static str,
    pub(super) action: &'static str,
    pub(super) target: (&'static str, &'static str),
    pub(super) args: &'static str,
    pub(super) mode: pb::Mode,
}

/// A decision, and the call it authorises.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) decision: pb::Decision,
    pub(super) call: pb::ActionCall,
    took: Duration,
    tenant: &'static str,
}

impl Asked {
    /// The verdict with its reason code.
    pub(super) fn verdict(&self) -> String {
        let word = verdict(&self.decision);
        match self.decision.reason_code.as_str() {
            // The code of the one reason says nothing that the verdict does not.
            "" | "APPROVAL_REQUIRED" => word.to_owned(),
            code => format!("{word} {code}"),
        }
    }

    /// The same with the time it took to be told.
    pub(super) fn said(&self) -> String {
        let tenths = self.took.as_micros() / 100;
        format!("{}  {}.{} ms", self.verdict(), tenths / 10, tenths % 10)
    }
}

impl Actor {
    /// Asks policyd.
    pub(super) async fn ask(&mut self, wish: Wish) -> Result<Asked, AppError> {
        self.ask_on(wish, wish.target.1).await
    }

    /// Asks policyd for the same on another record.
    pub(super) async fn ask_on(&mut self, wish: Wish, id: &str) -> Result<Asked, AppError> {
        let args = args_from_json(wish.args)
            .map_err(|error| broken(&error))?
            .encode();
        let call = pb::ActionCall {
            connection: "crm/main".to_owned(),
            action: wish.action.to_owned(),
            target: Some(pb::Target {
                r#type: wish.target.0.to_owned(),
                id: id.to_owned(),
            }),
            mode: wish.mode.into(),
            precondition: None,
            arguments: Some(pb::action_call::Arguments::ArgsCbor(args)),
        };
        let request = pb::AuthorizeRequest {
            provenance: None,
            parent: format!("tenants/{}", wish.tenant),
            request_id: ids::new_id().to_string(),
            validate_only: false,
            call: Some(call.clone()),
            reason: "the customer asked for it".to_owned(),
            evidence: Vec::new(),
            confidence_percent: None,
            again: false,
            traceparent: String::new(),
            run_id: self.run.to_owned(),
        };
        let start = Instant::now();
        let answer = self
            .authorize
            .authorize(request)
            .await
            .map_err(|error| broken(&error))?;
        let decision = answer.into_inner().decision.unwrap_or_default();
        Ok(Asked {
            decision,
            call,
            took: start.elapsed(),
            tenant: wish.tenant,
        })
    }

    /// Executes; a refusal is its reason code.
    pub(super) async fn execute(
        &mut self,
        asked: &Asked,
    ) -> Result<Result<pb::Execution, String>, AppError> {
        let request = pb::ExecuteRequest {
            parent: format!("tenants/{}", asked.tenant),
            request_id: ids::new_id().to_string(),
            token: asked.decision.token.clone(),
            call: Some(asked.call.clone()),
            run_id: self.run.to_owned(),
        };
        match self.execute.execute(request).await {
            Ok(answer) => {
                let execution = answer.into_inner().execution.unwrap_or_default();
                let failed = !execution.reason_code.is_empty();
                Ok(if failed {
                    Err(execution.reason_code.clone())
                } else {
                    Ok(execution)
                })
            }
            Err(status) if status.code() == Code::Unavailable => Err(broken(&status)),
            Err(status) => {
                let info = status.get_details_error_info();
                Ok(Err(
                    info.map_or_else(|| status.to_string(), |info| info.reason)
                ))
            }
        }
    }
}
