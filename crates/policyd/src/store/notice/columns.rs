//! A notice as a row.

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::{StoreError, corrupt};
use super::NoticeRow;
use crate::domain::incident::notice::{Delivery, Notice};

/// The columns of a notice, in the order of [`COLUMNS`].
pub(in crate::store) struct Columns {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) tenant: String,
    pub(in crate::store) dedup_key: String,
    pub(in crate::store) time_ms: i64,
    pub(in crate::store) body: Vec<u8>,
    pub(in crate::store) repeats: i64,
    pub(in crate::store) state: i64,
    pub(in crate::store) tries: i64,
    pub(in crate::store) due_ms: i64,
    pub(in crate::store) taken: String,
    pub(in crate::store) error: String,
}

/// Names of the columns.
pub(in crate::store) const COLUMNS: &str =
    "id, tenant, dedup_key, time_ms, body, repeats, state, tries, due_ms, taken, error";

impl Columns {
    pub(in crate::store) fn row(self) -> Result<NoticeRow, StoreError> {
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
