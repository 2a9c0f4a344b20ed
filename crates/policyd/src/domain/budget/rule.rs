//! A checked budget, and what an allowed request asks of it.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use writ_proto::Reason;
use writ_proto::card::{ArgKind, Card};
use writ_proto::ids::ActionName;
use writ_proto::money::Money;

use super::key::days_before;
use super::{Hold, Key, Limits, Spike, Subject, Takes, Unit};
use crate::domain::request::Request;

/// A writ may have been presented in its last second, and its outcome may come late. Until then
/// what it held stays held: a cap must not be passed because a report is on its way.
/// How long after its life a writ may still have been executed without a report.
pub const EXPIRY_GRACE_MS: i64 = 60 * 60 * 1_000;

/// Whose use is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All agents of the tenant.
    Tenant,
    /// Each agent by itself.
    Agent,
    /// Each customer, over all agents.
    Customer,
    /// Each run of an agent.
    Run,
}

impl Scope {
    /// The name in set files and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Agent => "agent",
            Self::Customer => "customer",
            Self::Run => "run",
        }
    }
}

/// For how long use is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From a full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// As long as the run, up to its greatest age.
    Run,
}

impl Window {
    /// The name in set files and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Run => "run",
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// Calls that were allowed, whatever became of them.
    Calls,
    /// Calls that were executed.
    Records,
    /// Calls of a run after its first.
    FollowUps,
    /// Money in one currency, in an argument of the card.
    Amount {
        /// ISO 4217 code.
        currency: String,
        /// Name of the argument.
        argument: String,
    },
    /// Tokens of a language model, as reported.
    Tokens,
    /// US dollars for a language model, as reported.
    Usd,
}

impl Measure {
    /// The name in set files and answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Records => "records",
            Self::FollowUps => "follow_ups",
            Self::Amount { .. } => "amount",
            Self::Tokens => "tokens",
            Self::Usd => "usd",
        }
    }

    /// Whether it counts what somebody reports, not what is decided.
    #[must_use]
    pub const fn is_reported(&self) -> bool {
        matches!(self, Self::Tokens | Self::Usd)
    }
}

/// A checked budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name, for people and keys.
    pub id: String,
    pub(super) actions: Vec<ActionName>,
    /// Whose use is counted together.
    pub scope: Scope,
    /// For how long.
    pub window: Window,
    /// What is counted.
    pub measure: Measure,
    /// The unit of its figures.
    pub unit: Unit,
    pub(super) cap: i64,
    /// Most that a raise may make of the cap.
    pub max: Option<i64>,
    /// Factor and floor.
    pub(super) spike: Option<(i64, i64)>,
    /// Whether the agent or its run is halted when the budget is spent.
    pub halts: bool,
    pub(super) age_ms_max: Option<i64>,
    pub(super) report_ms_max: Option<i64>,
}

/// A request at the moment of its decision.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub request: &'a Request,
    /// Its card.
    pub card: &'a Card,
    /// The customer of its target, where policyd knows one.
    pub customer: Option<&'a str>,
    /// The moment.
    pub now: DateTime<Utc>,
    /// Zone of hours and days.
    pub zone: Tz,
    /// Life of the writ in seconds.
    pub ttl_seconds: u32,
}

/// Why a request cannot be counted, and is denied therefore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncounted {
    /// No amount budget of this kind counts its currency.
    Currency(String),
    /// The argument that is counted is not there, or is negative.
    Amount(String),
    /// The customer of the target is not known.
    Customer,
    /// It names no run.
    Run,
}

impl Uncounted {
    /// The stable code.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Currency(_) => Reason::BudgetExceeded,
            Self::Amount(_) => Reason::AmountRequired,
            Self::Customer => Reason::CustomerUnknown,
            Self::Run => Reason::RunRequired,
        }
    }

    /// One sentence for the agent.
    #[must_use]
    pub fn message(&self, action: &ActionName) -> String {
        match self {
            Self::Currency(currency) => format!("no budget of `{action}` counts {currency}"),
            Self::Amount(argument) => {
                format!("a budget counts `{argument}` of `{action}`: from 0 on, and not left out")
            }
            Self::Customer => {
                format!("a budget counts `{action}` by customer, and that of the target is unknown")
            }
            Self::Run => format!("a budget counts `{action}` by run: name one in run_id"),
        }
    }
}

impl Budget {
    /// Whether it counts an action.
    #[must_use]
    pub fn counts(&self, action: &ActionName) -> bool {
        self.actions.is_empty() || self.actions.contains(action)
    }

    /// Whether it counts an action for each customer by itself.
    #[must_use]
    pub fn counts_customers_of(&self, action: &ActionName) -> bool {
        self.scope == Scope::Customer && self.counts(action)
    }

    /// Actions that it counts; none means all.
    pub fn actions(&self) -> impl Iterator<Item = &ActionName> {
        self.actions.iter()
    }

    fn subject(&self, asked: &Asked<'_>) -> Result<Subject, Uncounted> {
        let agent = || asked.request.agent.as_str().to_owned();
        Ok(match self.scope {
            Scope::Tenant => Subject::Tenant,
            Scope::Agent => Subject::Agent(agent()),
            Scope::Customer => {
                Subject::Customer(asked.customer.ok_or(Uncounted::Customer)?.to_owned())
            }
            Scope::Run => {
                let run = asked.request.run.as_ref().ok_or(Uncounted::Run)?;
                let (agent, run) = (agent(), run.as_str().to_owned());
                Subject::Run { agent, run }
            }
        })
    }

