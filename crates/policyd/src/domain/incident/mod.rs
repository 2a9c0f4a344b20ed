//! When repeated denials of one agent become an incident.
//!
//! A rule counts denials of an agent and action; the last ones stand in a tally, which the ledger
//! changes in the transaction of the record. A tally trips when as many denials as the rule names
//! fall within its window, and then not again before a window has passed.

pub mod notice;
mod rule;
mod tally;

use uuid::Uuid;
use writ_proto::ids::TenantId;

pub use rule::{DENIALS_MAX, INCIDENT_RULES_MAX, IncidentRule, IncidentText, UNKNOWN_ACTION};
pub use tally::Tally;

use crate::domain::incident::notice::Notice;
use crate::domain::record::Draft;

/// What an incident wants of the halt. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltWish {
    /// Nothing.
    None,
    /// The agent is to be halted, and connectord has not confirmed it yet.
    Wanted,
    /// connectord has set it.
    Set,
}

impl HaltWish {
    /// The stored number.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Wanted => 1,
            Self::Set => 2,
        }
    }

    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Wanted => "wanted",
            Self::Set => "set",
        }
    }

    /// The wish of a stored number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Wanted),
            2 => Some(Self::Set),
            _ => None,
        }
    }
}

/// Who closed an incident, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Unix milliseconds.
    pub time_ms: i64,
    /// The operator.
    pub by: String,
    /// Their reason.
    pub reason: String,
}

/// Repeated denials of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id, and that of its record.
    pub id: Uuid,
    /// Tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: String,
    /// The action, or [`UNKNOWN_ACTION`].
    pub action: String,
    /// The rule that counted.
    pub rule: String,
    /// How many denials.
    pub count: u32,
    /// Within how long.
    pub window_seconds: u32,
    /// The newest codes, newest first.
    pub codes: Vec<String>,
    /// When it was opened, Unix milliseconds.
    pub opened_ms: i64,
    /// The halt.
    pub halt: HaltWish,
    /// How it was closed; none while it is open.
    pub closed: Option<Closing>,
}

impl Incident {
    /// The tally that made it.
    #[must_use]
    pub fn key(&self) -> String {
        rule::tally_key((&self.rule, &self.agent, &self.action))
    }
}

/// A denial that a rule counts, with all that is stored if it makes an incident.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Which tally.
    pub key: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The code of the denial.
    pub code: String,
    /// The incident, but for its codes.
    pub incident: Incident,
    /// Its record, but for its codes.
    pub record: Draft,
    /// What people are told, but for its codes.
    pub notice: Option<Notice>,
}

#[cfg(test)]
mod tests;
