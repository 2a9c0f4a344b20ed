//! `connectord wouldhave`: what dry runs would have done, for the one who promotes.

use clap::Subcommand;
use serde_json::json;
use tonic::transport::Channel;
use writ_proto::pb;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;

use super::executions::time;
use super::remote::{Remote, failed};
use crate::error::AppError;
use crate::output::Output;

/// Rows shown before a promotion.
const SHOWN_MAX: i32 = 20;

/// Reading and marking the would-have log.
#[derive(Debug, Subcommand)]
pub(super) enum WouldHaveCommand {
    /// Newest first: what policy said and what happened, side by side.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// Only this action.
        #[arg(long, default_value = "")]
        action: String,
        /// Only rows that are marked.
        #[arg(long)]
        surprise: bool,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: i32,
    },
    /// Mark a row as something nobody expected; promotion then asks twice.
    Mark {
        #[command(flatten)]
        remote: Remote,
        /// Execution id.
        id: String,
        /// Why it is one; empty takes the mark away.
        #[arg(long)]
        surprise: String,
    },
}

/// What happened in a dry run: never a write.
fn happened(row: &pb::Execution) -> String {
    match row.reason_code.as_str() {
        "" => "not written".to_owned(),
        code => format!("would be refused: {code}"),
    }
}

fn row_of(row: &pb::Execution, output: &Output) {
    let id = row.name.rsplit('/').next().unwrap_or_default();
    let what = if row.sentence.is_empty() {
        format!("would {} {}", row.action, row.message)
    } else {
        row.sentence.clone()
    };
    let mark = if row.surprise.is_empty() {
        String::new()
    } else {
        format!(" | marked as a surprise: {}", row.surprise)
    };
    let time = time(row).unwrap_or_default();
    let text = format!(
        "{id}  {time}  {what}  | policy said ALLOW | {}{mark}",
        happened(row)
    );
    let value = json!({"name": row.name, "time": time, "agent": row.agent, "action": row.action,
        "would_have": what, "policy_said": "ALLOW", "what_happened": happened(row),
        "surprise": row.surprise});
    output.line(&text, &value);
}

async fn rows(
    client: &mut ConnectorServiceClient<Channel>,
    (remote, action): (&Remote, &str),
    (limit, surprises): (i32, bool),
) -> Result<Vec<pb::Execution>, AppError> {
    let request = pb::ListExecutionsRequest {
        parent: remote.parent(),
        page_size: limit,
        action: action.to_owned(),
        mode: pb::Mode::DryRun.into(),
        surprises,
        ..pb::ListExecutionsRequest::default()
    };
    let answer = client.list_executions(request).await.map_err(failed)?;
    Ok(answer.into_inner().executions)
}

/// The newest rows of an action, as they are shown before it is promoted.
pub(super) async fn print(
    client: &mut ConnectorServiceClient<Channel>,
    remote: &Remote,
    action: &str,
    output: &Output,
) -> Result<(), AppError> {
    let rows = rows(client, (remote, action), (SHOWN_MAX, false)).await?;
    if !rows.is_empty() {
        output.line(
            &format!("dry runs of {action} so far; none has written anything:"),
            &json!({}),
        );
    }
    for row in &rows {
        row_of(row, output);
    }
    Ok(())
}

pub(super) async fn run(command: &WouldHaveCommand, output: &Output) -> Result<u8, AppError> {
    match command {
        WouldHaveCommand::Ls {
            remote,
            action,
            surprise,
            limit,
        } => {
            let mut client = ConnectorServiceClient::new(remote.channel().await?);
            for row in rows(&mut client, (remote, action), (*limit, *surprise)).await? {
                row_of(&row, output);
            }
        }
        WouldHaveCommand::Mark {
            remote,
            id,
            surprise,
        } => {
            let mut client = ConnectorServiceClient::new(remote.channel().await?);
            let request = pb::MarkSurpriseRequest {
                name: format!("{}/executions/{id}", remote.parent()),
                surprise: surprise.clone(),
            };
            let answer = client.mark_surprise(request).await.map_err(failed)?;
            row_of(&answer.into_inner().execution.unwrap_or_default(), output);
        }
    }
    Ok(0)
}
