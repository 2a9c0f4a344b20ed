//! Notices as the ledger keeps them: written with a record, taken by one process at a time, kept
//! when they are given up.
//!
//! Contract: whoever takes a notice has it alone until its lease ends; what is not settled by then
//! is taken again, so a notice is delivered at least once and normally once. A settlement by
//! somebody whose lease has been taken over changes nothing.

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::{Ledger, StoreError, corrupt};
use crate::domain::notice::{Delivery, Notice};

/// A notice and how its delivery stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// The notice.
    pub notice: Notice,
    /// How often the same was said again and not sent.
    pub repeats: u64,
    /// How it stands.
    pub state: Delivery,
    /// How often it was taken.
    pub tries: u32,
    /// When it is sent next, Unix milliseconds.
    pub due_ms: i64,
    /// Sinks that have it.
    pub taken: Vec<String>,
    /// Why the last try failed, or empty.
    pub error: String,
}

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How it stands then.
    pub state: Delivery,
    /// When it is sent next, if it waits, Unix milliseconds.
    pub due_ms: i64,
    /// Sinks that have it.
    pub taken: Vec<String>,
    /// Why it failed, or empty.
    pub error: String,
}

/// The columns of a notice, in the order of [`COLUMNS`].
pub(super) struct Columns {
    pub(super) id: Uuid,
    pub(super) tenant: String,
    pub(super) dedup_key: String,
    pub(super) time_ms: i64,
    pub(super) body: Vec<u8>,
    pub(super) repeats: i64,
    pub(super) state: i64,
    pub(super) tries: i64,
    pub(super) due_ms: i64,
    pub(super) taken: String,
    pub(super) error: String,
}

/// Names of the columns.
pub(super) const COLUMNS: &str =
    "id, tenant, dedup_key, time_ms, body, repeats, state, tries, due_ms, taken, error";
/// How many of the newest notices of a tenant a list shows at most.
pub const LIST_MAX: usize = 1_000;

impl Columns {
    pub(super) fn row(self) -> Result<NoticeRow, StoreError> {
        let tenant = TenantId::parse(&self.tenant).map_err(|_| corrupt("a tenant"))?;
        let told = (self.dedup_key, self.time_ms);
        let notice = Notice::decode(self.id, tenant, told, &self.body);
        let taken = self.taken.split(',').filter(|name| !name.is_empty());
        Ok(NoticeRow {
            notice: notice.ok_or_else(|| corrupt("a notice"))?,
            repeats: u64::try_from(self.repeats).map_err(|_| corrupt("a count of notices"))?,
            state: Delivery::from_number(self.state).ok_or_else(|| corrupt("a delivery"))?,
            tries: u32::try_from(self.tries).map_err(|_| corrupt("a count of tries"))?,
            due_ms: self.due_ms,
            taken: taken.map(str::to_owned).collect(),
            error: self.error,
        })
    }
}

impl Ledger {
    /// Stores a notice that goes with no record.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice_add(&self, notice: &Notice) -> Result<(), StoreError> {
        let notice = notice.bounded();
        match self {
            Self::Sqlite(ledger) => ledger.notice_add(notice).await,
            Self::Postgres(ledger) => ledger.notice_add(notice).await,
        }
    }

    /// Takes notices that are due, for as long as a lease lasts. Each try is counted here, so that
    /// a notice that ends whoever sends it is given up too.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice_take(
        &self,
        now_ms: i64,
        lease_ms: i64,
        most: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let until = now_ms.saturating_add(lease_ms);
        match self {
            Self::Sqlite(ledger) => ledger.notice_take(now_ms, until, most).await,
            Self::Postgres(ledger) => ledger.notice_take(now_ms, until, most).await,
        }
    }

    /// Says how a try ended. False when somebody else has taken the notice since.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice_settle(
        &self,
        row: &NoticeRow,
        settled: &Settled,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.notice_settle(row, settled).await,
            Self::Postgres(ledger) => ledger.notice_settle(row, settled).await,
        }
    }

    /// The newest notices of a tenant, newest first, at most [`LIST_MAX`].
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let most = most.min(LIST_MAX);
        match self {
            Self::Sqlite(ledger) => ledger.notice_list(tenant, most).await,
            Self::Postgres(ledger) => ledger.notice_list(tenant, most).await,
        }
    }

    /// Removes notices that were delivered before a moment. How many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice_prune(&self, before_ms: i64) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.notice_prune(before_ms).await,
            Self::Postgres(ledger) => ledger.notice_prune(before_ms).await,
        }
    }
}
