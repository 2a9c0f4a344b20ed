//! Undo writs in PostgreSQL.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::Planned;
use super::super::undo::sound;
use super::super::{DecisionRow, StoreError, corrupt};
use super::{PostgresLedger, column, decision_at, tenant_at};

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

fn named_tenant(row: &PgRow) -> Result<TenantId, StoreError> {
    TenantId::parse(row.try_get("tenant")?).map_err(|_| corrupt("a tenant"))
}

impl PostgresLedger {
    pub(in super::super) async fn decisions(
        &self,
        ids: &[Uuid],
    ) -> Result<BTreeMap<(TenantId, Uuid), DecisionRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM decision WHERE id = ANY($1)")
            .bind(ids)
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &PgRow| -> Result<_, StoreError> {
            let decision = decision_at(row)?;
            Ok(((named_tenant(row)?, decision.id), decision))
        };
        Ok(rows.iter().filter_map(|row| sound(read(row))).collect())
    }

    pub(in super::super) async fn undo_payloads(
        &self,
        decisions: &[Uuid],
    ) -> Result<BTreeMap<(TenantId, Uuid), Vec<u8>>, StoreError> {
        let sql = "SELECT tenant, decision, payload FROM undo_writ WHERE decision = ANY($1)";
        let rows = sqlx::query(sql)
            .bind(decisions)
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &PgRow| -> Result<_, StoreError> {
            Ok(((tenant_at(row, 0)?, row.try_get(1)?), row.try_get(2)?))
        };
        Ok(rows.iter().filter_map(|row| sound(read(row))).collect())
    }
}
