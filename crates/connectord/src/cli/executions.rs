//! `connectord executions`.

use clap::Subcommand;
use serde_json::{Value as Json, json};
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::{Reason, pb};

use super::remote::{Remote, failed};
use crate::clock;
use crate::error::AppError;
use crate::output::Output;

/// Reading executions.
#[derive(Debug, Subcommand)]
pub(super) enum ExecutionsCommand {
    /// Newest first.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// Only this run.
        #[arg(long, default_value = "")]
        run: String,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: i32,
        /// Only those in doubt, and those that wait for a person to look.
        #[arg(long)]
        in_doubt: bool,
        /// Only this action.
        #[arg(long, default_value = "")]
        action: String,
        /// Only this agent.
        #[arg(long, default_value = "")]
        agent: String,
        /// Only this record, such as `deal/D-104`.
        #[arg(long, default_value = "")]
        target: String,
        /// Only those of the last so many minutes or hours, such as 15m.
        #[arg(long)]
        since: Option<String>,
    },
    /// Says what became of an execution in doubt, after you looked in the system itself; recorded.
    #[command(group = clap::ArgGroup::new("seen").required(true))]
    Settle {
        #[command(flatten)]
        remote: Remote,
        /// Execution id.
        id: String,
        /// The system was changed.
        #[arg(long, group = "seen")]
        applied: bool,
        /// The system was not changed.
        #[arg(long, group = "seen")]
        not_applied: bool,
        /// What you saw; recorded.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// One execution with before and after.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// Execution id.
        id: String,
    },
}

fn state_name(state: i32) -> &'static str {
    let state = pb::ExecutionState::try_from(state).unwrap_or(pb::ExecutionState::Unspecified);
    state
        .as_str_name()
        .strip_prefix("EXECUTION_STATE_")
        .unwrap_or("UNSPECIFIED")
}

fn side(value: Option<&String>) -> &str {
    value.map_or("empty", String::as_str)
}

/// One field before and after, for people.
pub(super) fn changed(change: &pb::FieldChange) -> String {
    let (before, after) = (
        side(change.before_json.as_ref()),
        side(change.after_json.as_ref()),
    );
    format!("{}: {before} -> {after}", change.field)
}

