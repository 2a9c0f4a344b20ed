//! Reading the journal in SQLite, beside the one connection that writes.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use super::SqliteWriter;
use crate::domain::execution::Execution;
use crate::store::JournalMark;
use crate::store::rows::{Readers, RolloutRow, earliest, executions};
use crate::store::{Filter, JournalError, OPEN_EACH_MAX, OPEN_MAX, Presented, Report, decode};

const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/sqlite/0001_init.sql"),
    include_str!("../migrations/sqlite/0002_counts.sql"),
    include_str!("../migrations/sqlite/0003_undo.sql"),
    include_str!("../migrations/sqlite/0004_rollout.sql"),
    include_str!("../migrations/sqlite/0005_lists.sql"),
];
const READERS_MAX: u32 = 4;
/// What somebody lists may be all that a tenant has done: what waits for it is [`Readers`].
const LISTERS_MAX: u32 = 2;
const UNDOERS_MAX: u32 = 4;
/// Longest wait of a list for those before it.
const LIST_WAIT_MAX: Duration = Duration::from_secs(8);
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Negative means KiB: the inner pages of the keys stay in memory.
const CACHE: &str = "-8192";
pub(super) const NOW_MS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// The reading side.
#[derive(Debug, Clone)]
pub(in crate::store) struct SqliteReader {
    pool: SqlitePool,
    undos: SqlitePool,
    lists: SqlitePool,
    options: SqliteConnectOptions,
}

pub(super) fn uuid_at(row: &SqliteRow, at: usize) -> Result<Uuid, JournalError> {
    let bytes: &[u8] = row.try_get(at)?;
    Uuid::from_slice(bytes).map_err(|_| JournalError::Corrupt("an id".to_owned()))
}

pub(super) fn execution_at(row: &SqliteRow) -> Result<Execution, JournalError> {
    decode(row.try_get("body")?, row.try_get("revision")?)
}

/// What lists executions, from its first words on.
fn listing(start: &str, tenant: &str, filter: &Filter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(start);
    query.push(" FROM execution WHERE tenant = ");
    query.push_bind(tenant.to_owned());
    for (column, wanted) in filter.texts() {
        query
            .push(format!(" AND {column} = "))
            .push_bind(wanted.to_owned());
    }
    if let Some(since) = filter.since_ms {
        query.push(" AND created_ms >= ").push_bind(since);
        query
            .push(" AND id >= ")
            .push_bind(earliest(since).to_string());
    }
    if let Some(since) = filter.touched_since_ms {
        query.push(" AND touched_ms >= ").push_bind(since);
    }
    if let Some(until) = filter.until_ms {
        query.push(" AND created_ms < ").push_bind(until);
    }
    if let Some(execute) = filter.execute {
        query.push(" AND execute = ").push_bind(execute);
    }
    if filter.surprises {
        query.push(" AND surprise = 1");
    }
    if let Some(before) = &filter.before {
        query.push(" AND id < ").push_bind(before.clone());
    }
    // Ids begin with their time, and the key is sorted already.
    query
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(filter.limit);
    query
}

