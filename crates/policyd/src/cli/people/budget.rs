//! `policyd budget`: what may be used up, how it stands, and raising it for a time.

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde_json::{Value as Json, json};
use writ_proto::duration::seconds_of;
use writ_proto::pb::budget_service_client::BudgetServiceClient;
use writ_proto::{Reason, pb};

use crate::cli::remote::{Remote, failed, nothing};
use crate::error::AppError;
use crate::output::Output;
use crate::{clock, ids};

/// Budgets.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Budgets and how they stand: an operator sees all that are in use, an agent its own.
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// One budget.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// Its id.
        id: String,
        /// Whose, as in the list: agent:NAME, customer:ID, run:AGENT:RUN.
        #[arg(long, default_value = "")]
        subject: String,
    },
    /// Make a cap higher for a time; it ends by itself.
    Raise {
        #[command(flatten)]
        remote: Remote,
        /// Its id.
        id: String,
        /// By how much, in the unit of the budget.
        #[arg(long)]
        by: String,
        /// Until when: RFC 3339, or from now on such as 4h; at most 7d.
        #[arg(long)]
        until: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Whose, as in the list; everybody's if absent.
        #[arg(long, default_value = "")]
        subject: String,
        /// Own id of this request, to repeat it.
        #[arg(long)]
        request_id: Option<String>,
    },
}

fn moment(text: &str) -> Result<DateTime<Utc>, AppError> {
    let from_now = seconds_of(text)
        .ok()
        .and_then(|seconds| clock::now().checked_add_signed(TimeDelta::seconds(seconds.into())));
    let named = || {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|moment| moment.to_utc())
    };
    from_now.or_else(named).ok_or_else(|| {
        let message = format!("--until {text}: RFC 3339, or a time from now on such as 4h");
        AppError::new(Reason::RequestMalformed, message)
    })
}

pub(crate) async fn run(command: &BudgetCommand, output: Output) -> Result<u8, AppError> {
    match command {
        BudgetCommand::Ls { remote } => {
            let mut client = BudgetServiceClient::new(remote.channel().await?);
            let request = pb::ListBudgetsRequest {
                parent: remote.parent(),
            };
            let answer = client.list_budgets(request).await.map_err(failed)?;
            let pb::ListBudgetsResponse { budgets, truncated } = answer.into_inner();
            for budget in &budgets {
                output.line(&describe(budget), &shown(budget));
            }
            if truncated {
                output.line("... and more", &json!({"truncated": true}));
            }
        }
        BudgetCommand::Show {
            remote,
            id,
            subject,
        } => {
            let mut client = BudgetServiceClient::new(remote.channel().await?);
            let request = pb::GetBudgetRequest {
                name: format!("{}/budgets/{id}", remote.parent()),
                subject: subject.clone(),
            };
            let answer = client.get_budget(request).await;
            let answer = answer
                .map_err(|status| nothing(failed(status), ("budget", id), "policyd budget ls"))?;
            let budget = answer.into_inner().budget.unwrap_or_default();
            output.line(&describe(&budget), &shown(&budget));
        }
        BudgetCommand::Raise {
            remote,
            id,
            by,
            until,
            reason,
            subject,
            request_id,
        } => {
            let until = moment(until)?;
            let mut client = BudgetServiceClient::new(remote.channel().await?);
            let own = || ids::new_id().to_string();
            let request = pb::RaiseBudgetRequest {
                name: format!("{}/budgets/{id}", remote.parent()),
                request_id: request_id.clone().unwrap_or_else(own),
                subject: subject.clone(),
                amount: by.clone(),
                until: Some(prost_types::Timestamp {
                    seconds: until.timestamp(),
                    nanos: 0,
                }),
                reason: reason.clone(),
            };
            let answer = client.raise_budget(request).await;
            let answer = answer
                .map_err(|status| nothing(failed(status), ("budget", id), "policyd budget ls"))?;
            let budget = answer.into_inner().budget.unwrap_or_default();
            output.line(&describe(&budget), &shown(&budget));
        }
    }
    Ok(0)
}

fn resets(budget: &pb::Budget) -> String {
    let moment = budget.reset_time.as_ref();
    let moment = moment.and_then(|time| DateTime::from_timestamp(time.seconds, 0));
    moment.map_or_else(String::new, |moment| {
        moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    })
}

fn describe(budget: &pb::Budget) -> String {
    let id = budget.name.rsplit('/').next().unwrap_or_default();
    let subject = match budget.subject.as_str() {
        "" => &budget.scope,
        subject => subject,
    };
    let what = format!("{} {}", budget.measure, budget.unit);
    let mut text = format!(
        "{id:<24} {subject:<28} {:<14} {:<5}",
        what.trim_end(),
        budget.window
    );
    if let Some(figures) = &budget.figures {
        text.push_str(&format!(
            " limit {}  spent {}  held {}  left {}",
            figures.limit, figures.spent, figures.held, figures.remaining
        ));
        if figures.limit_kind == "spike" {
            text.push_str("  (spike)");
        }
        if figures
            .raised
            .chars()
            .any(|digit| ('1'..='9').contains(&digit))
        {
            text.push_str(&format!("  raised by {}", figures.raised));
        }
    }
    let resets = resets(budget);
    if !resets.is_empty() {
        text.push_str(&format!("  resets {resets}"));
    }
    text
}

fn shown(budget: &pb::Budget) -> Json {
    let figures = budget.figures.as_ref().map(|figures| {
        json!({"limit": figures.limit, "raised": figures.raised, "held": figures.held,
            "spent": figures.spent, "remaining": figures.remaining,
            "limit_kind": figures.limit_kind, "max": figures.max})
    });
    json!({"name": budget.name, "scope": budget.scope, "subject": budget.subject,
        "measure": budget.measure, "unit": budget.unit, "window": budget.window,
        "actions": budget.actions, "figures": figures, "resets": resets(budget),
        "halts": budget.halts})
}
