//! The journal in SQLite: WAL, `synchronous=FULL`, one connection that writes.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{
    ConnectOptions as _, Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection,
};
use uuid::Uuid;

use super::batch::{Known, Planned, Spent, claims, counters, followed, plan};
use super::{
    Claimed, Counter, Filter, JournalError, OPEN_MAX, Report, Work, Written, decode, encode,
};
use crate::domain::execution::Execution;

const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/sqlite/0001_init.sql"),
    include_str!("migrations/sqlite/0002_counts.sql"),
    include_str!("migrations/sqlite/0003_undo.sql"),
];
const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Negative means KiB: the inner pages of the keys stay in memory.
const CACHE: &str = "-8192";
/// Statements of so few rows come back often enough to be kept prepared.
const ROWS_KEPT_PREPARED: usize = 4;
/// Counts that are remembered.
const COUNTS_MAX: usize = 4_096;
const NOW_MS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// The reading side.
#[derive(Debug, Clone)]
pub(super) struct SqliteReader {
    pool: SqlitePool,
    options: SqliteConnectOptions,
}

fn uuid_at(row: &SqliteRow, at: usize) -> Result<Uuid, JournalError> {
    let bytes: &[u8] = row.try_get(at)?;
    Uuid::from_slice(bytes).map_err(|_| JournalError::Corrupt("an id".to_owned()))
}

fn execution_at(row: &SqliteRow) -> Result<Execution, JournalError> {
    decode(row.try_get("body")?, row.try_get("revision")?)
}

