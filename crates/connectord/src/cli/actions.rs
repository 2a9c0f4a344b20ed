//! `connectord actions`.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use writ_proto::card::Verb;
use writ_proto::pb;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;

use super::executions::span;
use super::remote::{Remote, failed};
use super::wouldhave;
use crate::clock;
use crate::error::AppError;
use crate::output::{Output, plural};

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
    /// One step further: suggest, dry_run, pilot where the card has one, live.
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
    /// Only for so long, such as 2h: then it goes back to dry run by itself.
    #[arg(long = "until", value_name = "DURATION")]
    until: Option<String>,
    /// Promote although rows of the would-have log are marked as surprises.
    #[arg(long)]
    accept_surprises: bool,
    /// Promote although nobody has seen a dry run since it was last moved.
    #[arg(long)]
    accept_unseen: bool,
}

const STEPS: [pb::Rollout; 4] = [
    pb::Rollout::Suggest,
    pb::Rollout::DryRun,
    pb::Rollout::Pilot,
    pb::Rollout::Live,
];

fn rollout(action: &pb::Action) -> &'static str {
    match pb::Rollout::try_from(action.rollout) {
        Ok(pb::Rollout::Suggest) => "suggest",
        Ok(pb::Rollout::DryRun) => "dry_run",
        Ok(pb::Rollout::Pilot) => "pilot",
        Ok(pb::Rollout::Live) => "live",
        Ok(pb::Rollout::Unspecified) | Err(_) => "unknown",
    }
}

