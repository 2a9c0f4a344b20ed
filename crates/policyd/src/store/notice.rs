//! Notices as the ledger keeps them: written with a record, taken by one process at a time, kept
//! when they are given up.
//!
//! Contract: whoever takes a notice has it alone until its lease ends; what is not settled by then
//! is taken again, so a notice is delivered at least once and normally once. A settlement by
//! somebody whose lease has been taken over changes nothing.

mod columns;

pub(super) use columns::{COLUMNS, Columns};
use writ_proto::ids::TenantId;

use super::{Ledger, StoreError};
use crate::domain::incident::notice::{Delivery, Notice};

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
    /// Whether anything was sent. Where every sink had asked to wait, nothing was, and the try does not
    /// count.
    pub tried: bool,
}

/// How many of the newest notices of a tenant a list shows at most.
pub const LIST_MAX: usize = 1_000;

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