impl SqliteReader {
    /// Opens or makes the file and brings its schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, JournalError> {
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
        writ_host::schema::prepare_sqlite(&pool, &MIGRATIONS).await?;
        Ok(Self { pool, options })
    }

    pub(super) fn writer(&self) -> SqliteWriter {
        SqliteWriter {
            options: self.options.clone(),
            open: None,
            used: BTreeMap::new(),
        }
    }

    pub(super) async fn execution(
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

    pub(super) async fn list(
        &self,
        tenant: &str,
        filter: &Filter,
    ) -> Result<Vec<Execution>, JournalError> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT body, revision FROM execution WHERE tenant = ");
        query.push_bind(tenant.to_owned());
        for (column, wanted) in filter.texts() {
            query
                .push(format!(" AND {column} = "))
                .push_bind(wanted.to_owned());
        }
        if let Some(since) = filter.since_ms {
            query.push(" AND created_ms >= ").push_bind(since);
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
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(execution_at).collect()
    }

    pub(super) async fn open_executions(&self, idle: i64) -> Result<Vec<Execution>, JournalError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT body, revision FROM execution WHERE state IN ('CLAIMED', 'SENDING', 'IN_DOUBT') \
             AND (state = 'IN_DOUBT' OR touched_ms <= ",
        );
        query.push(NOW_MS).push(" - ").push_bind(idle);
        query
            .push(") ORDER BY created_ms LIMIT ")
            .push_bind(OPEN_MAX);
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(execution_at).collect()
    }

    pub(super) async fn rollout(
        &self,
        tenant: &str,
        action: &str,
    ) -> Result<Option<(String, i64, i64)>, JournalError> {
        let sql = "SELECT rollout, until_ms, set_ms FROM rollout WHERE tenant = ? AND action = ?";
        Ok(sqlx::query_as(sql)
            .bind(tenant)
            .bind(action)
            .fetch_optional(&self.pool)
            .await?)
    }

    pub(super) async fn tallies(
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

    pub(super) async fn undo_writs(
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

    pub(super) async fn outbox(&self, limit: u32) -> Result<Vec<Report>, JournalError> {
        let rows = sqlx::query("SELECT id, body FROM outbox ORDER BY id LIMIT ?")
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

    pub(super) async fn ping(&self) -> Result<(), JournalError> {
        sqlx::query("SELECT max(version) FROM schema_version")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }
}

/// The writing side: its own connection, and the counts as it left them.
#[derive(Debug)]
pub(super) struct SqliteWriter {
    options: SqliteConnectOptions,
    open: Option<SqliteConnection>,
    used: BTreeMap<Counter, i64>,
}

impl SqliteWriter {
    /// One transaction, sent in one piece. Claims are written as if fresh: the key of the table
    /// refuses whatever is not, and only then is it read what is there.
    pub(super) async fn commit(&mut self, batch: &[Work]) -> Result<Vec<Written>, JournalError> {
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => {
                self.used.clear();
                SqliteConnection::connect_with(&self.options).await?
            }
        };
        let known = self.known(&mut connection, batch).await?;
        let planned = plan(batch, known);
        // A token that is spent already says so, also when a ceiling is reached.
        let capped = |answer: &Written| matches!(answer, Written::Claimed(Claimed::OverCap(_)));
        let mut answers = if planned.answers.iter().any(capped) {
            None
        } else {
            self.write(&mut connection, planned).await?
        };
        if answers.is_none() {
            self.used.clear();
            let mut known = self.known(&mut connection, batch).await?;
            for claim in claims(batch) {
                read_spent(&mut connection, &claim.issuer, claim.cti, &mut known).await?;
            }
            answers = self.write(&mut connection, plan(batch, known)).await?;
        }
        self.open = Some(connection);
        answers.ok_or_else(|| JournalError::Unavailable("another process writes this file".into()))
    }

    /// `None` when a key was taken; then nothing is written.
    async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        planned: Planned<'_>,
    ) -> Result<Option<Vec<Written>>, JournalError> {
        if planned.is_empty() {
            return Ok(Some(planned.answers));
        }
        let mut sql = statements(&planned)?;
        let few = planned.executions.len() <= ROWS_KEPT_PREPARED;
        match sql.build().persistent(few).execute(&mut *connection).await {
            Ok(_) => {
                if self.used.len() > COUNTS_MAX {
                    self.used.clear();
                }
                self.used.extend(planned.used);
                Ok(Some(planned.answers))
            }
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                sqlx::raw_sql("ROLLBACK").execute(connection).await?;
                Ok(None)
            }
            // The connection is not given back: closing it ends what is left of the transaction.
            Err(error) => Err(error.into()),
        }
    }

    /// Counts and revisions. Nobody else writes the file.
    async fn known(
        &self,
        connection: &mut SqliteConnection,
        batch: &[Work],
    ) -> Result<Known, JournalError> {
        let mut known = Known::default();
        for counter in counters(batch) {
            let used = match self.used.get(&counter) {
                Some(used) => *used,
                None => read_used(connection, &counter).await?,
            };
            known.used.insert(counter, used);
        }
        let ids: Vec<&str> = followed(batch).map(|own| own.id.as_str()).collect();
        if ids.is_empty() {
            return Ok(known);
        }
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT id, revision FROM execution WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.to_owned());
        }
        query.push(")");
        for row in query.build().fetch_all(connection).await? {
            known.revisions.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(known)
    }
}

async fn read_used(
    connection: &mut SqliteConnection,
    (tenant, action, bucket): &Counter,
) -> Result<i64, JournalError> {
    let used: Option<i64> =
        sqlx::query_scalar("SELECT used FROM tally WHERE tenant = ? AND action = ? AND bucket = ?")
            .bind(tenant)
            .bind(action)
            .bind(bucket)
            .fetch_optional(connection)
            .await?;
    Ok(used.unwrap_or_default())
}

async fn read_spent(
    connection: &mut SqliteConnection,
    issuer: &str,
    cti: Uuid,
    known: &mut Known,
) -> Result<(), JournalError> {
    let row = sqlx::query(
        "SELECT c.request_id, c.request_hash, c.caller, e.body, e.revision FROM claim c \
         JOIN execution e ON e.id = c.execution WHERE c.issuer = ? AND c.cti = ?",
    )
    .bind(issuer)
    .bind(cti.as_bytes().as_slice())
    .fetch_optional(connection)
    .await?;
    if let Some(row) = row {
        let spent = Spent {
            request_id: uuid_at(&row, 0)?,
            request_hash: row.try_get(1)?,
            caller: row.try_get(2)?,
            execution: execution_at(&row)?,
        };
        known.spent.insert((issuer.to_owned(), cti), spent);
    }
    Ok(())
}

