//! `connectord preview` and `connectord execute`: one call with its writ.

mod mismatch;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::value::args_from_json;
use writ_proto::{Reason, pb};

use super::executions::{describe, shown};
use super::remote::{Remote, failed};
use crate::error::AppError;
use crate::ids;
use crate::output::{Output, exit_code};

/// The call and its writ.
#[derive(Debug, Args)]
pub(super) struct CallArgs {
    #[command(flatten)]
    remote: Remote,
    /// Name of the action card.
    action: String,
    /// Object type and id, such as `deal/D-104`.
    #[arg(long)]
    target: String,
    /// Connection id.
    #[arg(long, default_value = "crm/main")]
    connection: String,
    /// File with the token, binary or base64url.
    #[arg(long)]
    token: PathBuf,
    /// File with the arguments, canonical CBOR or JSON.
    #[arg(long)]
    args: PathBuf,
    /// Version the agent relied on.
    #[arg(long)]
    precondition: Option<String>,
    /// Ask for a dry run; a reading is always one.
    #[arg(long)]
    dry_run: bool,
    /// Own id of this call, to repeat it.
    #[arg(long)]
    request_id: Option<String>,
    /// Groups executions; the run that the writ was asked for in, if it names one.
    #[arg(long, default_value = "")]
    run: String,
}

/// First byte of a writ: tag 18 of CBOR (RFC 9052), which no map begins with.
const WRIT_STARTS: u8 = 0xd2;

/// A writ has less than a tenth of this, also as text.
const FILE_BYTES_MAX: usize = 64 * 1024;

fn bytes_of(path: &Path) -> Result<Vec<u8>, AppError> {
    std::fs::read(path).map_err(|error| {
        let why = format!("{}: {error}", path.display());
        AppError::new(Reason::RequestMalformed, why).with_fix(
            "policyd authorize writes both files with --token-out and --args-out, and a writ only where it says ALLOW",
        )
    })
}

impl CallArgs {
    fn token(&self) -> Result<Vec<u8>, AppError> {
        use base64::Engine as _;
        let bytes = bytes_of(&self.token)?;
        if bytes.len() > FILE_BYTES_MAX {
            let (file, bytes) = (self.token.display(), bytes.len());
            return Err(AppError::new(
                Reason::TokenTooLarge,
                format!("{file} has {bytes} bytes, and no writ has so many"),
            )
            .with_fix("--token takes what policyd authorize wrote with --token-out"));
        }
        let text = core::str::from_utf8(&bytes).ok().map(str::trim);
        let decoded = text.and_then(|text| {
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(text)
                .ok()
        });
        if text.is_some() && decoded.as_ref().and_then(|bytes| bytes.first()) != Some(&WRIT_STARTS)
        {
            let file = self.token.display();
            return Err(
                AppError::new(Reason::TokenMalformed, format!("{file} is no writ"))
                    .with_fix("--token takes what policyd authorize wrote with --token-out"),
            );
        }
        Ok(decoded.unwrap_or(bytes))
    }

    fn call(&self) -> Result<pb::ActionCall, AppError> {
        let malformed = |why: &str| AppError::new(Reason::RequestMalformed, why);
        let target = self.target.split_once('/').ok_or_else(|| {
            let typed = &self.target;
            malformed(&format!("{typed} is not TYPE/ID, such as deal/D-105"))
        })?;
        let bytes = bytes_of(&self.args)?;
        if bytes.first() == Some(&WRIT_STARTS) {
            let file = self.args.display();
            return Err(malformed(&format!("{file} is a writ, not arguments")).with_fix(
                "--args takes what policyd authorize wrote with --args-out, and --token what it wrote with --token-out",
            ));
        }
        let args = match core::str::from_utf8(&bytes) {
            Ok(text) if text.trim_start().starts_with('{') => args_from_json(text)
                .map_err(|error| AppError::new(error.reason, error.to_string()))?
                .encode(),
            // A map of CBOR begins with no character of ASCII.
            Ok(text) if text.starts_with(|first: char| first.is_ascii()) => {
                let why = format!("{} holds no arguments", self.args.display());
                return Err(AppError::new(Reason::ArgsNotCanonical, why).with_fix(
                    "--args takes what policyd authorize wrote with --args-out, or a JSON object",
                ));
            }
            _ => bytes,
        };
        let mode = if self.dry_run {
            pb::Mode::DryRun
        } else {
            pb::Mode::Execute
        };
        Ok(pb::ActionCall {
            connection: self.connection.clone(),
            action: self.action.clone(),
            target: Some(pb::Target {
                r#type: target.0.to_owned(),
                id: target.1.to_owned(),
            }),
            mode: mode.into(),
            precondition: self.precondition.clone(),
            arguments: Some(pb::action_call::Arguments::ArgsCbor(args)),
        })
    }
}

