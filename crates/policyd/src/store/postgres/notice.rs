//! Notices in PostgreSQL. Whoever writes some holds the lock of the tenant's log, so that two
//! processes that say the same see each other.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use writ_proto::ids::TenantId;

use super::super::notice::{COLUMNS, Columns, NoticeRow, Settled};
use super::super::{StoreError, limit};
use super::{PostgresLedger, column, lock};
use crate::domain::incident::notice::{DEDUP_WINDOW_MS, Notice};

fn row_at(row: &PgRow) -> Result<NoticeRow, StoreError> {
    Columns {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        dedup_key: row.try_get(2)?,
        time_ms: row.try_get(3)?,
        body: row.try_get(4)?,
        repeats: row.try_get(5)?,
        state: row.try_get(6)?,
        tries: row.try_get(7)?,
        due_ms: row.try_get(8)?,
        taken: row.try_get(9)?,
        error: row.try_get(10)?,
    }
    .row()
}

/// Counts notices on those that say the same, and inserts the others.
pub(super) async fn write(
    tx: &mut PgConnection,
    notices: &[(Notice, i64)],
) -> Result<(), StoreError> {
    if notices.is_empty() {
        return Ok(());
    }
    // Both parts see the table as it was before: what is counted is not inserted.
    sqlx::query(
        "WITH told AS (SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[], \
             $5::bytea[], $6::bigint[]) AS t (id, tenant, dedup_key, time_ms, body, repeats)), \
         again AS (UPDATE notice n SET repeats = n.repeats + told.repeats + 1 FROM told \
             WHERE n.tenant = told.tenant AND n.dedup_key = told.dedup_key \
               AND n.time_ms > told.time_ms - $7) \
         INSERT INTO notice (id, tenant, dedup_key, time_ms, body, repeats, state, tries, due_ms, \
             taken, error) \
           SELECT id, tenant, dedup_key, time_ms, body, repeats, 0, 0, time_ms, '', '' FROM told \
           WHERE NOT EXISTS (SELECT 1 FROM notice n WHERE n.tenant = told.tenant \
             AND n.dedup_key = told.dedup_key AND n.time_ms > told.time_ms - $7)",
    )
    .bind(column(notices, |(notice, _)| notice.id))
    .bind(column(notices, |(notice, _)| notice.tenant.as_str()))
    .bind(column(notices, |(notice, _)| notice.dedup_key.as_str()))
    .bind(column(notices, |(notice, _)| notice.time_ms))
    .bind(column(notices, |(notice, _)| notice.encode()))
    .bind(column(notices, |(_, repeats)| *repeats))
    .bind(DEDUP_WINDOW_MS)
    .execute(tx)
    .await?;
    Ok(())
}

impl PostgresLedger {
    pub(in crate::store) async fn notice_add(&self, notice: Notice) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, &[notice.tenant.to_string()]).await?;
        write(&mut tx, &[(notice, 0)]).await?;
        Ok(tx.commit().await?)
    }

    pub(in crate::store) async fn notice_take(
        &self,
        now_ms: i64,
        until_ms: i64,
        most: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let sql = format!(
            "UPDATE notice SET tries = tries + 1, due_ms = $1 WHERE id IN (SELECT id FROM notice \
             WHERE state = 0 AND due_ms <= $2 AND id IN (SELECT id FROM (SELECT id, due_ms, \
             row_number() OVER (PARTITION BY tenant ORDER BY due_ms) AS place FROM notice \
             WHERE state = 0 AND due_ms <= $2) AS due ORDER BY place, due_ms LIMIT $3) \
             FOR UPDATE SKIP LOCKED) RETURNING {COLUMNS}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(until_ms)
            .bind(now_ms)
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row_at).collect()
    }

    pub(in crate::store) async fn notice_settle(
        &self,
        row: &NoticeRow,
        settled: &Settled,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE notice SET state = $1, due_ms = $2, taken = $3, error = $4, tries = tries - $5 \
             WHERE id = $6 AND tries = $7 AND state = 0",
        )
        .bind(settled.state.number())
        .bind(settled.due_ms)
        .bind(settled.taken.join(","))
        .bind(&settled.error)
        .bind(i64::from(!settled.tried))
        .bind(row.notice.id)
        .bind(i64::from(row.tries))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    pub(in crate::store) async fn notice_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM notice WHERE tenant = $1 ORDER BY time_ms DESC, id DESC LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row_at).collect()
    }

    pub(in crate::store) async fn notice_prune(&self, before_ms: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM notice WHERE state = 1 AND time_ms < $1")
            .bind(before_ms)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
