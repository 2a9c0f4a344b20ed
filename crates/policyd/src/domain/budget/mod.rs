//! Reservations of a budget: held when a decision allows, captured when it is executed, void when
//! it is not. The ledger keeps them; these are its rules.

mod rule;

use uuid::Uuid;

pub use rule::{BUDGETS_MAX, Budget, BudgetText, NoCurrency, holds};

/// What one decision reserves of one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which budget, and which window of it.
    pub key: String,
    /// How much, in the unit of the budget: minor units of a currency, or a count. Positive.
    pub amount: i64,
    /// Most that may be used.
    pub cap: i64,
    /// When it is given back if nothing was executed, Unix milliseconds.
    pub expires_ms: i64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The decision.
    pub decision: Uuid,
    /// Executed, or definitely not.
    pub to: SettledAs,
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

    /// The state after a settlement, and by how much of the amount the budget's use changes: -1,
    /// 0 or 1. An execution counts even when its hold had expired; what was executed is never
    /// given back here.
    #[must_use]
    pub const fn settle(self, to: SettledAs) -> (Self, i64) {
        match (self, to) {
            (Self::Captured, _) | (Self::Held | Self::Doubtful, SettledAs::Captured) => {
                (Self::Captured, 0)
            }
            (Self::Void, SettledAs::Captured) => (Self::Captured, 1),
            (Self::Held | Self::Doubtful, SettledAs::Void) => (Self::Void, -1),
            (Self::Void, SettledAs::Void) => (Self::Void, 0),
            (Self::Held | Self::Doubtful, SettledAs::Doubtful) => (Self::Doubtful, 0),
            (Self::Void, SettledAs::Doubtful) => (Self::Doubtful, 1),
        }
    }
}

/// What a budget would have used with one more hold, if that fits.
#[must_use]
pub fn fits(used: i64, hold: &Hold) -> Option<i64> {
    let then = used.checked_add(hold.amount)?;
    (hold.amount > 0 && then <= hold.cap).then_some(then)
}

#[cfg(test)]
mod tests;