    /// What must not be passed, at a moment.
    #[must_use]
    pub fn limits(&self, subject: &Subject, now: DateTime<Utc>, zone: Tz) -> Limits {
        let key = |day: String| Key::new(&self.id, subject, &day);
        let spike = self.spike.map(|(factor, floor)| Spike {
            factor,
            floor,
            days: days_before(now, zone).into_iter().map(key).collect(),
        });
        Limits {
            cap: self.cap,
            max: self.max,
            free: i64::from(self.measure == Measure::FollowUps),
            spike,
            age_ms_max: self.age_ms_max,
            report_ms_max: self.report_ms_max,
        }
    }

    /// How much a request uses of it: none where there is nothing to count.
    fn amount(&self, asked: &Asked<'_>, all: &[Self]) -> Result<Option<i64>, Uncounted> {
        let Measure::Amount { currency, argument } = &self.measure else {
            return Ok(Some(i64::from(!self.measure.is_reported())));
        };
        if !has_money(asked.card) && self.actions.is_empty() {
            return Ok(None);
        }
        let left_out = || Uncounted::Amount(argument.clone());
        let value = asked.request.args.get(argument);
        let value = value.filter(|_| is_counted(asked.card, argument));
        let money = Money::from_value(value.ok_or_else(left_out)?).map_err(|_| left_out())?;
        if money.minor() < 0 {
            return Err(left_out());
        }
        if money.currency() == currency {
            return Ok((money.minor() > 0).then_some(money.minor()));
        }
        let beside = |other: &&Self| {
            let kind = (other.scope, other.window) == (self.scope, self.window);
            let same = |theirs: &str, name: &str| theirs == money.currency() && name == argument;
            kind && other.counts(&asked.request.action)
                && matches!(&other.measure, Measure::Amount { currency, argument }
                    if same(currency, argument))
        };
        match all.iter().find(beside) {
            Some(_) => Ok(None),
            None => Err(Uncounted::Currency(money.currency().to_owned())),
        }
    }
}

/// Whether a card has any money argument, also in a list.
pub(super) fn has_money(card: &Card) -> bool {
    fn is(kind: &ArgKind) -> bool {
        match kind {
            ArgKind::Money { .. } => true,
            ArgKind::List { of, .. } => is(of),
            ArgKind::Choice { .. }
            | ArgKind::Text { .. }
            | ArgKind::Integer { .. }
            | ArgKind::Decimal { .. }
            | ArgKind::Date { .. }
            | ArgKind::Timestamp { .. }
            | ArgKind::Boolean
            | ArgKind::Reference { .. } => false,
        }
    }
    card.args.values().any(|arg| is(&arg.kind))
}

/// Whether an argument of a card is one amount.
pub(super) fn is_counted(card: &Card, argument: &str) -> bool {
    let arg = card.args.get(argument);
    arg.is_some_and(|arg| matches!(arg.kind, ArgKind::Money { .. }))
}

/// What an allowed request asks of the budgets that count it.
///
/// # Errors
/// Why one of them cannot count it.
pub fn holds(budgets: &[Budget], asked: &Asked<'_>) -> Result<Vec<Hold>, Uncounted> {
    let at_ms = asked.now.timestamp_millis();
    let life = i64::from(asked.ttl_seconds).saturating_mul(1_000);
    let expires_ms = at_ms.saturating_add(life).saturating_add(EXPIRY_GRACE_MS);
    let mut holds = Vec::new();
    for budget in budgets {
        if !budget.counts(&asked.request.action) {
            continue;
        }
        let Some(amount) = budget.amount(asked, budgets)? else {
            continue;
        };
        let subject = budget.subject(asked)?;
        let window = budget.window.named(asked.now, asked.zone);
        let mut limits = budget.limits(&subject, asked.now, asked.zone);
        let currency = match &budget.measure {
            Measure::Amount { currency, .. } => currency.clone(),
            Measure::Calls
            | Measure::Records
            | Measure::FollowUps
            | Measure::Tokens
            | Measure::Usd => String::new(),
        };
        let takes = match budget.measure {
            Measure::Records | Measure::Amount { .. } => Takes::Settled,
            Measure::Calls | Measure::FollowUps => Takes::AtOnce,
            Measure::Tokens | Measure::Usd => Takes::Nothing,
        };
        let hold = |subject: &Subject, limits| Hold {
            key: Key::new(&budget.id, subject, &window),
            amount,
            currency: currency.clone(),
            takes,
            limits,
            at_ms,
            expires_ms,
        };
        if let (Takes::Nothing, Scope::Tenant) = (takes, budget.scope) {
            // What one agent reports says nothing of another: each has its own time to report.
            let own = Subject::Agent(asked.request.agent.as_str().to_owned());
            let clock = Limits {
                cap: i64::MAX,
                max: None,
                spike: None,
                ..limits.clone()
            };
            holds.push(hold(&own, clock));
            limits.report_ms_max = None;
        }
        holds.push(hold(&subject, limits));
    }
    Ok(holds)
}
