//! Undo writs in PostgreSQL.

use sqlx::PgConnection;
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::StoreError;
use super::super::batch::Planned;
use super::{PostgresLedger, column};

pub(super) async fn write(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), StoreError> {
    let undos = planned.undos();
    if undos.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO undo_writ (decision, tenant, payload) \
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bytea[]) \
         ON CONFLICT (decision) DO NOTHING",
    )
    .bind(column(&undos, |(_, undo)| undo.decision))
    .bind(column(&undos, |(tenant, _)| tenant.as_str()))
    .bind(column(&undos, |(_, undo)| undo.payload.as_slice()))
    .execute(tx)
    .await?;
    Ok(())
}

impl PostgresLedger {
    pub(in super::super) async fn undo_payload(
        &self,
        tenant: &TenantId,
        decision: Uuid,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT payload FROM undo_writ WHERE decision = $1 AND tenant = $2";
        Ok(sqlx::query_scalar(sql)
            .bind(decision)
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await?)
    }
}
