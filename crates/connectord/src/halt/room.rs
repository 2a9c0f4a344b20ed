//! What a store of halts is held to: what was seen of it earlier, and how many halts fit. Too many flags would halt everybody, so no tenant, no phone and no machine may
//! fill the store; a whole tenant can always be halted.

use super::HaltMark;

use super::{FLAGS_MAX, FLAGS_OF_TENANT_MAX, Flag, HaltStore, Part};

/// What is said where there is no room.
pub const FULL: &str = "the tenant has too many halts of its parts; halt all of it";

impl HaltStore {
    /// Takes account of what was seen earlier: a store that is behind it is not known.
    pub async fn remember(&self, earlier: HaltMark) {
        match self {
            Self::Files(files) => {
                files.remember(earlier);
            }
            Self::Redis(redis) => redis.remember(earlier).await,
        }
    }

    /// What was seen highest, or is needed for the store to be known again.
    #[must_use]
    pub fn reached(&self) -> HaltMark {
        match self {
            Self::Files(files) => files.remember(HaltMark::default()),
            Self::Redis(redis) => redis.reached(),
        }
    }

    /// Whether a halt fits, where its tenant may have so many of its parts. What stands can be set
    /// again.
    #[must_use]
    pub fn has_room(&self, flag: &Flag, most: usize) -> bool {
        let Ok(state) = self.read(flag.since) else {
            return true;
        };
        let same = state.flags.iter().filter(|one| one.scope == flag.scope);
        // Where a flag cannot be replaced another one is put beside it: again and again is no reason to fill the store.
        if same.count() == 1 || matches!(flag.scope.part(), Part::All) {
            return true;
        }
        let Some(tenant) = flag.scope.tenant() else {
            // Of every tenant: for the operators of all, who leave room for those of one.
            return state.flags.len() < FLAGS_MAX / 2;
        };
        let theirs = state.flags.iter();
        let theirs = theirs
            .filter(|one| one.scope.tenant() == Some(tenant))
            .count();
        // What others have filled is no reason to refuse the first few of a tenant.
        let share = most.min(FLAGS_OF_TENANT_MAX);
        theirs < share && (state.flags.len() < FLAGS_MAX / 2 || theirs < share / 10)
    }
}
