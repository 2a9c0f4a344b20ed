//! Tallies and incidents in PostgreSQL. A tally belongs to a tenant and changes only under the
//! lock of its log, so that many processes count exactly.

use std::collections::BTreeSet;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::{Known, Planned};
use super::super::incident::{COLUMNS, Columns, TO_HALT, encode};
use super::super::{Append, StoreError, corrupt, limit};
use super::{PostgresLedger, column, tenant_at};
use crate::domain::incident::{HaltWish, Incident, Tally};

fn row_at(row: &PgRow) -> Result<Incident, StoreError> {
    Columns {
        id: row.try_get(0)?,
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

/// Reads the tallies of a batch.
pub(super) async fn read_tallies(
    tx: &mut PgConnection,
    batch: &[Append],
    known: &mut Known,
) -> Result<(), StoreError> {
    let asked = batch.iter().flat_map(|item| {
        let denials = item.incidents.denials.iter();
        denials.map(|denial| (item.tenant.to_string(), denial.key.clone()))
    });
    let asked: BTreeSet<(String, String)> = asked.collect();
    if asked.is_empty() {
        return Ok(());
    }
    let (tenants, keys): (Vec<String>, Vec<String>) = asked.into_iter().unzip();
    let rows = sqlx::query(
        "SELECT t.tenant, t.key, t.body FROM UNNEST($1::text[], $2::text[]) AS asked (tenant, key) \
         JOIN tally t USING (tenant, key)",
    )
    .bind(tenants)
    .bind(keys)
    .fetch_all(tx)
    .await?;
    for row in &rows {
        let tally = Tally::decode(row.try_get(2)?).ok_or_else(|| corrupt("a tally"))?;
        let key = (tenant_at(row, 0)?, row.try_get(1)?);
        known.tallies.insert(key, tally);
    }
    Ok(())
}

/// Writes the tallies and incidents of a batch.
pub(super) async fn write(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), StoreError> {
    if !planned.tallies.is_empty() {
        let tallies: Vec<_> = planned.tallies.iter().collect();
        sqlx::query(
            "INSERT INTO tally (tenant, key, body) \
             SELECT * FROM UNNEST($1::text[], $2::text[], $3::bytea[]) \
             ON CONFLICT (tenant, key) DO UPDATE SET body = excluded.body",
        )
        .bind(column(&tallies, |((tenant, _), _)| tenant.as_str()))
        .bind(column(&tallies, |((_, key), _)| key.as_str()))
        .bind(column(&tallies, |(_, tally)| tally.encode()))
        .execute(&mut *tx)
        .await?;
    }
    let opened = &planned.opened;
    if !opened.is_empty() {
        let sql = format!(
            "INSERT INTO incident ({COLUMNS}) SELECT *, 0 FROM UNNEST($1::uuid[], $2::text[], \
             $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bigint[])"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(column(opened, |incident| incident.id))
            .bind(column(opened, |incident| incident.tenant.as_str()))
            .bind(column(opened, |incident| incident.opened_ms))
            .bind(column(opened, |incident| incident.agent.as_str()))
            .bind(column(opened, |incident| incident.action.as_str()))
            .bind(column(opened, encode))
            .bind(column(opened, |incident| incident.halt.number()))
            .execute(&mut *tx)
            .await?;
    }
    for incident in planned.closed() {
        sqlx::query(
            "UPDATE incident SET body = $1, closed_ms = $2 \
             WHERE id = $3 AND closed_ms = 0 AND tenant = $4",
        )
        .bind(encode(incident))
        .bind(incident.closed.as_ref().map_or(0, |closed| closed.time_ms))
        .bind(incident.id)
        .bind(incident.tenant.as_str())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

impl PostgresLedger {
    pub(in crate::store) async fn incident_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM incident WHERE tenant = $1 \
             ORDER BY opened_ms DESC, id DESC LIMIT $2"
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
        let sql = format!("SELECT {COLUMNS} FROM incident WHERE id = $1 AND tenant = $2");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
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
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM incident \
             WHERE tenant = $1 AND agent = $2 AND closed_ms = 0)",
        )
        .bind(tenant.as_str())
        .bind(agent)
        .fetch_one(&self.pool)
        .await?)
    }

    pub(in crate::store) async fn incident_halts_wanted(
        &self,
        after: Uuid,
        most: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM incident WHERE halt = 1 AND closed_ms = 0 AND id > $1 \
             ORDER BY id LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after)
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
             WHERE tenant = $1 AND agent = $2 AND closed_ms = 0 AND halt = 1)",
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
        let rows = sqlx::query(AssertSqlSafe(format!("{TO_HALT}$1")))
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &PgRow| Ok((tenant_at(row, 0)?, row.try_get(1)?));
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn incident_halt_set(&self, id: Uuid) -> Result<(), StoreError> {
        sqlx::query("UPDATE incident SET halt = $1 WHERE id = $2 AND halt = 1")
            .bind(HaltWish::Set.number())
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