fn until(action: &pb::Action) -> Option<String> {
    let until = action.rollout_until.as_ref()?;
    let until = chrono::DateTime::from_timestamp(until.seconds, 0)?;
    Some(until.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Who can take back what an action does, by its tier.
fn undone_by(action: &pb::Action) -> &'static str {
    match action.tier.as_str() {
        _ if Verb::from_name(&action.verb).is_some_and(Verb::reads) => "-",
        "reversible" => "by Writ",
        "compensable" => "by a person",
        _ => "by nobody",
    }
}

fn describe(action: &pb::Action) -> String {
    let fields = match action.fields.as_slice() {
        [] => "none".to_owned(),
        fields => fields.join(","),
    };
    format!(
        "{:<20} {:<14} fields: {:<16} undo: {:<12} rollout: {:<8}{} owner: {}\n  {}",
        action.name,
        action.connection,
        fields,
        undone_by(action),
        rollout(action),
        until(action).map_or_else(String::new, |until| format!(" until {until}")),
        action.owner,
        action.sentence
    ) + &pending(action)
}

/// What waits for a promotion, and what keeps the action from running at all.
fn pending(action: &pb::Action) -> String {
    let mut text = String::new();
    for line in &action.pending {
        text.push_str(&format!("\n  since it was promoted, {line}"));
    }
    if !action.problem.is_empty() {
        text.push_str(&format!("\n  CANNOT RUN: {}", action.problem));
    }
    text
}

fn shown(action: &pb::Action) -> Json {
    json!({"name": action.name, "sentence": action.sentence, "connection": action.connection,
        "verb": action.verb, "target": action.target_type, "tier": action.tier, "risk": action.risk,
        "owner": action.owner, "rollout": rollout(action), "rollout_until": until(action),
        "pending": action.pending, "problem": action.problem, "fields": action.fields, "undo": action.undo, "pilot": action.pilot.as_ref().map(|pilot| json!({
            "records_per_day": pilot.records_per_day, "fields_per_record": pilot.fields_per_record,
            "widen_seconds": pilot.widen_seconds, "widen_records": pilot.widen_records}))})
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

/// A moment so long from now.
fn ahead(text: &str) -> Result<prost_types::Timestamp, AppError> {
    let seconds = span(text, "--until")?;
    Ok(prost_types::Timestamp {
        seconds: clock::now().timestamp().saturating_add(seconds),
        nanos: 0,
    })
}

/// The step after or before the one where an action is. Only a card with a pilot has that step.
fn next(action: &pb::Action, forward: bool) -> pb::Rollout {
    let steps = STEPS
        .into_iter()
        .filter(|step| *step != pb::Rollout::Pilot || action.pilot.is_some());
    let steps: Vec<pb::Rollout> = steps.collect();
    let at = steps
        .iter()
        .position(|step| i32::from(*step) == action.rollout)
        .unwrap_or(0);
    let to = if forward {
        at.saturating_add(1).min(steps.len().saturating_sub(1))
    } else {
        at.saturating_sub(1)
    };
    steps.get(to).copied().unwrap_or(pb::Rollout::Suggest)
}

/// The limits of a pilot, for people.
fn pilot(action: &pb::Action) -> Option<String> {
    let pilot = action.pilot.as_ref()?;
    let widens = if pilot.widen_seconds == 0 {
        "an operator widens it".to_owned()
    } else {
        format!(
            "live after {} calm hours with {} records",
            pilot.widen_seconds.div_ceil(3_600),
            pilot.widen_records
        )
    };
    Some(format!(
        "{} records a day, {} fields at a time, {widens}",
        pilot.records_per_day, pilot.fields_per_record
    ))
}

/// What was in view when an action was moved on.
fn looked_at(rows: i32, marked: i32) -> String {
    let counted = plural(usize::try_from(rows).unwrap_or(usize::MAX), "dry run");
    let odd = match marked {
        0 => String::new(),
        marked => format!(", {marked} marked as a surprise"),
    };
    format!(". It had {counted} before{odd}")
}

async fn shift(args: &Move, forward: bool, output: &Output) -> Result<u8, AppError> {
    let action = get(&args.remote, &args.action).await?;
    // What is pending is promoted where the action is: a step further would be another promotion.
    let wanted = if forward && !action.pending.is_empty() {
        pb::Rollout::try_from(action.rollout).unwrap_or(pb::Rollout::Live)
    } else {
        next(&action, forward)
    };
    if forward && output.is_table() {
        for line in &action.pending {
            output.line(&format!("since it was promoted, {line}"), &Json::Null);
        }
    }
    let request = pb::SetActionRolloutRequest {
        name: format!("{}/actions/{}", args.remote.parent(), args.action),
        rollout: wanted.into(),
        reason: args.reason.clone(),
        until: args.until.as_deref().map(ahead).transpose()?,
        accept_surprises: args.accept_surprises,
        accept_unseen: args.accept_unseen,
        card_digest: action.card_digest.clone(),
    };
    let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
    if forward && output.is_table() {
        wouldhave::print(&mut client, &args.remote, &args.action, output).await?;
    }
    let answer = client
        .set_action_rollout(request)
        .await
        .map_err(failed)?
        .into_inner();
    let after = answer.action.unwrap_or_default();
    let (was, is) = (rollout(&action), rollout(&after));
    let (rows, marked) = (answer.would_have_rows, answer.surprises);
    let end = until(&after).map_or_else(String::new, |until| format!(" until {until}"));
    let begins = forward && action.rollout == i32::from(pb::Rollout::DryRun);
    let unseen = if rows == 0 && begins {
        "; nobody has seen what it would have done"
    } else {
        ""
    };
    if answer.unchanged {
        let text = format!(
            "{} is {is} already for {}; nothing was changed",
            args.action,
            args.remote.tenant()
        );
        output.line(
            &text,
            &json!({"action": args.action, "is": is, "unchanged": true}),
        );
        return Ok(0);
    }
    let seen = if forward {
        looked_at(rows, marked)
    } else {
        String::new()
    };
    let (name, tenant) = (&args.action, args.remote.tenant());
    let text = format!("{name} is now {is} for {tenant} ({was} -> {is}{end}){seen}{unseen}");
    let value = json!({"action": args.action, "was": was, "is": is, "until": until(&after),
        "would_have_rows": rows, "surprises": marked, "pending": action.pending});
    output.line(&text, &value);
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
            for problem in &answer.problems {
                output.line(&format!("PROBLEM {problem}"), &json!({"problem": problem}));
            }
            Ok(0)
        }
        ActionsCommand::Show { remote, action } => {
            let action = get(remote, action).await?;
            let pilot =
                pilot(&action).map_or_else(String::new, |pilot| format!("\n  pilot: {pilot}"));
            let text = format!("{}\n  undo: {}{pilot}", describe(&action), action.undo);
            output.line(&text, &shown(&action));
            Ok(0)
        }
        ActionsCommand::Promote(args) => shift(args, true, output).await,
        ActionsCommand::Demote(args) => shift(args, false, output).await,
    }
}
