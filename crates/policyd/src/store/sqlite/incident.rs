//! Tallies and incidents in SQLite.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::{Known, Planned};
use super::super::incident::{COLUMNS, Columns, TO_HALT, encode};
use super::super::{Append, StoreError, corrupt, limit};
use super::{SqliteLedger, tenant_at, uuid_at};
use crate::domain::incident::{HaltWish, Incident, Tally};

fn row_at(row: &SqliteRow) -> Result<Incident, StoreError> {
    Columns {
        id: uuid_at(row, 0)?,
        tenant: row.try_get(1)?,
        opened_ms: row.try_get(2)?,
        agent: row.try_get(3)?,
        action: row.try_get(4)?,
        body: row.try_get(5)?,
        halt: row.try_get(6)?,
        closed_ms: row.try_get(7)?,
    }
    .row()
}

/// Reads the tallies of one append.
pub(super) async fn read_tallies(
    connection: &mut SqliteConnection,
    known: &mut Known,
    item: &Append,
) -> Result<(), StoreError> {
    for denial in &item.incidents.denials {
        let key = (item.tenant.clone(), denial.key.clone());
        if let Entry::Vacant(place) = known.tallies.entry(key) {
            let body: Option<Vec<u8>> =
                sqlx::query_scalar("SELECT body FROM tally WHERE tenant = ? AND key = ?")
                    .bind(item.tenant.as_str())
                    .bind(&denial.key)
                    .fetch_optional(&mut *connection)
                    .await?;
            let tally = body.map(|body| Tally::decode(&body).ok_or_else(|| corrupt("a tally")));
            place.insert(tally.transpose()?.unwrap_or_default());
        }
    }
    Ok(())
}

/// The tallies and incidents of a batch, as part of its transaction.
pub(super) fn statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    if !planned.tallies.is_empty() {
        sql.push("; INSERT INTO tally (tenant, key, body) ");
        sql.push_values(&planned.tallies, |mut values, ((tenant, key), tally)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(key.clone())
                .push_bind(tally.encode());
        });
        sql.push(" ON CONFLICT (tenant, key) DO UPDATE SET body = excluded.body");
    }
    if !planned.opened.is_empty() {
        sql.push(format!("; INSERT INTO incident ({COLUMNS}) "));
        sql.push_values(&planned.opened, |mut values, incident| {
            values
                .push_bind(incident.id.as_bytes().to_vec())
                .push_bind(incident.tenant.as_str().to_owned())
                .push_bind(incident.opened_ms)
                .push_bind(incident.agent.clone())
                .push_bind(incident.action.clone())
                .push_bind(encode(incident))
                .push_bind(incident.halt.number())
                .push_bind(0_i64);
        });
    }
    for incident in planned.closed() {
        sql.push("; UPDATE incident SET body = ")
            .push_bind(encode(incident))
            .push(", closed_ms = ")
            .push_bind(incident.closed.as_ref().map_or(0, |closed| closed.time_ms))
            .push(" WHERE id = ")
            .push_bind(incident.id.as_bytes().to_vec())
            .push(" AND closed_ms = 0 AND tenant = ")
            .push_bind(incident.tenant.as_str().to_owned());
    }
}

impl SqliteLedger {
    pub(in crate::store) async fn incident_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM incident WHERE tenant = ? ORDER BY opened_ms DESC, id DESC LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row_at).collect()
    }

    pub(in crate::store) async fn incident(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<Incident>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM incident WHERE id = ? AND tenant = ?");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id.as_bytes().as_slice())
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row_at).transpose()
    }

    pub(in crate::store) async fn incident_is_open(
        &self,
        tenant: &TenantId,
        agent: &str,
    ) -> Result<bool, StoreError> {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM incident WHERE tenant = ? AND agent = ? AND closed_ms = 0",
        )
        .bind(tenant.as_str())
        .bind(agent)
        .fetch_one(&self.pool)
        .await?;
        Ok(open > 0)
    }

    pub(in crate::store) async fn incident_halts_wanted(
        &self,
        after: Uuid,
        most: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM incident WHERE halt = 1 AND closed_ms = 0 AND id > ? \
             ORDER BY id LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after.as_bytes().as_slice())
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row_at).collect()
    }

    pub(in crate::store) async fn incident_wants_halt(
        &self,
        tenant: &TenantId,
        agent: &str,
    ) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM incident \
             WHERE tenant = ? AND agent = ? AND closed_ms = 0 AND halt = 1)",
        )
        .bind(tenant.as_str())
        .bind(agent)
        .fetch_one(&self.pool)
        .await?)
    }

    pub(in crate::store) async fn agents_to_halt(
        &self,
        most: usize,
    ) -> Result<BTreeSet<(TenantId, String)>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!("{TO_HALT}?")))
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &SqliteRow| Ok((tenant_at(row, 0)?, row.try_get(1)?));
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn incident_halt_set(&self, id: Uuid) -> Result<(), StoreError> {
        sqlx::query("UPDATE incident SET halt = ? WHERE id = ? AND halt = 1")
            .bind(HaltWish::Set.number())
            .bind(id.as_bytes().as_slice())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
