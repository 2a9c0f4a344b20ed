//! `policyd authorize`: asks as the agent whose certificate is given.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};
use writ_proto::digest::sha256;
use writ_proto::limits::TOOL_ANSWER_BYTES_MAX;
use writ_proto::money::Money;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::value::{Map, Value, args_from_json, value_from_json};
use writ_proto::{Reason, pb};

use crate::cli::remote::{Remote, failed};
use crate::error::AppError;
use crate::grpc::client::{Quoted, evidence};
use crate::ids;
use crate::output::{Output, exit_code};

/// The connection that is meant where none is named.
const CONNECTION: &str = "crm/main";
/// Longest prompt whose digest is taken.
const PROMPT_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// What is asked for. Who asks is the certificate.
#[derive(Debug, Args)]
pub(crate) struct AuthorizeArgs {
    #[command(flatten)]
    remote: Remote,
    /// Name of the action card.
    action: String,
    /// Arguments as name=value; JSON and money such as `49.00 EUR` are taken as such.
    args: Vec<String>,
    /// Object type and id, such as `deal/D-104`.
    #[arg(long)]
    target: String,
    /// Connection id.
    #[arg(long, default_value = CONNECTION)]
    connection: String,
    /// All arguments as one JSON object instead.
    #[arg(long, conflicts_with = "args")]
    args_json: Option<String>,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// Version the agent relied on.
    #[arg(long)]
    precondition: Option<String>,
    /// The run it belongs to.
    #[arg(long, default_value = "")]
    run: String,
    /// How sure you are, in percent; policies see it.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    confidence: Option<u32>,
    /// An argument that you are not sure of; may be repeated.
    #[arg(long, value_name = "ARGUMENT")]
    uncertain: Vec<String>,
    /// File with items of evidence as a JSON list: where the values of arguments stand.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// Who or what began it: a person, a ticket, a schedule; recorded.
    #[arg(long, default_value = "")]
    initiator: String,
    /// The model with its version; recorded.
    #[arg(long, default_value = "")]
    model: String,
    /// File with the prompt; only its SHA-256 is recorded.
    #[arg(long, value_name = "FILE")]
    prompt: Option<PathBuf>,
    /// File with the tool output that you act on; recorded, at most 16 KiB.
    #[arg(long, value_name = "FILE")]
    tool_answer: Option<PathBuf>,
    /// Ask although the same was decided a moment ago: it is meant once more.
    #[arg(long)]
    again: bool,
    /// Ask for a dry run.
    #[arg(long)]
    dry_run: bool,
    /// Decide only; nothing is recorded or signed.
    #[arg(long)]
    validate_only: bool,
    /// Own id of this request, to repeat it.
    #[arg(long)]
    request_id: Option<String>,
    /// Writes the token here.
    #[arg(long)]
    token_out: Option<PathBuf>,
    /// Writes the canonical arguments here.
    #[arg(long)]
    args_out: Option<PathBuf>,
}

fn malformed(why: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, why)
}

/// Longest file of evidence, in bytes.
const EVIDENCE_BYTES_MAX: u64 = 64 * 1_024;

