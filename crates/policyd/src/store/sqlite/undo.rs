//! Undo writs in SQLite.

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::StoreError;
use super::super::batch::Planned;
use super::SqliteLedger;

pub(super) fn statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    let undos = planned.undos();
    if undos.is_empty() {
        return;
    }
    sql.push("; INSERT INTO undo_writ (decision, tenant, payload) ");
    sql.push_values(undos, |mut values, (tenant, undo)| {
        values
            .push_bind(undo.decision.as_bytes().to_vec())
            .push_bind(tenant.as_str().to_owned())
            .push_bind(undo.payload.clone());
    });
    sql.push(" ON CONFLICT (decision) DO NOTHING");
}

impl SqliteLedger {
    pub(in super::super) async fn undo_payload(
        &self,
        tenant: &TenantId,
        decision: Uuid,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT payload FROM undo_writ WHERE decision = ? AND tenant = ?";
        Ok(sqlx::query_scalar(sql)
            .bind(decision.as_bytes().as_slice())
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await?)
    }
}
