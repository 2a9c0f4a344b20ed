//! `connectord actions`.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;

use super::output::Output;
use super::remote::{Remote, failed};
use crate::app::AppError;

/// Reading and moving actions.
#[derive(Debug, Subcommand)]
pub(super) enum ActionsCommand {
    /// What agents of the tenant may ask for.
    Ls(Remote),
    /// One action.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// Its name.
        action: String,
    },
    /// One step further: suggest, dry_run, live.
    Promote(Move),
    /// One step back.
    Demote(Move),
}

/// Which action, and why.
#[derive(Debug, Args)]
pub(super) struct Move {
    #[command(flatten)]
    remote: Remote,
    /// Its name.
    action: String,
    /// Why; recorded.
    #[arg(long)]
    reason: String,
}

const STEPS: [pb::Rollout; 3] = [pb::Rollout::Suggest, pb::Rollout::DryRun, pb::Rollout::Live];

fn rollout(action: &pb::Action) -> &'static str {
    match pb::Rollout::try_from(action.rollout) {
        Ok(pb::Rollout::Suggest) => "suggest",
        Ok(pb::Rollout::DryRun) => "dry_run",
        Ok(pb::Rollout::Live) => "live",
        Ok(pb::Rollout::Unspecified) | Err(_) => "unknown",
    }
}

fn describe(action: &pb::Action) -> String {
    format!(
        "{:<20} {:<14} fields: {:<16} tier: {:<12} rollout: {:<8} owner: {}\n  {}",
        action.name,
        action.connection,
        action.fields.join(","),
        action.tier,
        rollout(action),
        action.owner,
        action.sentence
    )
}

fn shown(action: &pb::Action) -> Json {
    json!({"name": action.name, "sentence": action.sentence, "connection": action.connection,
        "verb": action.verb, "target": action.target_type, "tier": action.tier, "risk": action.risk,
        "owner": action.owner, "rollout": rollout(action), "fields": action.fields, "undo": action.undo})
}

async fn get(remote: &Remote, name: &str) -> Result<pb::Action, AppError> {
    let name = format!("{}/actions/{name}", remote.parent());
    let mut client = ConnectorServiceClient::new(remote.channel().await?);
    let answer = client
        .get_action(pb::GetActionRequest { name })
        .await
        .map_err(failed)?;
    Ok(answer.into_inner().action.unwrap_or_default())
}

async fn shift(args: &Move, forward: bool, output: &Output) -> Result<u8, AppError> {
    let action = get(&args.remote, &args.action).await?;
    let at = STEPS
        .iter()
        .position(|step| i32::from(*step) == action.rollout)
        .unwrap_or(0);
    let to = if forward {
        at.saturating_add(1).min(2)
    } else {
        at.saturating_sub(1)
    };
    let wanted = STEPS.get(to).copied().unwrap_or(pb::Rollout::Suggest);
    let request = pb::SetActionRolloutRequest {
        name: format!("{}/actions/{}", args.remote.parent(), args.action),
        rollout: wanted.into(),
        reason: args.reason.clone(),
    };
    let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
    let answer = client
        .set_action_rollout(request)
        .await
        .map_err(failed)?
        .into_inner();
    let after = answer.action.unwrap_or_default();
    let (was, is) = (rollout(&action), rollout(&after));
    let text = format!("{} {was} -> {is} for {}", args.action, args.remote.tenant);
    output.line(&text, &json!({"action": args.action, "was": was, "is": is}));
    Ok(0)
}

pub(super) async fn run(command: &ActionsCommand, output: &Output) -> Result<u8, AppError> {
    match command {
        ActionsCommand::Ls(remote) => {
            let mut client = ConnectorServiceClient::new(remote.channel().await?);
            let request = pb::ListActionsRequest {
                parent: remote.parent(),
            };
            let answer = client
                .list_actions(request)
                .await
                .map_err(failed)?
                .into_inner();
            for action in &answer.actions {
                output.line(&describe(action), &shown(action));
            }
            Ok(0)
        }
        ActionsCommand::Show { remote, action } => {
            let action = get(remote, action).await?;
            let text = format!("{}\n  undo: {}", describe(&action), action.undo);
            output.line(&text, &shown(&action));
            Ok(0)
        }
        ActionsCommand::Promote(args) => shift(args, true, output).await,
        ActionsCommand::Demote(args) => shift(args, false, output).await,
    }
}
