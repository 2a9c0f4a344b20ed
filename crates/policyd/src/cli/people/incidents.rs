//! `policyd incidents`: what agents were stopped for.

use clap::Subcommand;
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::incident_service_client::IncidentServiceClient;

use crate::cli::remote::{Remote, failed, nothing};
use crate::error::AppError;
use crate::output::Output;

/// Looking into incidents and closing them.
#[derive(Debug, Subcommand)]
pub(crate) enum IncidentsCommand {
    /// The newest incidents, newest first.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// Only those that are open.
        #[arg(long)]
        open: bool,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: i32,
    },
    /// One incident.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// Incident id.
        id: String,
    },
    /// Close an incident. The halt that it set stays.
    Close {
        #[command(flatten)]
        remote: Remote,
        /// Incident id.
        id: String,
        /// Why; kept in the record.
        #[arg(long)]
        reason: String,
    },
}

pub(crate) fn time(time: Option<prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| chrono::DateTime::from_timestamp(time.seconds, 0));
    time.map_or_else(String::new, |time| time.to_rfc3339())
}

fn state_of(incident: &pb::Incident) -> &'static str {
    match pb::IncidentState::try_from(incident.state) {
        Ok(pb::IncidentState::Open) => "open",
        Ok(pb::IncidentState::Closed) => "closed",
        Ok(pb::IncidentState::Unspecified) | Err(_) => "unknown",
    }
}

fn halt_of(incident: &pb::Incident) -> &'static str {
    match pb::IncidentHalt::try_from(incident.halt) {
        Ok(pb::IncidentHalt::None) => "no halt",
        Ok(pb::IncidentHalt::Wanted) => "halt wanted",
        Ok(pb::IncidentHalt::Set) => "halt set",
        Ok(pb::IncidentHalt::Unspecified) | Err(_) => "halt unknown",
    }
}

fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

fn describe(incident: &pb::Incident) -> String {
    let mut text = format!(
        "{} {}  {}  agent {}  action {}  {} denials in {} s by {}  {}  {}",
        time(incident.open_time),
        id_of(&incident.name),
        state_of(incident),
        incident.agent,
        incident.action,
        incident.denials,
        incident.window_seconds,
        incident.rule,
        incident.reason_codes.join(", "),
        halt_of(incident),
    );
    if !incident.closed_by.is_empty() {
        let when = time(incident.close_time);
        let (by, why) = (&incident.closed_by, &incident.close_reason);
        text.push_str(&format!("\n  closed {when} by {by}: {why}"));
    }
    text
}

fn shown(incident: &pb::Incident) -> Json {
    json!({
        "name": incident.name,
        "state": state_of(incident),
        "agent": incident.agent,
        "action": incident.action,
        "rule": incident.rule,
        "denials": incident.denials,
        "window_seconds": incident.window_seconds,
        "reason_codes": incident.reason_codes,
        "opened": time(incident.open_time),
        "halt": halt_of(incident),
        "closed": time(incident.close_time),
        "closed_by": incident.closed_by,
        "close_reason": incident.close_reason,
    })
}

/// What is left to do, for people: closing resumes nothing.
fn resume(incident: &pb::Incident) -> String {
    let (agent, halt) = (&incident.agent, pb::IncidentHalt::try_from(incident.halt));
    match halt {
        Ok(pb::IncidentHalt::Set) => {
            format!(
                "\n  agent {agent} stays halted. To resume it: connectord halt off --scope agent:{agent} --reason WHY --cert OPERATOR_CERT"
            )
        }
        _ => String::new(),
    }
}

pub(crate) async fn run(command: &IncidentsCommand, output: Output) -> Result<u8, AppError> {
    match command {
        IncidentsCommand::Ls {
            remote,
            open,
            limit,
        } => {
            let mut client = IncidentServiceClient::new(remote.channel().await?);
            let request = pb::ListIncidentsRequest {
                parent: remote.parent(),
                page_size: *limit,
            };
            let answer = client.list_incidents(request).await.map_err(failed)?;
            for incident in answer.into_inner().incidents {
                if !open || state_of(&incident) == "open" {
                    output.line(&describe(&incident), &shown(&incident));
                }
            }
        }
        IncidentsCommand::Show { remote, id } => {
            let mut client = IncidentServiceClient::new(remote.channel().await?);
            let name = format!("{}/incidents/{id}", remote.parent());
            let request = pb::GetIncidentRequest { name };
            let answer = client.get_incident(request).await;
            let answer = answer.map_err(|status| {
                nothing(failed(status), ("incident", id), "policyd incidents ls")
            })?;
            let incident = answer.into_inner().incident.unwrap_or_default();
            let text = format!("{}{}", describe(&incident), resume(&incident));
            output.line(&text, &shown(&incident));
        }
        IncidentsCommand::Close { remote, id, reason } => {
            let mut client = IncidentServiceClient::new(remote.channel().await?);
            let request = pb::CloseIncidentRequest {
                name: format!("{}/incidents/{id}", remote.parent()),
                reason: reason.clone(),
            };
            let answer = client.close_incident(request).await;
            let answer = answer.map_err(|status| {
                nothing(failed(status), ("incident", id), "policyd incidents ls")
            })?;
            let incident = answer.into_inner().incident.unwrap_or_default();
            let text = format!("{}{}", describe(&incident), resume(&incident));
            output.line(&text, &shown(&incident));
        }
    }
    Ok(0)
}
