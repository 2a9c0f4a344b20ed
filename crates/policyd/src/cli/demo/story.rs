//! The steps. Each asks as an agent would, over mTLS with the agent's own certificate, and says
//! what must come out.

use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::value::args_from_json;

use super::super::authorize::verdict;
use super::super::token::difference;
use super::Row;
use super::processes::{Processes, broken};
use crate::app::AppError;
use crate::domain::export;
use crate::grpc::client::{ClientFiles, connect, endpoint};
use crate::ids;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_STEPS_MAX: u32 = 200;
const SETTLE_STEP: Duration = Duration::from_millis(25);

struct Actor {
    authorize: AuthorizationServiceClient<Channel>,
    execute: ConnectorServiceClient<Channel>,
    halt: HaltServiceClient<Channel>,
    records: RecordServiceClient<Channel>,
}

async fn actor(processes: &Processes, name: &str) -> Result<Actor, AppError> {
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
    let policyd = connect(&endpoint(&processes.policyd_url, &files, CALL_TIMEOUT)?).await?;
    let connectord = connect(&endpoint(&processes.connectord_url, &files, CALL_TIMEOUT)?).await?;
    Ok(Actor {
        authorize: AuthorizationServiceClient::new(policyd.clone()),
        records: RecordServiceClient::new(policyd),
        execute: ConnectorServiceClient::new(connectord.clone()),
        halt: HaltServiceClient::new(connectord),
    })
}

/// What an agent asks for.
#[derive(Clone, Copy)]
struct Wish {
    tenant: &'static str,
    action: &'static str,
    target: (&'static str, &'static str),
    args: &'static str,
    mode: pb::Mode,
}

/// A decision, and the call it authorises.
#[derive(Clone)]
struct Asked {
    decision: pb::Decision,
    call: pb::ActionCall,
    tenant: &'static str,
}

fn said(decision: &pb::Decision) -> String {
    let word = verdict(decision);
    if decision.reason_code.is_empty() {
        word.to_owned()
    } else {
        format!("{word} {}", decision.reason_code)
    }
}

impl Actor {
    async fn ask(&mut self, wish: Wish) -> Result<Asked, AppError> {
        let args = args_from_json(wish.args)
            .map_err(|error| broken(&error))?
            .encode();
        let call = pb::ActionCall {
            connection: "crm/main".to_owned(),
            action: wish.action.to_owned(),
            target: Some(pb::Target {
                r#type: wish.target.0.to_owned(),
                id: wish.target.1.to_owned(),
            }),
            mode: wish.mode.into(),
            precondition: None,
            arguments: Some(pb::action_call::Arguments::ArgsCbor(args)),
        };
        let request = pb::AuthorizeRequest {
            parent: format!("tenants/{}", wish.tenant),
            request_id: ids::new_id().to_string(),
            validate_only: false,
            call: Some(call.clone()),
            reason: "the customer asked for it".to_owned(),
            evidence: Vec::new(),
            traceparent: String::new(),
        };
        let answer = self
            .authorize
            .authorize(request)
            .await
            .map_err(|error| broken(&error))?;
        let decision = answer.into_inner().decision.unwrap_or_default();
        Ok(Asked {
            decision,
            call,
            tenant: wish.tenant,
        })
    }

