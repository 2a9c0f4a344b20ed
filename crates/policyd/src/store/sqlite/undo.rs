//! Undo writs in SQLite.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::Planned;
use super::super::undo::sound;
use super::super::{DecisionRow, StoreError, corrupt};
use super::{SqliteLedger, decision_at, tenant_at, uuid_at};

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

fn push_ids(sql: &mut QueryBuilder<Sqlite>, ids: &[Uuid]) {
    let mut list = sql.separated(", ");
    for id in ids {
        list.push_bind(id.as_bytes().to_vec());
    }
    sql.push(")");
}

fn named_tenant(row: &SqliteRow) -> Result<TenantId, StoreError> {
    TenantId::parse(row.try_get("tenant")?).map_err(|_| corrupt("a tenant"))
}

impl SqliteLedger {
    pub(in super::super) async fn decisions(
        &self,
        ids: &[Uuid],
    ) -> Result<BTreeMap<(TenantId, Uuid), DecisionRow>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT * FROM decision WHERE id IN (");
        push_ids(&mut sql, ids);
        let rows = sql.build().fetch_all(&self.pool).await?;
        let read = |row: &SqliteRow| -> Result<_, StoreError> {
            let decision = decision_at(row)?;
            Ok(((named_tenant(row)?, decision.id), decision))
        };
        Ok(rows.iter().filter_map(|row| sound(read(row))).collect())
    }

    pub(in super::super) async fn undo_payloads(
        &self,
        decisions: &[Uuid],
    ) -> Result<BTreeMap<(TenantId, Uuid), Vec<u8>>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT tenant, decision, payload FROM undo_writ WHERE decision IN (",
        );
        push_ids(&mut sql, decisions);
        let rows = sql.build().fetch_all(&self.pool).await?;
        let read = |row: &SqliteRow| -> Result<_, StoreError> {
            Ok(((tenant_at(row, 0)?, uuid_at(row, 1)?), row.try_get(2)?))
        };
        Ok(rows.iter().filter_map(|row| sound(read(row))).collect())
    }
}
