//! What the ledger keeps of budgets: counters, holds, raises, and the halts that limits ordered.

use std::collections::BTreeMap;

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::{Ledger, StoreError};
use crate::domain::budget::{Counter, HoldState, Key, Raise};

/// A reservation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// The decision that made it.
    pub decision: Uuid,
    /// Tenant of the budget.
    pub tenant: TenantId,
    /// Which counter.
    pub key: Key,
    /// How much, in the unit of the budget.
    pub amount: i64,
    /// The currency of the amount; empty for a count.
    pub currency: String,
    /// When it is given back if nothing was executed, Unix milliseconds.
    pub expires_ms: i64,
    /// How it stands.
    pub state: HoldState,
}

/// A raise, and the room there is for all raises of its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raising {
    /// The raise.
    pub raise: Raise,
    /// Most that all open raises of the budget may be together; none where the set says none.
    pub room: Option<i64>,
    /// The moment, Unix milliseconds.
    pub at_ms: i64,
}

/// A limit that fired and halts somebody, once for a counter and a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// Which counter.
    pub key: Key,
    /// The limit that fired.
    pub limit: i64,
    /// Which scope is halted.
    pub scope: String,
    /// Why, for people.
    pub reason: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// Which counters are asked for: their keys begin and end so.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Budget and, as far as it matters, whose.
    pub begin: &'a str,
    /// Window.
    pub end: &'a str,
}

/// Keys of one question.
const KEYS_MAX: usize = 1_000;

/// Calls the same method of whichever driver it is.
macro_rules! either {
    ($self:ident, $ledger:ident => $call:expr) => {
        match $self {
            Self::Sqlite($ledger) => $call,
            Self::Postgres($ledger) => $call,
        }
    };
}

impl Ledger {
    /// Counters of a tenant in the order of their keys.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn counter_list(
        &self,
        tenant: &TenantId,
        wanted: Wanted<'_>,
        most: usize,
    ) -> Result<Vec<(Key, Counter)>, StoreError> {
        either!(self, ledger => ledger.counter_list(tenant, wanted, most).await)
    }

    /// Counters of a tenant by their keys; those that do not exist are absent.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn counters(
        &self,
        tenant: &TenantId,
        keys: &[Key],
    ) -> Result<BTreeMap<Key, Counter>, StoreError> {
        let mut found = BTreeMap::new();
        for keys in keys.chunks(KEYS_MAX) {
            let some = either!(self, ledger => ledger.counters(tenant, keys).await)?;
            found.extend(some);
        }
        Ok(found)
    }

    /// Removes counters whose window is long over and that hold nothing: what was first used before
    /// `before_ms`, and of runs before `runs_before_ms`. At most `most`; how many there were.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn counter_prune(
        &self,
        (before_ms, runs_before_ms): (i64, i64),
        most: usize,
    ) -> Result<u64, StoreError> {
        either!(self, ledger => ledger.counter_prune((before_ms, runs_before_ms), most).await)
    }

    /// Raises of a tenant that have not ended.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn raise_list(
        &self,
        tenant: &TenantId,
        now_ms: i64,
    ) -> Result<Vec<Raise>, StoreError> {
        either!(self, ledger => ledger.raise_list(tenant, now_ms).await)
    }

    /// Halts that limits ordered and that nobody has set yet, the oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn trip_list(
        &self,
        most: usize,
        of_tenant: usize,
    ) -> Result<Vec<(TenantId, Trip)>, StoreError> {
        either!(self, ledger => ledger.trip_list(most, of_tenant).await)
    }

    /// Says that a halt is set.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn trip_done(&self, tenant: &TenantId, trip: &Trip) -> Result<(), StoreError> {
        either!(self, ledger => ledger.trip_done(tenant, trip).await)
    }

    /// The decision that holds, or held and executed, a place.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn holder(&self, tenant: &TenantId, key: &Key) -> Result<Option<Uuid>, StoreError> {
        either!(self, ledger => ledger.holder(tenant, key).await)
    }

    /// Decisions whose holds are open though nothing can be executed under them any more.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expired_holds(
        &self,
        now_ms: i64,
        most: usize,
    ) -> Result<Vec<(TenantId, Uuid)>, StoreError> {
        either!(self, ledger => ledger.expired_holds(now_ms, most).await)
    }
}