impl SqliteReader {
    /// Opens or makes the file and brings its schema up to date.
    pub(in crate::store) async fn open(url: &str) -> Result<Self, JournalError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", CACHE)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A connection to a file does not go stale.
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await?;
        writ_proto::host::store::schema::prepare_sqlite(&pool, &MIGRATIONS).await?;
        let listers = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(LIST_WAIT_MAX)
                .test_before_acquire(false)
                .connect_lazy_with(options.clone())
        };
        Ok(Self {
            pool,
            undos: listers(UNDOERS_MAX),
            lists: listers(LISTERS_MAX),
            options,
        })
    }

    pub(in crate::store) fn writer(&self) -> SqliteWriter {
        SqliteWriter {
            options: self.options.clone(),
            open: None,
            used: BTreeMap::new(),
        }
    }

    pub(in crate::store) async fn execution(
        &self,
        tenant: &str,
        id: Uuid,
    ) -> Result<Option<Execution>, JournalError> {
        let row = sqlx::query("SELECT body, revision FROM execution WHERE id = ? AND tenant = ?")
            .bind(id.to_string())
            .bind(tenant)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(execution_at).transpose()
    }

    pub(in crate::store) async fn spent_by(
        &self,
        presented: &Presented,
    ) -> Result<Option<Execution>, JournalError> {
        let row = sqlx::query(
            "SELECT e.body, e.revision FROM claim c JOIN execution e ON e.id = c.execution \
             WHERE c.issuer = ? AND c.cti = ? AND c.request_id = ? AND c.request_hash = ? \
             AND c.caller = ?",
        )
        .bind(&presented.issuer)
        .bind(presented.cti.as_bytes().as_slice())
        .bind(presented.request_id.as_bytes().as_slice())
        .bind(presented.request_hash.as_slice())
        .bind(&presented.caller)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(execution_at).transpose()
    }

    pub(in crate::store) async fn list(
        &self,
        tenant: &str,
        filter: &Filter,
    ) -> Result<Vec<Execution>, JournalError> {
        let mut query = listing("SELECT body, revision", tenant, filter);
        let pool = match filter.readers {
            Readers::Writes => &self.pool,
            Readers::Undos => &self.undos,
            Readers::Lists => &self.lists,
        };
        let rows = query.build().fetch_all(pool).await?;
        executions(&rows, execution_at).await
    }

    pub(in crate::store) async fn open_executions(
        &self,
        idle: i64,
    ) -> Result<Vec<Execution>, JournalError> {
        // Each connection of each tenant has its share: one that piles up hides nobody else's.
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT body, revision FROM (SELECT body, revision, created_ms, row_number() OVER (\
             PARTITION BY tenant, json_extract(body, '$.connection') ORDER BY created_ms) AS nth \
             FROM execution WHERE state IN ('CLAIMED', 'SENDING', 'IN_DOUBT') \
             AND (state = 'IN_DOUBT' OR touched_ms <= ",
        );
        query.push(NOW_MS).push(" - ").push_bind(idle);
        query.push(")) WHERE nth <= ").push_bind(OPEN_EACH_MAX);
        query
            .push(" ORDER BY created_ms LIMIT ")
            .push_bind(OPEN_MAX);
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(execution_at).collect()
    }

    pub(in crate::store) async fn rollout(
        &self,
        tenant: &str,
        action: &str,
    ) -> Result<Option<RolloutRow>, JournalError> {
        let sql = "SELECT rollout, until_ms, set_ms, revision, card, system FROM rollout \
                   WHERE revision > 0 AND tenant = ? AND action = ?";
        Ok(sqlx::query_as(sql)
            .bind(tenant)
            .bind(action)
            .fetch_optional(&self.pool)
            .await?)
    }

    pub(in crate::store) async fn writing(&self) -> Result<Vec<(String, String)>, JournalError> {
        let sql = "SELECT tenant, action FROM rollout WHERE rollout IN ('live', 'pilot')";
        Ok(sqlx::query_as(sql).fetch_all(&self.pool).await?)
    }

    pub(in crate::store) async fn tallies(
        &self,
        tenant: &str,
        action: &str,
        buckets: &[String],
    ) -> Result<BTreeMap<String, i64>, JournalError> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT bucket, used FROM tally WHERE tenant = ");
        query.push_bind(tenant.to_owned());
        query.push(" AND action = ").push_bind(action.to_owned());
        query.push(" AND bucket IN (");
        let mut list = query.separated(", ");
        for bucket in buckets {
            list.push_bind(bucket.clone());
        }
        query.push(")");
        let rows: Vec<(String, i64)> = query.build_query_as().fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    pub(in crate::store) async fn undo_writs(
        &self,
        tenant: &str,
        executions: &[Uuid],
    ) -> Result<BTreeMap<String, Vec<u8>>, JournalError> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT execution, token FROM undo_writ WHERE tenant = ");
        query.push_bind(tenant.to_owned());
        query.push(" AND execution IN (");
        let mut list = query.separated(", ");
        for execution in executions {
            list.push_bind(execution.to_string());
        }
        query.push(")");
        let rows: Vec<(String, Vec<u8>)> = query.build_query_as().fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    pub(in crate::store) async fn outbox(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Report>, JournalError> {
        let rows = sqlx::query("SELECT id, body FROM outbox WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after.as_bytes().to_vec())
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &SqliteRow| {
            Ok(Report {
                id: uuid_at(row, 0)?,
                body: row.try_get(1)?,
            })
        };
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn mark(&self) -> Result<JournalMark, JournalError> {
        let sql = "SELECT coalesce(max(id), ''), (SELECT coalesce(sum(revision), 0) FROM rollout) FROM execution";
        let row = sqlx::query(sql).fetch_one(&self.pool).await?;
        Ok(JournalMark {
            newest: row.try_get(0)?,
            moves: row.try_get(1)?,
        })
    }

    pub(in crate::store) async fn ping(&self) -> Result<(), JournalError> {
        sqlx::query("SELECT max(version) FROM schema_version")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