/// The whole transaction as one text: every hop to the thread of the database costs.
fn statements(planned: &Planned<'_>) -> Result<QueryBuilder<Sqlite>, JournalError> {
    let mut sql = QueryBuilder::new("BEGIN IMMEDIATE");
    if !planned.claims.is_empty() {
        sql.push("; INSERT INTO claim (issuer, cti, request_id, request_hash, caller, execution) ");
        sql.push_values(&planned.claims, |mut values, claim| {
            values
                .push_bind(claim.issuer.clone())
                .push_bind(claim.cti.as_bytes().to_vec())
                .push_bind(claim.request_id.as_bytes().to_vec())
                .push_bind(claim.request_hash.to_vec())
                .push_bind(claim.caller.clone())
                .push_bind(claim.execution.id.clone());
        });
    }
    if !planned.executions.is_empty() {
        let bodies: Result<Vec<(&Execution, String)>, JournalError> = planned
            .executions
            .values()
            .map(|own| encode(own).map(|body| (own, body)))
            .collect();
        sql.push(
            "; INSERT INTO execution \
             (id, tenant, state, run, action, agent, target, execute, surprise, created_ms, \
              touched_ms, revision, body) ",
        );
        sql.push_values(bodies?, |mut values, (own, body)| {
            values
                .push_bind(own.id.clone())
                .push_bind(own.tenant.clone())
                .push_bind(own.state.name())
                .push_bind(own.run.clone())
                .push_bind(own.action.clone())
                .push_bind(own.agent.clone())
                .push_bind(own.target.clone())
                .push_bind(own.execute)
                .push_bind(!own.surprise.is_empty())
                .push_bind(own.created_ms)
                .push(NOW_MS)
                .push_bind(own.revision)
                .push_bind(body);
        });
        sql.push(
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body, \
             surprise = excluded.surprise, touched_ms = excluded.touched_ms, revision = excluded.revision",
        );
    }
    small_statements(planned, &mut sql);
    sql.push("; COMMIT");
    Ok(sql)
}

fn small_statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    if !planned.used.is_empty() {
        sql.push("; INSERT INTO tally (tenant, action, bucket, used) ");
        sql.push_values(
            &planned.used,
            |mut values, ((tenant, action, bucket), used)| {
                values
                    .push_bind(tenant.clone())
                    .push_bind(action.clone())
                    .push_bind(bucket.clone())
                    .push_bind(*used);
            },
        );
        sql.push(" ON CONFLICT (tenant, action, bucket) DO UPDATE SET used = excluded.used");
    }
    if !planned.reports.is_empty() {
        sql.push("; INSERT INTO outbox (id, body) ");
        sql.push_values(&planned.reports, |mut values, report| {
            values
                .push_bind(report.id.as_bytes().to_vec())
                .push_bind(report.body.clone());
        });
        sql.push(" ON CONFLICT (id) DO NOTHING");
    }
    if !planned.rollouts.is_empty() {
        sql.push("; INSERT INTO rollout (tenant, action, rollout, until_ms, set_ms) ");
        sql.push_values(&planned.rollouts, |mut values, ((tenant, action), to)| {
            values
                .push_bind((*tenant).to_owned())
                .push_bind((*action).to_owned())
                .push_bind(to.rollout.name())
                .push_bind(to.until_ms)
                .push_bind(to.set_ms);
        });
        sql.push(
            " ON CONFLICT (tenant, action) DO UPDATE SET rollout = excluded.rollout, \
             until_ms = excluded.until_ms, set_ms = excluded.set_ms",
        );
    }
    if !planned.undo_writs.is_empty() {
        sql.push("; INSERT INTO undo_writ (execution, tenant, token) ");
        sql.push_values(&planned.undo_writs, |mut values, writ| {
            values
                .push_bind(writ.execution.to_string())
                .push_bind(writ.tenant.clone())
                .push_bind(writ.token.clone());
        });
        sql.push(" ON CONFLICT (execution) DO NOTHING");
    }
    if !planned.delivered.is_empty() {
        sql.push("; DELETE FROM outbox WHERE id IN (");
        let mut list = sql.separated(", ");
        for id in &planned.delivered {
            list.push_bind(id.as_bytes().to_vec());
        }
        sql.push(")");
    }
}
