//! Budgets as people and agents are shown them.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use writ_proto::ids::{AgentId, RunId};

use super::key::reset;
use super::rule::{Budget, Measure, Scope, Window};
use super::{Counter, Fired, Key, Over, Raise, Subject, limit};

/// A budget for one subject in the window of a moment. Figures are in its smallest unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Whose.
    pub subject: String,
    /// What may be used now.
    pub limit: i64,
    /// What of it is a raise.
    pub raised: i64,
    /// Held by writs that may still be executed.
    pub held: i64,
    /// Executed, or reported.
    pub spent: i64,
    /// What is left.
    pub remaining: i64,
    /// Which kind of limit it is.
    pub kind: Fired,
    /// When the window ends.
    pub reset: Option<DateTime<Utc>>,
}

/// How a counter stands against its budget. `days` holds what was used on the days before.
#[must_use]
pub fn view(
    budget: &Budget,
    (key, counter): (&Key, &Counter),
    raises: &[Raise],
    days: &[i64],
    (now, zone): (DateTime<Utc>, Tz),
) -> View {
    let now_ms = now.timestamp_millis();
    let lifting = raises.iter().filter(|raise| raise.lifts(key, now_ms));
    let raised = lifting.fold(0_i64, |sum, raise| sum.saturating_add(raise.amount));
    let limits = budget.limits(&Subject::Tenant, now, zone);
    let (limit, kind) = limit(&limits, raised, days);
    let used = counter.used.saturating_sub(limits.free).max(0);
    let end = budget.age_ms_max.and_then(|age| {
        let end = counter.since_ms.checked_add(age)?;
        (counter.since_ms > 0).then_some(end)
    });
    View {
        subject: key.subject().to_owned(),
        limit,
        raised,
        held: counter.held,
        spent: used.saturating_sub(counter.held).max(0),
        remaining: limit.saturating_sub(used).max(0),
        kind,
        reset: reset(budget.window, now, zone)
            .or_else(|| end.and_then(DateTime::from_timestamp_millis)),
    }
}

/// What an agent is told when a limit fired: which kind and when it resets, no figure.
#[must_use]
pub fn refusal(budget: &Budget, over: &Over, now: DateTime<Utc>, zone: Tz) -> String {
    let measure = match &budget.measure {
        Measure::Calls => "calls",
        Measure::Records => "executed calls",
        Measure::FollowUps => "follow-up calls",
        Measure::Amount { currency, .. } => currency,
        Measure::Tokens => "tokens",
        Measure::Usd => "model costs in USD",
    };
    let whose = match budget.scope {
        Scope::Tenant => "of all agents",
        Scope::Agent => "of this agent",
        Scope::Customer => "for this customer",
        Scope::Run => "of this run",
    };
    let each = match budget.window {
        Window::Hour => "an hour ",
        Window::Day => "a day ",
        Window::Run => "",
    };
    let id = &budget.id;
    let end = reset(budget.window, now, zone).map_or_else(
        || "it does not reset: begin another run".to_owned(),
        |end| {
            let end = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            format!("it resets at {end}")
        },
    );
    match over.fired {
        Fired::Cap => format!("`{id}` limits {measure} {each}{whose}, with no room now; {end}"),
        Fired::Spike => format!("`{id}`: unusually many {measure} {whose} today; {end}"),
        Fired::Age => format!("`{id}`: the run is too old; begin another run"),
        Fired::Unreported => format!(
            "`{id}` limits {measure} {each}{whose}, and what is used was not reported in time"
        ),
    }
}

/// The counters that usage of an agent and its run adds to: budgets of reported usage, each with
/// the amount in its unit.
#[must_use]
pub fn usage_keys(
    budgets: &[Budget],
    (agent, run): (&AgentId, Option<&RunId>),
    (tokens, micro_usd): (i64, i64),
    (now, zone): (DateTime<Utc>, Tz),
    own_word: bool,
) -> Vec<(Key, i64)> {
    let mut keys = Vec::new();
    for budget in budgets {
        let amount = match budget.measure {
            Measure::Tokens => tokens,
            Measure::Usd => micro_usd,
            Measure::Calls | Measure::Records | Measure::FollowUps | Measure::Amount { .. } => {
                continue;
            }
        };
        let agent = || agent.as_str().to_owned();
        let subjects = match (budget.scope, run) {
            // Where others report, an agent's own word spends nothing of what all share.
            (Scope::Tenant, _) if !own_word => vec![Subject::Tenant, Subject::Agent(agent())],
            (Scope::Tenant | Scope::Agent, _) => vec![Subject::Agent(agent())],
            (Scope::Run, Some(run)) => {
                let (agent, run) = (agent(), run.as_str().to_owned());
                vec![Subject::Run { agent, run }]
            }
            (Scope::Run, None) | (Scope::Customer, _) => continue,
        };
        let window = budget.window.named(now, zone);
        let key = |subject| (Key::new(&budget.id, subject, &window), amount);
        keys.extend(subjects.iter().map(key));
    }
    keys
}