fn quoted(args: &AuthorizeArgs) -> Result<Vec<Quoted>, AppError> {
    let Some(file) = &args.evidence else {
        return Ok(Vec::new());
    };
    let wrong =
        |why: &dyn core::fmt::Display| malformed(format!("--evidence {}: {why}", file.display()));
    let about = std::fs::metadata(file).map_err(|error| wrong(&error))?;
    if !about.is_file() || about.len() > EVIDENCE_BYTES_MAX {
        return Err(wrong(&format!(
            "a file of at most {EVIDENCE_BYTES_MAX} bytes"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

fn arguments(args: &AuthorizeArgs) -> Result<Map, AppError> {
    if let Some(text) = &args.args_json {
        return args_from_json(text)
            .map_err(|error| AppError::new(error.reason, error.to_string()));
    }
    let mut map = Map::new();
    for pair in &args.args {
        let (name, text) = pair.split_once('=').ok_or_else(|| {
            malformed(format!(
                "`{pair}` is not name=value, such as stage=qualified, without spaces beside `=`; a value with spaces is quoted: amount=\"49.00 EUR\""
            ))
        })?;
        if let Some((number, currency)) = text.split_once(' ')
            && let Some((whole, part)) = number.split_once(',')
            && currency.len() == 3
            && [whole, part]
                .iter()
                .all(|of| of.bytes().all(|c| c.is_ascii_digit()))
        {
            return Err(malformed(format!(
                "`{pair}`: an amount is written with a point: {name}=\"{whole}.{part} {currency}\""
            )));
        }
        let value = money(text).or_else(|| value_from_json(text).ok());
        let value = value.unwrap_or_else(|| Value::Text(text.to_owned()));
        map.insert(name.to_owned(), value)
            .map_err(|error| AppError::new(error.reason, error.to_string()))?;
    }
    Ok(map)
}

/// Looked at before it is asked: a decision that cannot be saved holds its part of a budget all the same.
fn can_save(args: &AuthorizeArgs) -> Result<(), AppError> {
    for (flag, path) in [
        ("--token-out", &args.token_out),
        ("--args-out", &args.args_out),
    ] {
        let folder = path.as_ref().and_then(|path| path.parent());
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let why = format!("{flag}: there is no folder {}", folder.display());
            return Err(malformed(why));
        }
    }
    Ok(())
}

/// A file of a flag, which may be no longer than so many bytes.
fn bounded(flag: &str, path: &Path, most: usize) -> Result<Vec<u8>, AppError> {
    let failed = |why: String| malformed(format!("{flag}: {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let beyond = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(beyond)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() > most {
        return Err(failed(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// What is said of why it is asked; files are read here.
fn provenance(args: &AuthorizeArgs) -> Result<pb::Provenance, AppError> {
    let prompt = args.prompt.as_ref();
    let prompt = prompt.map(|path| bounded("--prompt", path, PROMPT_BYTES_MAX));
    let answer = args.tool_answer.as_ref();
    let answer = answer.map(|path| bounded("--tool-answer", path, TOOL_ANSWER_BYTES_MAX));
    let (prompt, answer) = (prompt.transpose()?, answer.transpose()?);
    let answer = String::from_utf8(answer.unwrap_or_default());
    Ok(pb::Provenance {
        initiator: args.initiator.clone(),
        prompt_sha256: prompt.map_or_else(Vec::new, |prompt| sha256(&prompt).to_vec()),
        model: args.model.clone(),
        tool_answer: answer.map_err(|_| malformed("--tool-answer: the file is no UTF-8 text"))?,
    })
}

/// `49.00 EUR` as money; a text that looks like it is written with quotes, as JSON.
fn money(text: &str) -> Option<Value> {
    let (number, currency) = text.split_once(' ')?;
    let number = value_from_json(number).ok()?;
    Money::new(currency, &number)
        .ok()
        .map(|money| money.to_value())
}

/// The verdict of a decision by name.
pub(crate) fn verdict(decision: &pb::Decision) -> &'static str {
    match pb::Verdict::try_from(decision.verdict) {
        Ok(pb::Verdict::Allow) => "ALLOW",
        Ok(pb::Verdict::RequireApproval) => "REQUIRE_APPROVAL",
        // Whatever is not known is a refusal.
        _ => "DENY",
    }
}

pub(crate) fn describe(decision: &pb::Decision) -> String {
    let id = decision.name.rsplit('/').next().unwrap_or_default();
    let said = [decision.reason_code.as_str(), decision.message.as_str()];
    let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
    let mut text = format!("{} {id}", verdict(decision));
    if !said.is_empty() {
        text.push_str(&format!("  {}", said.join(" ")));
    }
    if !decision.rule_ids.is_empty() {
        text.push_str(&format!("\n  rules: {}", decision.rule_ids.join(", ")));
    }
    if !decision.remedy.is_empty() {
        text.push_str(&format!("\n  {}", decision.remedy));
    }
    if let Some(offer) = &decision.counter_offer {
        let args = offer.call.as_ref().map(offered_args).unwrap_or_default();
        text.push_str(&format!("\n  instead: {}: {args}", offer.sentence));
    }
    text
}

fn offered_args(call: &pb::ActionCall) -> String {
    match &call.arguments {
        Some(pb::action_call::Arguments::ArgsJson(args)) => args.clone(),
        Some(pb::action_call::Arguments::ArgsCbor(_)) | None => String::new(),
    }
}

const fn retry(decision: &pb::Decision) -> &'static str {
    match decision.retry {
        1 => "do_not",
        2 => "changed",
        3 => "later",
        _ => "",
    }
}

pub(crate) fn shown(decision: &pb::Decision) -> Json {
    json!({
        "name": decision.name,
        "verdict": verdict(decision),
        "reason_code": decision.reason_code,
        "message": decision.message,
        "remedy": decision.remedy,
        "rules": decision.rule_ids,
        "policy_version": decision.policy_version,
        "request_hash": hex::encode(&decision.request_hash),
        "args_cbor": hex::encode(&decision.args_cbor),
        "agent": decision.agent,
        "action": decision.action,
        "expires": decision.expire_time.as_ref().map(|at| at.seconds),
        "retry": retry(decision),
        "counter_offer": decision.counter_offer.as_ref().map(|offer| json!({
            "sentence": offer.sentence,
            "args": offer.call.as_ref().map(offered_args),
        })),
    })
}

/// What of a request the call must repeat, as flags of `connectord execute`.
fn as_given(args: &AuthorizeArgs) -> String {
    let mut flags = String::new();
    if args.dry_run {
        flags.push_str(" --dry-run");
    }
    if args.connection != CONNECTION {
        flags.push_str(&format!(" --connection {}", args.connection));
    }
    if !args.run.is_empty() {
        flags.push_str(&format!(" --run {}", args.run));
    }
    if let Some(version) = &args.precondition {
        flags.push_str(&format!(" --precondition {version}"));
    }
    flags
}

/// Where the writ is, how long it lives, and what comes next.
fn next(args: &AuthorizeArgs, decision: &pb::Decision) -> String {
    if decision.token.is_empty() {
        return String::new();
    }
    let expires = decision.expire_time.as_ref();
    let until = expires.and_then(|at| chrono::DateTime::from_timestamp(at.seconds, 0));
    let until = until.unwrap_or_default().format("%H:%M:%S UTC");
    match &args.token_out {
        None => {
            format!(
                "\n  The writ, valid until {until}, was not saved. Ask again with --token-out FILE \
                 --args-out FILE"
            )
        }
        Some(token) => {
            let (args_file, how) = match &args.args_out {
                Some(path) => (path.display().to_string(), ""),
                None => (
                    "FILE".to_owned(),
                    "\n  FILE holds the same arguments as a JSON object; ask with --args-out FILE to have it written",
                ),
            };
            let (tenant, agent) = (args.remote.tenant(), &decision.agent);
            format!(
                "\n  writ: {}, for agent {agent} of {tenant} and this one call, valid until {until}\n  next: connectord execute {} --target {} --token {} --args {args_file}{}{how}",
                token.display(),
                args.action,
                args.target,
                token.display(),
                as_given(args),
            )
        }
    }
}

fn code(decision: &pb::Decision) -> u8 {
    match verdict(decision) {
        "ALLOW" => 0,
        "REQUIRE_APPROVAL" => 11,
        _ => Reason::from_code(&decision.reason_code)
            .map(exit_code)
            .filter(|code| [12, 14].contains(code))
            .unwrap_or(10),
    }
}

pub(crate) async fn run(args: &AuthorizeArgs, output: Output) -> Result<u8, AppError> {
    let target = args.target.split_once('/').ok_or_else(|| {
        malformed(format!(
            "{} is not TYPE/ID, such as deal/D-105",
            args.target
        ))
    })?;
    let mode = if args.dry_run {
        pb::Mode::DryRun
    } else {
        pb::Mode::Execute
    };
    let call = pb::ActionCall {
        connection: args.connection.clone(),
        action: args.action.clone(),
        target: Some(pb::Target {
            r#type: target.0.to_owned(),
            id: target.1.to_owned(),
        }),
        mode: mode.into(),
        precondition: args.precondition.clone(),
        arguments: Some(pb::action_call::Arguments::ArgsCbor(
            arguments(args)?.encode(),
        )),
    };
    let request = pb::AuthorizeRequest {
        parent: args.remote.parent(),
        request_id: args
            .request_id
            .clone()
            .unwrap_or_else(|| ids::new_id().to_string()),
        validate_only: args.validate_only,
        call: Some(call),
        reason: args.reason.clone(),
        evidence: evidence(&quoted(args)?, &args.uncertain)?,
        confidence_percent: args.confidence,
        traceparent: String::new(),
        run_id: args.run.clone(),
        again: args.again,
        provenance: Some(provenance(args)?),
    };
    can_save(args)?;
    let mut client = AuthorizationServiceClient::new(args.remote.channel().await?);
    let answer = client.authorize(request).await.map_err(failed);
    let decision = match answer {
        Ok(answer) => answer.into_inner().decision.unwrap_or_default(),
        Err(error) => {
            // Why there is no decision matters more than what is left of an earlier one.
            drop(save(args, &pb::Decision::default()));
            return Err(error);
        }
    };
    save(args, &decision)?;
    let text = format!("{}{}", describe(&decision), next(args, &decision));
    output.line(&text, &shown(&decision));
    Ok(code(&decision))
}

/// Writes the files that were asked for, or removes what an earlier call left there: without a token it
/// must not be taken for one.
fn save(args: &AuthorizeArgs, decision: &pb::Decision) -> Result<(), AppError> {
    for (path, bytes) in [
        (&args.token_out, &decision.token),
        (&args.args_out, &decision.args_cbor),
    ] {
        let Some(path) = path else { continue };
        let written = if bytes.is_empty() {
            std::fs::remove_file(path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
        } else {
            std::fs::write(path, bytes)
        };
        written.map_err(|error| malformed(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_verdict_is_a_refusal() {
        for number in [0, 99, -1] {
            let decision = pb::Decision {
                verdict: number,
                ..pb::Decision::default()
            };
            assert_eq!(verdict(&decision), "DENY", "{number}");
            assert_ne!(code(&decision), 0);
        }
    }

    #[test]
    fn money_is_read_only_in_the_decimals_its_currency_has() {
        let as_json = |text: &str| money(text).map(|value| value.to_json());
        let expected = value_from_json(r#"{"currency":"EUR","value":49.00}"#).unwrap();
        assert_eq!(money("49.00 EUR"), Some(expected));
        for text in ["49.001 EUR", "49 XXQ", "EUR 49", "49", "4 9 EUR", "49 eur"] {
            assert_eq!(as_json(text), None, "{text}");
        }
    }
}
