//! `policyd decisions`: one decision, or the newest of a tenant from its log.

use std::collections::VecDeque;

use clap::Subcommand;
use serde_json::json;
use writ_proto::limits::PAGE_SIZE_MAX;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::{Reason, pb};

use crate::cli::people::authorize::{describe, shown};
use crate::cli::people::records;
use crate::cli::remote::{Remote, failed, nothing};
use crate::error::AppError;
use crate::output::Output;

const LIMIT_DEFAULT: usize = 50;
/// Name of the records that are decisions.
const EVALUATED: &str = "evaluated";

/// Reading decisions.
#[derive(Debug, Subcommand)]
pub(crate) enum DecisionsCommand {
    /// One decision.
    #[command(visible_alias = "get")]
    Show {
        #[command(flatten)]
        remote: Remote,
        /// Decision id.
        id: String,
    },
    /// The newest decisions, oldest of them first. For operators.
    Ls(LsArgs),
}

/// Which decisions.
#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    remote: Remote,
    /// Only with this verdict.
    #[arg(long, ignore_case = true, value_parser = ["ALLOW", "DENY", "REQUIRE_APPROVAL"])]
    verdict: Option<String>,
    /// Only of this action.
    #[arg(long)]
    action: Option<String>,
    /// Only about this record, such as `deal/D-104`.
    #[arg(long)]
    target: Option<String>,
    /// Only of this agent.
    #[arg(long)]
    agent: Option<String>,
    /// Only those that this rule decided.
    #[arg(long)]
    rule: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = LIMIT_DEFAULT)]
    limit: usize,
}

impl LsArgs {
    fn wants(&self, record: &pb::Record) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        let target = self.target.as_ref();
        record.kind == EVALUATED
            && is(&self.verdict, &record.verdict)
            && is(&self.agent, &record.agent)
            && is(&self.action, &record.action)
            && target.is_none_or(|target| *target == records::target_of(record))
            && self
                .rule
                .as_ref()
                .is_none_or(|rule| record.rule_ids.contains(rule))
    }
}

pub(crate) async fn run(command: &DecisionsCommand, output: Output) -> Result<u8, AppError> {
    match command {
        DecisionsCommand::Show { remote, id } => get(remote, id, output).await,
        DecisionsCommand::Ls(args) => list(args, output).await,
    }
}

async fn get(remote: &Remote, id: &str, output: Output) -> Result<u8, AppError> {
    let id = id.rsplit('/').next().unwrap_or_default();
    let name = format!("{}/decisions/{id}", remote.parent());
    let mut client = AuthorizationServiceClient::new(remote.channel().await?);
    let answer = client
        .get_decision(pb::GetDecisionRequest { name })
        .await
        .map_err(|status| nothing(failed(status), ("decision", id), "policyd decisions ls"))?;
    let decision = answer.into_inner().decision.unwrap_or_default();
    output.line(&describe(&decision), &shown(&decision));
    Ok(0)
}

async fn list(args: &LsArgs, output: Output) -> Result<u8, AppError> {
    if let Some(target) = args.target.as_ref().filter(|target| !target.contains('/')) {
        let message = format!("--target {target}: name the type too, such as deal/{target}");
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    let mut client = RecordServiceClient::new(args.remote.channel().await?);
    let (mut newest, mut page_token) = (VecDeque::new(), String::new());
    loop {
        let request = pb::ListRecordsRequest {
            parent: args.remote.parent(),
            page_size: i32::try_from(PAGE_SIZE_MAX).unwrap_or(i32::MAX),
            page_token,
        };
        let page = client
            .list_records(request)
            .await
            .map_err(failed)?
            .into_inner();
        for record in page.records.into_iter().filter(|record| args.wants(record)) {
            newest.push_back(record);
            if newest.len() > args.limit {
                newest.pop_front();
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for record in &newest {
        let mut value = records::shown(record);
        if let Some(object) = value.as_object_mut() {
            object.insert("decision".to_owned(), json!(record.record_id));
        }
        output.line(&records::describe(record), &value);
    }
    if newest.is_empty() {
        output.note("no decision matches these filters");
    }
    Ok(0)
}
