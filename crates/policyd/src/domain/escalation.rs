//! When repeated denials of one agent become an incident.
//!
//! A rule counts denials of an agent and action; the last ones stand in a tally, which the ledger
//! changes in the transaction of the record. A tally trips when as many denials as the rule names
//! fall within its window, and then not again before a window has passed.

use serde::Deserialize;
use uuid::Uuid;
use writ_host::duration::seconds;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, TenantId};
use writ_proto::value::{Map, Value, first_from_cbor};

use super::notice::Notice;
use super::record::Draft;

/// Most incident rules of one policy set.
pub const INCIDENT_RULES_MAX: usize = 16;
/// Most denials that a rule may wait for.
pub const DENIALS_MAX: u32 = 100;
/// Longest window of a rule.
pub const WINDOW_SECONDS_MAX: u32 = 24 * 3_600;
/// Codes that an incident shows, the newest.
pub const CODES_MAX: usize = 8;
const ID_BYTES_MAX: usize = 64;
/// Where denials of actions are counted that no card names, so that made-up names share a tally.
pub const UNKNOWN_ACTION: &str = "(unknown)";

/// `[[incident]]` of `set.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentText {
    id: String,
    /// Actions that it counts; none means all, and those that no card names.
    #[serde(default)]
    actions: Vec<String>,
    denials: u32,
    #[serde(rename = "window", deserialize_with = "seconds")]
    window_seconds: u32,
    /// Codes that count; none means any.
    #[serde(default)]
    on: Vec<String>,
    halt: HaltText,
    #[serde(default = "yes")]
    notify: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HaltText {
    Agent,
    None,
}

const fn yes() -> bool {
    true
}

/// A checked incident rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRule {
    /// Its name.
    pub id: String,
    actions: Vec<ActionName>,
    on: Vec<Reason>,
    /// How many denials.
    pub denials: u32,
    /// Within how long.
    pub window_seconds: u32,
    /// Whether the agent is halted.
    pub halts_agent: bool,
    /// Whether people are told.
    pub notifies: bool,
}

/// What is no sign of probing: the agent was stopped by people or by a fault of ours.
const NEVER: [Reason; 6] = [
    Reason::Halted,
    Reason::HaltUnknown,
    Reason::PolicyError,
    Reason::StoreUnavailable,
    Reason::Unavailable,
    Reason::Internal,
];

impl IncidentRule {
    /// Checks a rule against the cards of its set.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check(
        text: IncidentText,
        is_card: impl Fn(&ActionName) -> bool,
    ) -> Result<Self, String> {
        let IncidentText {
            id,
            actions,
            denials,
            window_seconds,
            on,
            halt,
            notify,
        } = text;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
            return Err(format!(
                "incident `{id}`: an id is letters, digits, - and _"
            ));
        }
        let wrong = |why: &str| format!("incident `{id}`: {why}");
        if !(1..=DENIALS_MAX).contains(&denials) {
            return Err(wrong(&format!("denials is 1 to {DENIALS_MAX}")));
        }
        if window_seconds > WINDOW_SECONDS_MAX {
            return Err(wrong("window is at most 24h"));
        }
        let parsed: Result<Vec<_>, _> =
            actions.iter().map(|name| ActionName::parse(name)).collect();
        let actions = parsed.map_err(|error| wrong(&error.to_string()))?;
        if let Some(unknown) = actions.iter().find(|name| !is_card(name)) {
            return Err(wrong(&format!("no card named `{unknown}`")));
        }
        let code = |code: &String| {
            Reason::from_code(code)
                .filter(|reason| !NEVER.contains(reason))
                .ok_or_else(|| wrong(&format!("`{code}` is not a code that counts")))
        };
        let on: Result<Vec<_>, _> = on.iter().map(code).collect();
        Ok(Self {
            on: on?,
            id,
            actions,
            denials,
            window_seconds,
            halts_agent: halt == HaltText::Agent,
            notifies: notify,
        })
    }

    /// Whether a denial counts; `action` is none where no card has the name.
    #[must_use]
    pub fn counts(&self, action: Option<&ActionName>, reason: Reason) -> bool {
        let action =
            self.actions.is_empty() || action.is_some_and(|action| self.actions.contains(action));
        let code = match self.on.is_empty() {
            true => !NEVER.contains(&reason),
            false => self.on.contains(&reason),
        };
        action && code
    }

    /// Which tally a denial belongs to.
    #[must_use]
    pub fn key(&self, agent: &AgentId, action: Option<&ActionName>) -> String {
        let action = action.map_or(UNKNOWN_ACTION, ActionName::as_str);
        format!("{}|{agent}|{action}", self.id)
    }
}

/// The last denials that one rule counted for one agent and action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Time in Unix milliseconds and code, in order of time; at most as many as the rule names.
    denials: Vec<(i64, String)>,
    tripped_ms: Option<i64>,
}

impl Tally {
    /// Counts one denial; true when this one makes it an incident.
    pub fn count(&mut self, (at_ms, code): (i64, &str), wanted: usize, window_ms: i64) -> bool {
        let later = self.denials.partition_point(|(time, _)| *time <= at_ms);
        self.denials.insert(later, (at_ms, code.to_owned()));
        let surplus = self.denials.len().saturating_sub(wanted.max(1));
        self.denials.drain(..surplus);
        let (Some((first, _)), Some((last, _))) = (self.denials.first(), self.denials.last())
        else {
            return false;
        };
        let (first, last) = (*first, *last);
        let together = self.denials.len() >= wanted && last.saturating_sub(first) < window_ms;
        let rested = self
            .tripped_ms
            .is_none_or(|tripped| last.saturating_sub(tripped) >= window_ms);
        let trips = together && rested;
        if trips {
            self.tripped_ms = Some(last);
        }
        trips
    }

    /// The newest codes, each once, newest first.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = Vec::new();
        for (_, code) in self.denials.iter().rev() {
            if !codes.contains(code) && codes.len() < CODES_MAX {
                codes.push(code.clone());
            }
        }
        codes
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let pair = |(time, code): &(i64, String)| {
            Value::List(vec![Value::Int(*time), Value::Text(code.clone())])
        };
        let mut map = Map::new();
        map.set(
            "denials",
            Value::List(self.denials.iter().map(pair).collect()),
        );
        map.set("tripped", self.tripped_ms.map_or(Value::Null, Value::Int));
        map.encode()
    }

    /// Reads the stored form; none when it is not what was written.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (Value::Map(map), []) = first_from_cbor(bytes).ok()? else {
            return None;
        };
        let pair = |item: &Value| match item {
            Value::List(parts) => match parts.as_slice() {
                [Value::Int(time), Value::Text(code)] => Some((*time, code.clone())),
                _ => None,
            },
            _ => None,
        };
        let Some(Value::List(items)) = map.get("denials") else {
            return None;
        };
        let denials: Option<Vec<_>> = items.iter().map(pair).collect();
        let tripped_ms = match map.get("tripped") {
            Some(Value::Null) => None,
            Some(Value::Int(time)) => Some(*time),
            _ => return None,
        };
        Some(Self {
            denials: denials?,
            tripped_ms,
        })
    }
}

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
