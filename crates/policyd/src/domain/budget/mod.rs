//! Budgets: what may be used up in a time, held when a decision allows, captured when it is
//! executed, void when it is not. The ledger keeps the counters; these are its rules.

mod counter;
mod figure;
mod key;
mod rule;
mod text;
mod view;

use uuid::Uuid;

pub use counter::{Counter, Fired, Limits, Over, Spike, fits, limit, report};
pub use figure::Unit;
pub use key::{Key, SPIKE_DAYS, Subject, reset};
pub use rule::{Asked, Budget, EXPIRY_GRACE_MS, Measure, Scope, Uncounted, Window, holds};
pub use text::{BUDGETS_MAX, BudgetText, Ground};
pub use view::{View, refusal, usage_keys, view};

/// Longest time that a raise may last, in milliseconds.
pub const RAISE_MS_MAX: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Most raises of one tenant that count at a time.
pub const RAISES_MAX: usize = 64;

/// What one decision asks of one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which counter.
    pub key: Key,
    /// How much, in the unit of the budget. Positive, unless it takes nothing.
    pub amount: i64,
    /// The currency of the amount; empty for a count.
    pub currency: String,
    /// What becomes of the amount.
    pub takes: Takes,
    /// What it must fit under.
    pub limits: Limits,
    /// The moment of the decision, Unix milliseconds.
    pub at_ms: i64,
    /// When it is given back if nothing was executed, Unix milliseconds.
    pub expires_ms: i64,
}

/// What a hold does to its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It is held; an execution captures it, and without one it is given back.
    Settled,
    /// It counts for good at once.
    AtOnce,
    /// Nothing: there only has to be room, because somebody else reports what is used.
    Nothing,
}

/// How a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Reserved; the writ may still be presented.
    Held,
    /// Executed.
    Captured,
    /// Given back.
    Void,
    /// Sent, and nobody knows what became of it: counts until it is known.
    Doubtful,
}

/// What becomes of all holds of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The decision.
    pub decision: Uuid,
    /// Executed, or definitely not.
    pub to: SettledAs,
    /// Currency and minor units that were executed, where that is less than was held.
    pub part: Option<(String, i64)>,
}

/// How holds end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledAs {
    /// It was executed.
    Captured,
    /// It definitely was not.
    Void,
    /// It was sent, and what became of it is not known yet.
    Doubtful,
}

/// Usage that somebody reports for one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Which counter.
    pub key: Key,
    /// How much more was used, in the unit of the budget. Never negative.
    pub amount: i64,
    /// Whether the report says all that is known until now.
    pub complete: bool,
    /// When it came, Unix milliseconds.
    pub at_ms: i64,
}

/// A cap that is higher for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raise {
    /// Its id.
    pub id: Uuid,
    /// The budget.
    pub budget: String,
    /// Whose; empty means everybody's.
    pub subject: String,
    /// By how much, in the unit of the budget. Positive.
    pub amount: i64,
    /// Until when, Unix milliseconds.
    pub until_ms: i64,
}

impl Raise {
    /// Whether it counts for a counter at a moment.
    #[must_use]
    pub fn lifts(&self, key: &Key, now_ms: i64) -> bool {
        let everybody = self.subject.is_empty();
        self.is_open(now_ms)
            && self.budget == key.budget()
            && (everybody || self.subject == key.subject())
    }

    /// Whether it has not ended.
    #[must_use]
    pub const fn is_open(&self, now_ms: i64) -> bool {
        now_ms < self.until_ms
    }
}

impl HoldState {
    /// The stored number.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Held => 0,
            Self::Captured => 1,
            Self::Void => 2,
            Self::Doubtful => 3,
        }
    }

    /// Reads the stored number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Held),
            1 => Some(Self::Captured),
            2 => Some(Self::Void),
            3 => Some(Self::Doubtful),
            _ => None,
        }
    }

    /// The state after a settlement. An execution counts even when its hold had expired; what was
    /// executed is never given back here.
    #[must_use]
    pub const fn settle(self, to: SettledAs) -> Self {
        match (self, to) {
            (Self::Captured, _) | (_, SettledAs::Captured) => Self::Captured,
            (_, SettledAs::Void) => Self::Void,
            (_, SettledAs::Doubtful) => Self::Doubtful,
        }
    }

    /// Whether its amount is used.
    #[must_use]
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Void)
    }

    /// Whether it may still be given back.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Doubtful)
    }
}

#[cfg(test)]
mod tests;
