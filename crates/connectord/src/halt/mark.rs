//! How far a store of halts has come, for what is remembered outside it.

use serde::{Deserialize, Serialize};

use super::HaltState;

/// How far a store of halts has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltMark {
    /// Its epoch.
    pub epoch: u64,
    /// Its generation.
    pub generation: u64,
}

impl HaltMark {
    /// Of a state.
    #[must_use]
    pub const fn of(state: &HaltState) -> Self {
        Self {
            epoch: state.epoch,
            generation: state.generation,
        }
    }

    /// The higher of each.
    #[must_use]
    pub fn or_higher(self, other: Self) -> Self {
        Self {
            epoch: self.epoch.max(other.epoch),
            generation: self.generation.max(other.generation),
        }
    }
}