    /// Executes; a refusal is its reason code.
    async fn execute(&mut self, asked: &Asked) -> Result<Result<pb::Execution, String>, AppError> {
        let request = pb::ExecuteRequest {
            parent: format!("tenants/{}", asked.tenant),
            request_id: ids::new_id().to_string(),
            token: asked.decision.token.clone(),
            call: Some(asked.call.clone()),
            run_id: "demo".to_owned(),
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

const STAGE: Wish = Wish {
    tenant: "acme",
    action: "set_stage",
    target: ("deal", "D-104"),
    args: r#"{"stage":"qualified"}"#,
    mode: pb::Mode::Execute,
};
const REFUND: Wish = Wish {
    tenant: "acme",
    action: "refund",
    target: ("order", "O-7"),
    args: r#"{"amount":{"currency":"EUR","value":49.00}}"#,
    mode: pb::Mode::Execute,
};

struct Story<'a, F: FnMut(usize, &Row)> {
    processes: &'a Processes,
    agent: Actor,
    operator: Actor,
    show: F,
    rows: Vec<Row>,
}

impl<F: FnMut(usize, &Row)> Story<'_, F> {
    fn row(&mut self, asks: &str, said: &str, happened: &str, expected: bool) {
        let row = Row {
            asks: asks.to_owned(),
            said: said.to_owned(),
            happened: happened.to_owned(),
            expected,
        };
        (self.show)(self.rows.len().saturating_add(1), &row);
        self.rows.push(row);
    }

    /// Asks and executes; expected when the execution ends as the check says.
    async fn write(
        &mut self,
        asks: &str,
        wish: Wish,
        check: fn(&pb::Execution) -> bool,
    ) -> Result<(Asked, pb::Execution), AppError> {
        let asked = self.agent.ask(wish).await?;
        let result = self.agent.execute(&asked).await?;
        let (happened, expected, execution) = match result {
            Ok(execution) => (execution.sentence.clone(), check(&execution), execution),
            Err(code) => (format!("REFUSED {code}"), false, pb::Execution::default()),
        };
        let happened = if execution.wrote {
            format!("written: {happened}; before/after kept")
        } else {
            format!("{happened} (nothing written)")
        };
        let allowed = verdict(&asked.decision) == "ALLOW";
        self.row(asks, &said(&asked.decision), &happened, expected && allowed);
        Ok((asked, execution))
    }

    /// Presents a decision that must be refused with a code.
    async fn refused(
        &mut self,
        asks: &str,
        asked: &Asked,
        code: &str,
        more: &str,
    ) -> Result<(), AppError> {
        let (happened, expected) = match self.agent.execute(asked).await? {
            Ok(_) => ("EXECUTED".to_owned(), false),
            Err(found) => (format!("REFUSED {found} {more}"), found == code),
        };
        self.row(asks, "-", happened.trim_end(), expected);
        Ok(())
    }

    /// Asks for something that policy must not simply allow.
    async fn denied(&mut self, asks: &str, wish: Wish, expected: &str) -> Result<(), AppError> {
        let asked = self.agent.ask(wish).await?;
        let got = said(&asked.decision);
        let no_token = asked.decision.token.is_empty();
        let happened = format!("no token: {}", asked.decision.message);
        self.row(asks, &got, &happened, got == expected && no_token);
        Ok(())
    }

    async fn promote(&mut self, action: &str) -> Result<(), AppError> {
        let request = pb::SetActionRolloutRequest {
            name: format!("tenants/acme/actions/{action}"),
            rollout: pb::Rollout::Live.into(),
            reason: "the would-have log looks right".to_owned(),
        };
        self.operator
            .execute
            .set_action_rollout(request)
            .await
            .map_err(|error| broken(&error))?;
        Ok(())
    }

    async fn undo(&mut self, execution: &pb::Execution) -> Result<pb::UndoItem, AppError> {
        let request = pb::UndoRequest {
            name: execution.name.clone(),
            reason: "demo".to_owned(),
            dry_run: false,
        };
        let answer = self
            .operator
            .execute
            .undo(request)
            .await
            .map_err(|error| broken(&error))?;
        Ok(answer.into_inner().item.unwrap_or_default())
    }

    async fn spend(&mut self) -> Result<(), AppError> {
        let dry = Wish {
            mode: pb::Mode::DryRun,
            ..STAGE
        };
        self.write("set_stage deal D-104 -> qualified", dry, |e| !e.wrote)
            .await?;
        let live = self.agent.ask(STAGE).await?;
        self.refused("the same as a real write", &live, "DRY_RUN_ONLY", "")
            .await?;
        self.promote("set_stage").await?;
        self.promote("refund").await?;
        Ok(())
    }

    async fn refunds(&mut self) -> Result<(), AppError> {
        let (spent, _) = self
            .write("refund order O-7  49.00 EUR", REFUND, |e| e.wrote)
            .await?;
        self.refused(
            "its token under a new request id",
            &spent,
            "TOKEN_REPLAYED",
            "",
        )
        .await?;
        let mut tampered = self.agent.ask(REFUND).await?;
        let signed = args_from_json(REFUND.args).map_err(|error| broken(&error))?;
        let got = args_from_json(r#"{"amount":{"currency":"EUR","value":490.00}}"#)
            .map_err(|error| broken(&error))?;
        let what = difference(&signed, &got).unwrap_or_default();
        tampered.call.arguments = Some(pb::action_call::Arguments::ArgsCbor(got.encode()));
        self.refused(
            "a fresh token with amount 490.00",
            &tampered,
            "TOKEN_ARGS_MISMATCH",
            &what,
        )
        .await
    }

    async fn denials(&mut self) -> Result<(), AppError> {
        let large = Wish {
            target: ("order", "O-9"),
            args: r#"{"amount":{"currency":"EUR","value":900.00}}"#,
            ..REFUND
        };
        self.denied(
            "refund order O-9 900.00 EUR",
            large,
            "REQUIRE_APPROVAL APPROVAL_REQUIRED",
        )
        .await?;
        let owner = Wish {
            action: "set_owner",
            args: r#"{"owner":"U-7"}"#,
            ..STAGE
        };
        self.denied("set_owner deal D-104", owner, "DENY NOT_PERMITTED")
            .await?;
        let other = Wish {
            tenant: "globex",
            ..STAGE
        };
        self.denied(
            "an agent of acme asks for tenant globex",
            other,
            "DENY FORBIDDEN",
        )
        .await
    }

    async fn halts(&mut self) -> Result<(), AppError> {
        let asked = self.agent.ask(STAGE).await?;
        let (scope, reason) = ("tenant:acme".to_owned(), "demo".to_owned());
        let set = pb::SetHaltRequest {
            scope: scope.clone(),
            reason: reason.clone(),
        };
        self.operator
            .halt
            .set_halt(set)
            .await
            .map_err(|error| broken(&error))?;
        self.refused(
            "halt tenant acme, then a writ from before",
            &asked,
            "HALTED",
            "",
        )
        .await?;
        let clear = pb::ClearHaltRequest { scope, reason };
        self.operator
            .halt
            .clear_halt(clear)
            .await
            .map_err(|error| broken(&error))?;
        // policyd follows connectord's halts; the next step must not race it.
        for _ in 0..SETTLE_STEPS_MAX {
            let asked = self
                .agent
                .ask(Wish {
                    mode: pb::Mode::DryRun,
                    ..STAGE
                })
                .await?;
            if verdict(&asked.decision) == "ALLOW" {
                break;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
        Ok(())
    }

    async fn undos(&mut self, first: &pb::Execution) -> Result<(), AppError> {
        let item = self.undo(first).await?;
        let stage = item
            .changes
            .first()
            .and_then(|change| change.after_json.clone());
        let happened = format!("UNDONE  stage is {} again", stage.unwrap_or_default());
        self.row("undo the stage change", "-", &happened, item.undone);
        let (_, again) = self
            .write("resume; set_stage once more", STAGE, |e| e.wrote)
            .await?;
        self.person_edits().await?;
        let item = self.undo(&again).await?;
        let happened = format!("REFUSED {} {}", item.reason_code, item.message);
        let refused = !item.undone && item.reason_code == "PRECONDITION_FAILED";
        self.row(
            "a person edits the deal, then undo",
            "-",
            &happened,
            refused,
        );
        Ok(())
    }

    /// A person changes the deal in the CRM itself.
    async fn person_edits(&self) -> Result<(), AppError> {
        let edit = tokio::process::Command::new(&self.processes.connectord_bin)
            .current_dir(&self.processes.folder)
            .args(["sandbox", "edit", "--url", &self.processes.sandbox_url])
            .args([
                "--secret-file",
                "keys/sandbox.secret",
                "deals/D-104",
                "stage=proposal",
                "-o",
                "json",
            ])
            .stdout(std::process::Stdio::null())
            .status()
            .await
            .map_err(|error| broken(&error))?;
        if edit.success() {
            Ok(())
        } else {
            Err(broken(&"the edit in the sandbox failed"))
        }
    }

    async fn export(&mut self) -> Result<(), AppError> {
        let keys = std::fs::read_to_string(self.processes.folder.join("keys/public.json"))
            .map_err(|error| broken(&error))?;
        let trust = crate::keys::load(&self.processes.folder.join("keys/trust.pem"))
            .map_err(|error| broken(&error))?;
        let keys = writ_proto::keyset::KeySet::parse_document(&keys, &trust.verifying_key())
            .map_err(|error| broken(&error))?;
        let mut report = export::Report::default();
        // The last outcomes are still on their way from connectord's outbox.
        for _ in 0..SETTLE_STEPS_MAX {
            let request = pb::ExportRecordsRequest {
                parent: "tenants/acme".to_owned(),
                from_seq: 0,
            };
            let stream = self.operator.records.export_records(request).await;
            let mut stream = stream.map_err(|error| broken(&error))?.into_inner();
            let mut bytes = Vec::new();
            while let Some(part) = stream.message().await.map_err(|error| broken(&error))? {
                bytes.extend_from_slice(&part.chunk);
            }
            report = export::verify(&bytes, &keys);
            let text = String::from_utf8_lossy(&bytes);
            if !report.is_ok() || text.contains("UNDO_REFUSED") {
                break;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
        let happened = if report.is_ok() {
            format!(
                "OK  {} records: hash chain, checkpoint, signature",
                report.records
            )
        } else {
            report.findings.join("; ")
        };
        let complete = report.is_ok() && report.records >= 15;
        self.row(
            "export all records, verify offline",
            "-",
            &happened,
            complete,
        );
        Ok(())
    }
}

/// Plays the whole story and gives its rows.
pub(super) async fn play(
    processes: &Processes,
    show: impl FnMut(usize, &Row),
) -> Result<Vec<Row>, AppError> {
    let agent = actor(processes, "agent-acme-triage").await?;
    let operator = actor(processes, "operator-acme-ops").await?;
    let mut story = Story {
        processes,
        agent,
        operator,
        show,
        rows: Vec::new(),
    };
    story.spend().await?;
    let (_, first) = story
        .write("the same, with the action live", STAGE, |e| e.wrote)
        .await?;
    story.refunds().await?;
    story.denials().await?;
    story.halts().await?;
    story.undos(&first).await?;
    story.export().await?;
    Ok(story.rows)
}