/// When it was made.
pub(super) fn time(execution: &pb::Execution) -> Option<String> {
    let time = execution.create_time.as_ref()?;
    let time = chrono::DateTime::from_timestamp(time.seconds, 0)?;
    Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// One execution in a few lines.
pub(super) fn describe(execution: &pb::Execution) -> String {
    let id = execution.name.rsplit('/').next().unwrap_or_default();
    let mode = if execution.mode == i32::from(pb::Mode::Execute) {
        "live"
    } else {
        "dry run"
    };
    // What did not come to a plan has no sentence.
    let what = if execution.sentence.is_empty() {
        let target = execution.target.clone().unwrap_or_default();
        format!("{} {}/{}", execution.action, target.r#type, target.id)
    } else {
        let written = if execution.wrote { "written: " } else { "" };
        format!("{written}{}", execution.sentence)
    };
    let mut text = format!(
        "{id}  {}  {}  {mode}  {}  {what}",
        time(execution).unwrap_or_default(),
        execution.agent,
        state_name(execution.state),
    );
    for change in &execution.changes {
        let line = changed(change);
        // Most sentences say it all.
        if !execution.sentence.contains(&line.replacen(": ", " ", 1)) {
            text.push_str(&format!("\n  {line}"));
        }
    }
    for change in &execution.collateral {
        text.push_str(&format!("\n  also changed {}", changed(change)));
    }
    if !execution.reason_code.is_empty() {
        text.push_str(&format!(
            "\n  {} {}",
            execution.reason_code, execution.message
        ));
    } else if !execution.message.is_empty() {
        text.push_str(&format!("\n  noted: {}", execution.message));
    }
    if execution.unprotected_ms > 0 {
        let window = execution.unprotected_ms;
        text.push_str(&format!("\n  the system has no versions: for {window} ms an edit of others could be replaced unseen"));
    }
    for request in &execution.requests {
        text.push_str(&format!("\n  would send {request}"));
    }
    if !execution.undone_by.is_empty() {
        text.push_str(&format!("\n  undone; the undo is {}", execution.undone_by));
    }
    text
}

/// One execution as it was found later, when its undo should be signed.
fn looked_up(execution: &pb::Execution) -> String {
    let mut text = describe(execution);
    let until = execution.undo_expire_time.as_ref().map(|at| at.seconds);
    let open = until.is_some_and(|until| until >= clock::now().timestamp());
    let stands = open && execution.undone_by.is_empty();
    if stands && !execution.undo_signed {
        text.push_str("\n  UNDO_NOT_SIGNED: policyd has not signed its undo");
    }
    text
}

pub(super) fn changes(changes: &[pb::FieldChange]) -> Vec<Json> {
    let convert = |change: &pb::FieldChange| json!({"field": change.field, "before": change.before_json, "after": change.after_json});
    changes.iter().map(convert).collect()
}

/// One execution as JSON.
pub(super) fn shown(execution: &pb::Execution) -> Json {
    json!({
        "name": execution.name,
        "time": time(execution),
        "live": execution.mode == i32::from(pb::Mode::Execute),
        "surprise": execution.surprise,
        "state": state_name(execution.state),
        "wrote": execution.wrote,
        "sentence": execution.sentence,
        "changes": changes(&execution.changes),
        "collateral": changes(&execution.collateral),
        "reason_code": execution.reason_code,
        "message": execution.message,
        "decision": execution.decision_id,
        "agent": execution.agent,
        "action": execution.action,
        "run": execution.run_id,
        "undone_by": execution.undone_by,
        "undo_signed": execution.undo_signed,
        "created_id": execution.created_id,
        "seen_other": execution.seen_other,
        "unprotected_ms": execution.unprotected_ms,
        "settled_by": execution.settled_by,
        "requests": execution.requests,
    })
}

/// The id of a record that is written with or without its type. An empty one would mean every record.
pub(super) fn id_of(record: &str) -> Result<&str, AppError> {
    match record.split_once('/') {
        Some((kind, id)) if kind.is_empty() || id.is_empty() => {
            let message = format!("--target {record}: write it as TYPE/ID, such as deal/D-104");
            Err(AppError::new(Reason::RequestMalformed, message))
        }
        Some((_, id)) => Ok(id),
        None => Ok(record),
    }
}

/// The id at the end of whatever a list printed.
fn last(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or_default()
}

async fn settle(
    remote: &Remote,
    (id, applied, reason): (&str, bool, &str),
    output: &Output,
) -> Result<(), AppError> {
    let request = pb::SettleExecutionRequest {
        name: format!("{}/executions/{}", remote.parent(), last(id)),
        applied,
        reason: reason.to_owned(),
    };
    let mut client = ConnectorServiceClient::new(remote.channel().await?);
    let answer = client.settle_execution(request).await.map_err(failed)?;
    let execution = answer.into_inner().execution.unwrap_or_default();
    output.line(&describe(&execution), &shown(&execution));
    Ok(())
}

/// Prints the executions of some states, of one kind of record where one is meant.
async fn list(
    remote: &Remote,
    (request, wanted, kind): (
        &pb::ListExecutionsRequest,
        &[pb::ExecutionState],
        Option<&str>,
    ),
    output: &Output,
) -> Result<(), AppError> {
    let mut client = ConnectorServiceClient::new(remote.channel().await?);
    let mut count = 0_usize;
    for state in wanted {
        let request = pb::ListExecutionsRequest {
            state: (*state).into(),
            ..request.clone()
        };
        let answer = client.list_executions(request).await;
        let found = answer.map_err(failed)?.into_inner().executions;
        let is = |one: &&pb::Execution| {
            let own = one.target.as_ref().map(|target| target.r#type.as_str());
            kind.is_none() || kind == own
        };
        for execution in found.iter().filter(is) {
            output.line(&looked_up(execution), &shown(execution));
            count = count.saturating_add(1);
        }
    }
    if count == 0 {
        output.note("no execution matches");
    }
    Ok(())
}

pub(super) async fn run(command: &ExecutionsCommand, output: &Output) -> Result<u8, AppError> {
    match command {
        ExecutionsCommand::Ls {
            remote,
            run,
            limit,
            in_doubt,
            action,
            agent,
            target,
            since,
        } => {
            use pb::ExecutionState as State;
            let wanted: &[State] = if *in_doubt {
                &[State::Human, State::InDoubt]
            } else {
                &[State::Unspecified]
            };
            let request = pb::ListExecutionsRequest {
                parent: remote.parent(),
                page_size: *limit,
                page_token: String::new(),
                run_id: run.clone(),
                action: action.clone(),
                agent: agent.clone(),
                target_id: id_of(target)?.to_owned(),
                since: since.as_deref().map(self::since).transpose()?,
                ..pb::ListExecutionsRequest::default()
            };
            let kind = target.split_once('/').map(|(kind, _)| kind);
            list(remote, (&request, wanted, kind), output).await?;
        }
        ExecutionsCommand::Settle {
            remote,
            id,
            applied,
            not_applied: _,
            reason,
        } => settle(remote, (id, *applied, reason), output).await?,
        ExecutionsCommand::Show { remote, id } => {
            let name = format!("{}/executions/{}", remote.parent(), last(id));
            let mut client = ConnectorServiceClient::new(remote.channel().await?);
            let request = pb::GetExecutionRequest { name };
            let answer = client
                .get_execution(request)
                .await
                .map_err(failed)?
                .into_inner();
            let execution = answer.execution.unwrap_or_default();
            output.line(&looked_up(&execution), &shown(&execution));
        }
    }
    Ok(0)
}

/// Seconds of a text such as 15m, 2h or 7d.
pub(super) fn span(text: &str, flag: &str) -> Result<i64, AppError> {
    let refuse = || {
        AppError::new(
            Reason::RequestMalformed,
            format!("{flag} {text}: write a time such as 15m, 2h or 7d"),
        )
    };
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(refuse)?;
    let unit: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refuse()),
    };
    let seconds = number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(refuse)
}

pub(super) fn since(text: &str) -> Result<prost_types::Timestamp, AppError> {
    let seconds = clock::now()
        .timestamp()
        .saturating_sub(span(text, "--since")?);
    Ok(prost_types::Timestamp { seconds, nanos: 0 })
}
