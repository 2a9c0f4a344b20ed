//! Notices in SQLite.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite};
use writ_proto::ids::TenantId;

use super::super::batch::Planned;
use super::super::notice::{COLUMNS, Columns, NoticeRow, Settled};
use super::super::{StoreError, limit};
use super::{SqliteLedger, uuid_at};
use crate::domain::incident::notice::{DEDUP_WINDOW_MS, Notice};

fn row_at(row: &SqliteRow) -> Result<NoticeRow, StoreError> {
    Columns {
        id: uuid_at(row, 0)?,
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

/// One notice: counted on the one that says the same, or inserted.
fn insert(sql: &mut QueryBuilder<Sqlite>, notice: &Notice, repeats: i64) {
    let since = notice.time_ms.saturating_sub(DEDUP_WINDOW_MS);
    let same = |sql: &mut QueryBuilder<Sqlite>| {
        sql.push(" WHERE tenant = ")
            .push_bind(notice.tenant.as_str().to_owned())
            .push(" AND dedup_key = ")
            .push_bind(notice.dedup_key.clone())
            .push(" AND time_ms > ")
            .push_bind(since);
    };
    sql.push("UPDATE notice SET repeats = repeats + ")
        .push_bind(repeats.saturating_add(1));
    same(sql);
    sql.push("; INSERT INTO notice (id, tenant, dedup_key, time_ms, body, repeats, state, tries, due_ms, taken, error) SELECT ")
        .push_bind(notice.id.as_bytes().to_vec())
        .push(", ")
        .push_bind(notice.tenant.as_str().to_owned())
        .push(", ")
        .push_bind(notice.dedup_key.clone())
        .push(", ")
        .push_bind(notice.time_ms)
        .push(", ")
        .push_bind(notice.encode())
        .push(", ")
        .push_bind(repeats)
        .push(", 0, 0, ")
        .push_bind(notice.time_ms)
        .push(", '', '' WHERE NOT EXISTS (SELECT 1 FROM notice");
    same(sql);
    sql.push(")");
}

/// The notices of a batch, as part of its transaction.
pub(super) fn statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    for (notice, repeats) in &planned.notices {
        sql.push("; ");
        insert(sql, notice, *repeats);
    }
}

impl SqliteLedger {
    pub(in crate::store) async fn notice_add(&self, notice: Notice) -> Result<(), StoreError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut sql = QueryBuilder::new("");
        insert(&mut sql, &notice, 0);
        sql.build().execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    pub(in crate::store) async fn notice_take(
        &self,
        now_ms: i64,
        until_ms: i64,
        most: usize,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let due = "SELECT count(*) FROM notice WHERE state = 0 AND due_ms <= ?";
        let due: i64 = sqlx::query_scalar(due)
            .bind(now_ms)
            .fetch_one(&self.pool)
            .await?;
        if due == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "UPDATE notice SET tries = tries + 1, due_ms = ? WHERE id IN (SELECT id FROM (SELECT id, due_ms, \
             row_number() OVER (PARTITION BY tenant ORDER BY due_ms) AS place FROM notice \
             WHERE state = 0 AND due_ms <= ?) AS due ORDER BY place, due_ms LIMIT ?) RETURNING {COLUMNS}"
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
            "UPDATE notice SET state = ?, due_ms = ?, taken = ?, error = ?, tries = tries - ? \
             WHERE id = ? AND tries = ? AND state = 0",
        )
        .bind(settled.state.number())
        .bind(settled.due_ms)
        .bind(settled.taken.join(","))
        .bind(&settled.error)
        .bind(i64::from(!settled.tried))
        .bind(row.notice.id.as_bytes().as_slice())
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
            "SELECT {COLUMNS} FROM notice WHERE tenant = ? ORDER BY time_ms DESC, id DESC LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row_at).collect()
    }

    pub(in crate::store) async fn notice_prune(&self, before_ms: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM notice WHERE state = 1 AND time_ms < ?")
            .bind(before_ms)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
