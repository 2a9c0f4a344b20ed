//! Usage of language models, as somebody else reports it: it only ever adds.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::ids::{AgentId, RunId, TenantId};
use writ_proto::value::{Map, Value};

use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::app::spending::budgets::named_id;
use crate::clock;
use crate::domain::budget::{Usage, usage_keys};
use crate::domain::record::{BudgetStamp, Kind};
use crate::error::AppError;
use crate::store::{Append, Appended};

/// Most tokens of one report: a counter must not be filled for good by one word of an agent.
const TOKENS_MAX: u64 = 100_000_000;
/// Most millionths of a US dollar of one report.
const MICRO_USD_MAX: u64 = 10_000_000_000;

/// What was used.
#[derive(Debug, Clone)]
pub struct Used {
    /// The caller's id of the report.
    pub request_id: Uuid,
    /// The agent.
    pub agent: AgentId,
    /// Its run.
    pub run: Option<RunId>,
    /// Tokens since the report before.
    pub tokens: u64,
    /// Millionths of a US dollar since the report before.
    pub micro_usd: u64,
    /// Who says so.
    pub by: String,
    /// Whether the agent itself says so.
    pub is_own_word: bool,
    /// Whether that is all that is known until now. An agent's own word is not, where there are
    /// reporters to ask.
    pub complete: bool,
}

impl App {
    /// Adds to what is used, by a record. Whether it was counted earlier under the same id.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn report_usage(&self, tenant: &TenantId, used: &Used) -> Result<bool, AppError> {
        // A reporter goes on; an agent's own word can wait.
        if used.is_own_word {
            self.room()?;
        }
        let set = self.set_of(tenant)?;
        if used.tokens > TOKENS_MAX || used.micro_usd > MICRO_USD_MAX {
            let message = "one report is at most 100 million tokens and 10,000 US dollars";
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        let large = |_| AppError::of(Reason::RequestMalformed);
        let tokens = i64::try_from(used.tokens).map_err(large)?;
        let micro_usd = i64::try_from(used.micro_usd).map_err(large)?;
        let now = clock::now();
        let whose = (&used.agent, used.run.as_ref());
        let (amounts, moment) = ((tokens, micro_usd), (now, set.zone));
        let keys = usage_keys(&set.budgets, whose, amounts, moment, !used.complete);
        let id = named_id(&format!("usage {}", used.by), tenant, used.request_id);
        let mut draft = self.blank_record(Kind::BudgetChanged, tenant, id);
        used.agent.as_str().clone_into(&mut draft.agent);
        draft.budget = Some(BudgetStamp {
            change: "usage",
            budget: String::new(),
            used: None,
            cap: None,
        });
        let mut figures = Map::new();
        figures.set("tokens", Value::Int(tokens));
        figures.set("usd_micros", Value::Int(micro_usd));
        draft
            .disclosures
            .push(disclosure("usage", Value::Map(figures))?);
        draft
            .disclosures
            .push(disclosure("by", Value::Text(used.by.clone()))?);
        if let Some(run) = &used.run {
            let run = Value::Text(run.as_str().to_owned());
            draft.disclosures.push(disclosure("run", run)?);
        }
        let usage = |(key, amount)| Usage {
            key,
            amount,
            complete: used.complete,
            at_ms: now.timestamp_millis(),
        };
        let append = Append {
            outcome_id: Some(id),
            usage: keys.into_iter().map(usage).collect(),
            ..Append::record(tenant.clone(), draft)
        };
        match self.writer.append(append).await? {
            Appended::Stored { .. } => Ok(false),
            Appended::DuplicateOutcome => Ok(true),
            Appended::DuplicateDecision(_)
            | Appended::OverBudget { .. }
            | Appended::RaiseRefused
            | Appended::Counted => Err(AppError::of(Reason::Internal)),
        }
    }
}
