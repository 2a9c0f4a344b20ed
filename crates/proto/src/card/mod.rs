//! The action card: one TOML file that says what an agent may ask for (docs/cards.md).
//!
//! Both daemons hold their own copy and compare digests. The card is the single source for the
//! check of arguments, the Cedar schema and the dispatch in connectord. Only keys that are
//! enforced are accepted: a rule that nobody applies would be worse than none.

mod arg;
mod file;
mod kind;
mod mechanical;
mod pilot;
mod rules;
mod sight;
mod verb;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::context;
use crate::digest::sha256;
use crate::ids::{ActionName, ConnectionId};
use crate::reason::Reason;
use crate::value::{Map, Value, write_array, write_text};

pub use arg::{Arg, ArgKind, DayBound, WriteMode};
pub use mechanical::same_words;
pub use pilot::{Pilot, Widen};
pub use rules::{Caps, Demotion, Hours, Intent, RecordCeiling};
pub use sight::{Mask, Sight};
pub use verb::{NO_RECORD, Verb, with_article};

/// What undoing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The old values can be put back.
    Reversible,
    /// Data can be restored, side effects cannot.
    Compensable,
    /// It cannot be undone.
    Irreversible,
}

/// What goes wrong if this goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Little.
    Low,
    /// Some work for people.
    Medium,
    /// Money, customers or contracts.
    High,
}

/// How far an action goes for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rollout {
    /// Only decisions; connectord executes nothing, not even dry runs.
    Suggest,
    /// Everything but the write.
    DryRun,
    /// Writes, within the limits of the card's pilot.
    Pilot,
    /// Writes.
    Live,
}

impl Rollout {
    /// Every step, from the narrowest to the widest.
    pub const STEPS: [Self; 4] = [Self::Suggest, Self::DryRun, Self::Pilot, Self::Live];

    /// Whether the system of record may change.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Pilot | Self::Live)
    }

    /// The name in cards and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suggest => "suggest",
            Self::DryRun => "dry_run",
            Self::Pilot => "pilot",
            Self::Live => "live",
        }
    }
}

impl Tier {
    /// The name in cards and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reversible => "reversible",
            Self::Compensable => "compensable",
            Self::Irreversible => "irreversible",
        }
    }
}

impl Risk {
    /// The name in cards and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A parsed, checked card.
#[derive(Debug, Clone)]
pub struct Card {
    /// Name of the action.
    pub name: ActionName,
    /// One sentence a reviewer can check.
    pub sentence: String,
    /// Where it acts.
    pub connection: ConnectionId,
    /// What it does.
    pub verb: Verb,
    /// The one object type it acts on.
    pub target: String,
    /// Who answers for it.
    pub owner: String,
    /// What goes wrong if it goes wrong.
    pub risk: Risk,
    /// What undoing takes.
    pub tier: Tier,
    /// How it is undone, for people.
    pub undo: String,
    /// How long undoing takes a person, in minutes.
    pub rollback_minutes: u32,
    /// Who decides exceptions.
    pub approver: String,
    /// Where it starts for every tenant.
    pub rollout: Rollout,
    /// How far promotion may go.
    pub rollout_max: Rollout,
    /// How long undo is offered, in seconds.
    pub rollback_window_seconds: u32,
    /// connectord's own ceilings.
    pub caps: Caps,
    /// When the action may be asked for; any time if absent.
    pub hours: Option<Hours>,
    /// Arguments that only identify the record: all must match one and the same record.
    pub identify: Vec<String>,
    /// What an agent may see of the record; without it the fields of the arguments.
    pub sight: Option<Sight>,
    /// Field of the record that names the customer, for halts and caps by customer.
    pub customer: Option<String>,
    /// When a live action goes back to dry run by itself.
    pub demotion: Option<Demotion>,
    /// The small beginning between dry run and live.
    pub pilot: Option<Pilot>,
    /// Every argument by name; anything else is refused.
    pub args: BTreeMap<String, Arg>,
    /// What makes two requests one intent.
    pub intent: Option<Intent>,
    /// Field of the record, and the values one of which it must have right before the write.
    pub when: BTreeMap<String, Vec<String>>,
    /// Whether a request must name the version it relied on.
    pub version_required: bool,
    digest: [u8; 32],
}

/// Why a card is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CardError {
    /// The stable code.
    pub reason: Reason,
    /// What was found and what is expected.
    pub detail: String,
    /// Where in the text, as a byte, if that can be told.
    pub at: Option<usize>,
}

/// Why arguments are refused: the field, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, allowed {allowed}")]
pub struct ArgsError {
    /// Path of the argument.
    pub field: String,
    /// What was found.
    pub found: String,
    /// What the card allows.
    pub allowed: String,
}

impl ArgsError {
    /// The stable code of every refusal by a card.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::ArgsSchema
    }
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// When the text is not TOML, has a key that is not known, lacks one that is needed, has a
    /// free argument without a bound, or is irreversible and may go live.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        file::parse(text)
    }

    /// SHA-256 over the canonical CBOR of the card's content; comments and layout do not count.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether the action may be asked for at a moment.
    #[must_use]
    pub fn is_open_at(&self, now: DateTime<Utc>) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contain(now))
    }

    /// The one argument that is an amount of money, by name; none where there is none or several.
    #[must_use]
    pub fn money_arg(&self) -> Option<&str> {
        let mut found = self
            .args
            .iter()
            .filter(|(_, arg)| matches!(arg.kind, ArgKind::Money { .. }));
        let first = found.next().map(|(name, _)| name.as_str());
        first.filter(|_| found.next().is_none())
    }

    /// Checks arguments against the card: every one named, within bounds, none missing. Bounds
    /// of days may be relative to `today`, a UTC day.
    ///
    /// # Errors
    /// The first argument, in canonical order, that the card does not allow.
    pub fn check(&self, args: &Map, today: NaiveDate) -> Result<(), ArgsError> {
        for (name, value) in args.iter() {
            let known = || self.args.keys().cloned().collect::<Vec<_>>().join(", ");
            let arg = self.args.get(name).ok_or_else(|| ArgsError {
                field: name.to_owned(),
                found: "an argument the card does not name".to_owned(),
                allowed: known(),
            })?;
            arg.check(name, value, today)?;
        }
        let missing = self
            .args
            .iter()
            .find(|(name, arg)| !arg.optional && args.get(name).is_none());
        match missing {
            Some((name, arg)) => Err(ArgsError {
                field: name.clone(),
                found: "nothing".to_owned(),
                allowed: arg.kind.describe(),
            }),
            None => Ok(()),
        }
    }

    /// A value of the record as an agent may see it.
    #[must_use]
    pub fn shown(&self, field: &str, value: &Value) -> Value {
        let sight = self.sight.as_ref();
        sight.map_or_else(|| value.clone(), |sight| sight.show(field, value))
    }

    fn content_digest(content: &Value) -> [u8; 32] {
        let mut out = Vec::with_capacity(1_024);
        write_array(&mut out, 2);
        write_text(&mut out, context::CARD);
        out.extend_from_slice(&content.encode());
        sha256(&out)
    }
}

#[cfg(test)]
mod tests;
