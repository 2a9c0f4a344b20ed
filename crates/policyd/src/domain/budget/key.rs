//! The name of a counter: which budget, whose use, and the window that a moment falls in.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;

use super::rule::Window;

/// A spike is told from the days before: this many.
pub const SPIKE_DAYS: u64 = 7;

/// Whose use is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// All agents together.
    Tenant,
    /// One agent.
    Agent(String),
    /// One customer.
    Customer(String),
    /// One run of an agent: run ids are the agent's own.
    Run {
        /// The agent.
        agent: String,
        /// Its run.
        run: String,
    },
}

impl core::fmt::Display for Subject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::Customer(customer) => write!(f, "customer:{customer}"),
            Self::Run { agent, run } => write!(f, "run:{agent}:{run}"),
        }
    }
}

/// `BUDGET|SUBJECT|WINDOW`. Neither the first part nor the last can hold a bar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The counter of a budget.
    #[must_use]
    pub fn new(budget: &str, subject: &Subject, window: &str) -> Self {
        Self(format!("{budget}|{subject}|{window}"))
    }

    /// A stored key.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Id of the budget.
    #[must_use]
    pub fn budget(&self) -> &str {
        self.0.split_once('|').map_or("", |(budget, _)| budget)
    }

    /// Whose, as `Subject` is written.
    #[must_use]
    pub fn subject(&self) -> &str {
        let rest = self.0.split_once('|').map_or("", |(_, rest)| rest);
        rest.rsplit_once('|').map_or("", |(subject, _)| subject)
    }
}

impl Window {
    /// The window of a moment, as it stands in keys.
    #[must_use]
    pub fn named(self, now: DateTime<Utc>, zone: Tz) -> String {
        let local = now.with_timezone(&zone);
        match self {
            // The offset tells the two hours apart that a clock change makes alike.
            Self::Hour => local.format("%Y-%m-%dT%H%z").to_string(),
            Self::Day => local.format("%Y-%m-%d").to_string(),
            Self::Run => "run".to_owned(),
        }
    }
}

/// The days before the one of a moment, as they stand in keys, the latest first.
pub(super) fn days_before(now: DateTime<Utc>, zone: Tz) -> Vec<String> {
    let today = now.with_timezone(&zone).date_naive();
    let day = |back| today.checked_sub_days(Days::new(back));
    (1..=SPIKE_DAYS)
        .filter_map(day)
        .map(|day| day.format("%Y-%m-%d").to_string())
        .collect()
}

/// When the window of a moment ends; a run has no such time.
#[must_use]
pub fn reset(window: Window, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let local = now.with_timezone(&zone);
    match window {
        Window::Hour => {
            let begun = i64::from(local.minute()).checked_mul(60)?;
            let begun = begun.checked_add(i64::from(local.second()))?;
            let left = 3_600_i64.checked_sub(begun)?;
            let whole = DateTime::from_timestamp(now.timestamp(), 0)?;
            whole.checked_add_signed(TimeDelta::seconds(left))
        }
        Window::Day => {
            let tomorrow = local.date_naive().checked_add_days(Days::new(1))?;
            // Where the clocks go forward at midnight, the day begins with a later hour.
            let begins = (0..3).find_map(|hour| {
                let time = NaiveTime::from_hms_opt(hour, 0, 0)?;
                zone.from_local_datetime(&tomorrow.and_time(time))
                    .earliest()
            });
            begins.map(|begins| begins.to_utc())
        }
        Window::Run => None,
    }
}