pub(super) async fn preview(args: &CallArgs, output: &Output) -> Result<u8, AppError> {
    let request = pb::PreviewRequest {
        parent: args.remote.parent(),
        token: args.token()?,
        call: Some(args.call()?),
        run_id: args.run.clone(),
    };
    let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
    let answer = match client.preview(request.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let asked = (request.token.as_slice(), request.call.as_ref());
            return Err(mismatch::named(&args.remote, asked, failed(status)).await);
        }
    };
    output.line(
        &answer.would_have,
        &json!({"would_have": answer.would_have}),
    );
    Ok(0)
}

pub(super) async fn execute(args: &CallArgs, output: &Output) -> Result<u8, AppError> {
    let request = pb::ExecuteRequest {
        parent: args.remote.parent(),
        request_id: args
            .request_id
            .clone()
            .unwrap_or_else(|| ids::new_id().to_string()),
        token: args.token()?,
        call: Some(args.call()?),
        run_id: args.run.clone(),
    };
    let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
    let answer = match client.execute(request.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let asked = (request.token.as_slice(), request.call.as_ref());
            return Err(mismatch::named(&args.remote, asked, failed(status)).await);
        }
    };
    let execution = answer.execution.unwrap_or_default();
    let fix = Reason::from_code(&execution.reason_code).map(Reason::fix);
    let fix = fix.map_or_else(String::new, |fix| format!("\n  Fix: {fix}"));
    output.line(
        &format!("{}{fix}", describe(&execution)),
        &shown(&execution),
    );
    Ok(Reason::from_code(&execution.reason_code).map_or(0, exit_code))
}

/// What a card lets the agent see, a line for each record.
pub(super) async fn read(args: &CallArgs, output: &Output) -> Result<u8, AppError> {
    let mut call = args.call()?;
    call.mode = pb::Mode::DryRun.into();
    let request = pb::ReadRequest {
        parent: args.remote.parent(),
        request_id: args
            .request_id
            .clone()
            .unwrap_or_else(|| ids::new_id().to_string()),
        token: args.token()?,
        call: Some(call),
        run_id: args.run.clone(),
    };
    let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
    let answer = client.read(request).await.map_err(failed)?.into_inner();
    for record in &answer.records {
        let target = record.target.clone().unwrap_or_default();
        let fields: Vec<String> = record
            .fields
            .iter()
            .map(|field| format!("{}={}", field.name, field.value_json))
            .collect();
        let json: serde_json::Map<String, serde_json::Value> = record
            .fields
            .iter()
            .map(|field| {
                let value: serde_json::Value =
                    serde_json::from_str(&field.value_json).unwrap_or_default();
                let shown = json!({"value": value, "masked": field.masked,
                    "untrusted": field.untrusted});
                (field.name.clone(), shown)
            })
            .collect();
        output.line(
            &format!("{} {}  {}", target.r#type, target.id, fields.join("  ")),
            &json!({"type": target.r#type, "id": target.id, "version": record.version,
                "fields": json}),
        );
    }
    if answer.records.is_empty() {
        output.line("no record matches", &json!({"records": 0}));
    }
    Ok(0)
}
