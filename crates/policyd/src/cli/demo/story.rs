//! The steps. Each asks as an agent would, over mTLS with the agent's own certificate, and says
//! what must come out.

use std::time::{Duration, Instant};

use writ_proto::keyset::KeySet;
use writ_proto::pb;
use writ_proto::value::args_from_json;

use super::Row;
use super::actor::{Actor, Asked, Wish, actor};
use super::processes::{Processes, broken};
use crate::domain::bundle;
use crate::error::AppError;

/// Fewer records than this would mean that outcomes are missing.
const RECORDS_MIN: u64 = 20;
const SETTLE_STEPS_MAX: u32 = 200;
const SETTLE_STEP: Duration = Duration::from_millis(10);

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

pub(super) struct Story<'a, F: FnMut(usize, &Row)> {
    processes: &'a Processes,
    pub(super) agent: Actor,
    pub(super) operator: Actor,
    show: F,
    rows: Vec<Row>,
}

impl<F: FnMut(usize, &Row)> Story<'_, F> {
    pub(super) fn row(&mut self, asks: &str, said: &str, happened: &str, expected: bool) {
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
    pub(super) async fn write(
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
        let allowed = asked.verdict() == "ALLOW";
        self.row(asks, &asked.said(), &happened, expected && allowed);
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
        let as_expected = asked.verdict() == expected && asked.decision.token.is_empty();
        let happened = if expected == "REQUIRE_APPROVAL" {
            format!("no writ; a person must decide: {}", asked.decision.message)
        } else {
            format!("no writ; {}", asked.decision.message)
        };
        self.row(asks, &asked.verdict(), &happened, as_expected);
        Ok(())
    }

    pub(super) async fn promote(
        &mut self,
        action: &str,
    ) -> Result<pb::SetActionRolloutResponse, AppError> {
        let request = pb::SetActionRolloutRequest {
            name: format!("tenants/acme/actions/{action}"),
            rollout: pb::Rollout::Live.into(),
            reason: "the would-have log looks right".to_owned(),
            // Not every action of the story was dry-run before.
            accept_unseen: true,
            ..pb::SetActionRolloutRequest::default()
        };
        let set = self.operator.execute.set_action_rollout(request).await;
        Ok(set.map_err(|error| broken(&error))?.into_inner())
    }

    async fn undo(&mut self, execution: &pb::Execution) -> Result<pb::UndoItem, AppError> {
        let request = pb::UndoRequest {
            name: execution.name.clone(),
            reason: "demo".to_owned(),
            dry_run: false,
            unsigned: false,
            request_id: String::new(),
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
        let what = writ_proto::digest::difference::first(&signed, &got).unwrap_or_default();
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
        self.denied("refund order O-9 900.00 EUR", large, "REQUIRE_APPROVAL")
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

    /// Asks until policyd says what it must once it has heard of a change of the halts.
    async fn heard(&mut self, wish: Wish, verdict: &str) -> Result<Asked, AppError> {
        let mut asked = self.agent.ask(wish).await?;
        for _ in 0..SETTLE_STEPS_MAX {
            if asked.verdict() == verdict {
                break;
            }
            tokio::time::sleep(SETTLE_STEP).await;
            asked = self.agent.ask(wish).await?;
        }
        Ok(asked)
    }

    async fn halts(&mut self) -> Result<(), AppError> {
        let before = self.agent.ask(STAGE).await?;
        let (scope, reason) = ("tenant:acme".to_owned(), "demo".to_owned());
        let set = pb::SetHaltRequest {
            scope: scope.clone(),
            reason: reason.clone(),
            ..pb::SetHaltRequest::default()
        };
        let start = Instant::now();
        let halted = self.operator.halt.set_halt(set).await;
        halted.map_err(|error| broken(&error))?;
        self.refused(
            "halt tenant acme, then a writ from before",
            &before,
            "HALTED",
            &format!("{} ms after the halt", start.elapsed().as_millis()),
        )
        .await?;
        let asked = self.heard(STAGE, "DENY HALTED").await?;
        let expected = asked.verdict() == "DENY HALTED" && asked.decision.token.is_empty();
        let happened = format!("no writ; {}", asked.decision.message);
        self.row(
            "#1 again while halted",
            &asked.verdict(),
            &happened,
            expected,
        );
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), AppError> {
        let clear = pb::ClearHaltRequest {
            scope: "tenant:acme".to_owned(),
            reason: "the demo goes on".to_owned(),
        };
        let cleared = self.operator.halt.clear_halt(clear).await;
        cleared.map_err(|error| broken(&error))?;
        let dry = Wish {
            mode: pb::Mode::DryRun,
            ..STAGE
        };
        self.heard(dry, "ALLOW").await.map(|_| ())
    }

    async fn undos(&mut self, first: &pb::Execution) -> Result<(), AppError> {
        let item = self.undo(first).await?;
        let stage = item
            .changes
            .first()
            .and_then(|change| change.after_json.clone());
        let happened = format!("UNDONE  stage is {} again", stage.unwrap_or_default());
        let back = item.undone && happened.contains("\"new\"");
        self.row("undo #3, which a halt does not stop", "-", &happened, back);
        self.resume().await?;
        let (_, again) = self
            .write("resume; set_stage once more", STAGE, |e| e.wrote)
            .await?;
        self.edit("deals/D-104", "stage=proposal").await?;
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

    /// A person changes a record in the CRM itself.
    pub(super) async fn edit(&self, record: &str, field: &str) -> Result<(), AppError> {
        let (url, secret) = (&self.processes.sandbox_url, "keys/sandbox.secret");
        let args = ["sandbox", "edit", "--url", url, "--secret-file", secret];
        self.connectord(&[&args[..], &[record, field]].concat())
            .await
            .map(|_| ())
    }

    /// Runs a command of connectord in the folder of the demo.
    pub(super) async fn connectord(&self, args: &[&str]) -> Result<String, AppError> {
        let output = tokio::process::Command::new(&self.processes.connectord_bin)
            .current_dir(&self.processes.folder)
            .args(args)
            .output()
            .await
            .map_err(|error| broken(&error))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(broken(&format!("connectord {}: {said}", args.join(" "))))
        }
    }

    /// The whole export, once the last outcome has come from connectord's outbox.
    async fn exported(&mut self) -> Result<Vec<u8>, AppError> {
        let mut bytes = Vec::new();
        for _ in 0..SETTLE_STEPS_MAX {
            bytes.clear();
            let request = pb::ExportRecordsRequest {
                parent: "tenants/acme".to_owned(),
                from_seq: 0,
                with_values: true,
            };
            let stream = self.operator.records.export_records(request).await;
            let mut stream = stream.map_err(|error| broken(&error))?.into_inner();
            while let Some(part) = stream.message().await.map_err(|error| broken(&error))? {
                bytes.extend_from_slice(&part.chunk);
            }
            if String::from_utf8_lossy(&bytes).contains("UNDO_REFUSED") {
                break;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
        Ok(bytes)
    }

    async fn export(&mut self) -> Result<(), AppError> {
        let keys = self.processes.trusted_keys()?;
        let mut bytes = self.exported().await?;
        let report = bundle::verify(&bytes, &keys, true);
        let happened = if report.is_ok() {
            let (count, again) = (report.records, report.replayed);
            format!(
                "OK  {count} records: hash chain, signature; {again} decisions made again with the same result"
            )
        } else {
            report.findings.join("; ")
        };
        let complete = report.is_ok() && report.records >= RECORDS_MIN;
        self.row(
            "export all records, verify offline",
            "-",
            &happened,
            complete,
        );
        self.tampered(&mut bytes, &keys);
        Ok(())
    }

    /// One changed letter in the middle of the export.
    fn tampered(&mut self, bytes: &mut [u8], keys: &KeySet) {
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        let report = bundle::verify(bytes, keys, true);
        let finding = report.findings.first().cloned().unwrap_or_default();
        let named = !report.is_ok() && finding.starts_with('#');
        let happened = format!("FAILED  {finding}");
        self.row("the same with one bit changed", "-", &happened, named);
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
    story.cards().await?;
    story.one_customer().await?;
    story.fifty().await?;
    story.export().await?;
    Ok(story.rows)
}
