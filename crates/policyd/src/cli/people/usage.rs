//! `policyd usage`: what a language model used, said by a reporter or by the agent itself.

use clap::Subcommand;
use serde_json::json;
use writ_proto::pb::budget_service_client::BudgetServiceClient;
use writ_proto::{Reason, pb};

use crate::cli::remote::{Remote, failed};
use crate::domain::budget::Unit;
use crate::error::AppError;
use crate::ids;
use crate::output::Output;

/// Usage of language models.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Add what was used since the last report.
    Report {
        #[command(flatten)]
        remote: Remote,
        /// The agent; the one of the certificate if absent.
        #[arg(long, default_value = "")]
        agent: String,
        /// Its run.
        #[arg(long, default_value = "")]
        run: String,
        /// Tokens.
        #[arg(long, default_value_t = 0)]
        tokens: u64,
        /// US dollars with at most six decimals.
        #[arg(long, default_value = "0")]
        usd: String,
        /// Own id of this report, to repeat it.
        #[arg(long)]
        request_id: Option<String>,
    },
}

pub(crate) async fn run(command: &UsageCommand, output: Output) -> Result<u8, AppError> {
    let UsageCommand::Report {
        remote,
        agent,
        run,
        tokens,
        usd,
        request_id,
    } = command;
    let bad = |why: String| AppError::new(Reason::RequestMalformed, format!("--usd: {why}"));
    let micros = Unit::MicroUsd.read(usd).map_err(bad)?;
    let own = || ids::new_id().to_string();
    let request = pb::ReportUsageRequest {
        parent: remote.parent(),
        request_id: request_id.clone().unwrap_or_else(own),
        agent: agent.clone(),
        run_id: run.clone(),
        tokens: *tokens,
        usd_micros: u64::try_from(micros).unwrap_or_default(),
    };
    let mut client = BudgetServiceClient::new(remote.channel().await?);
    let answer = client.report_usage(request).await.map_err(failed)?;
    let repeated = answer.into_inner().repeated_report;
    let text = if repeated {
        "counted earlier under this id"
    } else {
        "counted"
    };
    output.line(text, &json!({"counted": !repeated}));
    Ok(0)
}
