//! How far a store of halts has come: what it keeps beside its flags, and what is remembered outside it.

use serde::{Deserialize, Serialize};

use super::{HaltState, Part, RECENT_MAX, RECENT_OF_TENANT_MAX, Recent, Scope, oldest_ms};

/// How far a store of halts has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltMark {
    /// Its epoch.
    pub epoch: u64,
    /// Its generation.
    pub generation: u64,
}

/// How far arming rises above its own clock: those of others may be ahead.
pub(super) const ARM_AHEAD_SECONDS: i64 = 600;

/// Most changes of a store between a loss and the arming that ends it.
const CHANGES_MAX: u64 = 1_000;

impl HaltMark {
    /// Of a state.
    #[must_use]
    pub const fn of(state: &HaltState) -> Self {
        Self {
            epoch: state.epoch,
            generation: state.generation,
        }
    }

    /// What only arming reaches, which rises above its time: a store that lost changes counts on from where it is, and
    /// would soon be where it was.
    #[must_use]
    pub fn armed_at(now: i64) -> Self {
        let above = u64::try_from(now.saturating_mul(1_000)).unwrap_or(0);
        Self {
            epoch: above,
            generation: above,
        }
    }

    /// What is needed after this much was seen and then lost at some time: more than changes can come to.
    #[must_use]
    pub fn beyond(self, now: i64) -> Self {
        let gap = |number: u64| number.saturating_add(CHANGES_MAX);
        let own = Self {
            epoch: gap(self.epoch),
            generation: gap(self.generation),
        };
        own.or_higher(Self::armed_at(now))
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

/// What the store keeps beside its flags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) recent: Vec<Recent>,
}

impl Mark {
    /// Whether a halt was counted already, by whoever saw it first.
    pub(super) fn knows(&self, scope: &Scope, at_ms: i64) -> bool {
        let known = |recent: &Recent| recent.scope == *scope && recent.at_ms >= at_ms;
        self.recent.iter().any(known)
    }

    /// Counts a halt once: the writs of its scope that were issued before it are dead.
    pub(super) fn count(&mut self, scope: &Scope, at_ms: i64, now: i64) {
        let oldest = oldest_ms(now);
        if at_ms < oldest || self.knows(scope, at_ms) {
            return;
        }
        let live = |recent: &Recent| recent.scope != *scope && recent.at_ms >= oldest;
        self.recent.retain(live);
        self.recent.push(Recent {
            scope: scope.clone(),
            at_ms,
        });
        self.gather(scope);
        let many = self.recent.len() > RECENT_MAX;
        if many {
            self.recent.drain(..RECENT_MAX / 2);
        }
        // What is no longer remembered by scope dies with every other writ.
        if scope.is_global() || many {
            self.epoch = self.epoch.saturating_add(1);
        }
    }

    /// Many halts of one tenant are remembered as one of the whole tenant, so that what one does
    /// costs the others no writ.
    fn gather(&mut self, scope: &Scope) {
        let Some(tenant) = scope.tenant() else {
            return;
        };
        let theirs = |recent: &Recent| recent.scope.tenant() == Some(tenant);
        if self.recent.iter().filter(|one| theirs(one)).count() <= RECENT_OF_TENANT_MAX {
            return;
        }
        // The latest of them: what one has killed does not live again.
        let theirs_at = self.recent.iter().filter(|one| theirs(one));
        let at_ms = theirs_at.map(|one| one.at_ms).max().unwrap_or_default();
        let scope = Scope::new(Some(tenant.clone()), Part::All);
        self.recent.retain(|recent| !theirs(recent));
        self.recent.push(Recent { scope, at_ms });
    }

    pub(super) fn change(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// Rises above whatever a store that lost its data may have had: acts are rarer than one a
    /// millisecond.
    pub(super) fn arm(&mut self, now: i64, seen: HaltMark) {
        let above = HaltMark::armed_at(now.saturating_add(ARM_AHEAD_SECONDS)).or_higher(seen);
        self.epoch = self.epoch.saturating_add(1).max(above.epoch);
        self.generation = self.generation.saturating_add(1).max(above.generation);
    }
}

#[cfg(test)]
mod tests;
