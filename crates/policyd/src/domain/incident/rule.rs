//! When denials are counted: `[[incident]]` of a policy set.

use serde::Deserialize;
use writ_proto::Reason;
use writ_proto::duration::seconds;
use writ_proto::ids::{ActionName, AgentId};

/// Most incident rules of one policy set.
pub const INCIDENT_RULES_MAX: usize = 16;
/// Most denials that a rule may wait for.
pub const DENIALS_MAX: u32 = 100;
/// Longest window of a rule.
const WINDOW_SECONDS_MAX: u32 = 24 * 3_600;
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
pub(crate) const NEVER: [Reason; 7] = [
    Reason::Halted,
    Reason::HaltUnknown,
    Reason::PolicyError,
    Reason::FactsUnavailable,
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
        tally_key((&self.id, agent.as_str(), action))
    }
}

/// Rule, agent and action of a tally.
pub(crate) fn tally_key((rule, agent, action): (&str, &str, &str)) -> String {
    format!("{rule}|{agent}|{action}")
}
