//! The ledger in SQLite: WAL, `synchronous=FULL`, one connection that writes the log.

mod budget;
mod incident;
mod notice;
mod policy;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
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
use writ_proto::ids::TenantId;

use super::batch::{Known, Planned, later, plan};
use super::{
    Append, Appended, DecisionRow, Head, LOGS_MAX, OLD_DECISIONS, RecordRow, StoreError, corrupt,
    head_row, limit, number,
};
use crate::domain::log::merkle;

const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/sqlite/0001_init.sql"),
    include_str!("migrations/sqlite/0002_budgets.sql"),
    include_str!("migrations/sqlite/0003_notices.sql"),
    include_str!("migrations/sqlite/0004_undo.sql"),
    include_str!("migrations/sqlite/0005_intent.sql"),
    include_str!("migrations/sqlite/0006_versions.sql"),
];
const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Negative means KiB: the inner pages of the keys stay in memory.
const CACHE: &str = "-8192";
/// Statements of so few rows come back often enough to be kept prepared.
const ROWS_KEPT_PREPARED: usize = 4;

/// A ledger in one SQLite file. One process writes.
#[derive(Debug, Clone)]
pub struct SqliteLedger {
    pool: SqlitePool,
    options: SqliteConnectOptions,
}

fn tenant_at(row: &SqliteRow, at: usize) -> Result<TenantId, StoreError> {
    TenantId::parse(row.try_get(at)?).map_err(|_| corrupt("a tenant"))
}

fn uuid_at(row: &SqliteRow, at: usize) -> Result<Uuid, StoreError> {
    let bytes: &[u8] = row.try_get(at)?;
    Uuid::from_slice(bytes).map_err(|_| corrupt("an id that is not 16 bytes"))
}

fn decision_at(row: &SqliteRow) -> Result<DecisionRow, StoreError> {
    let fingerprint: &[u8] = row.try_get("fingerprint")?;
    let id = |name| -> Result<Uuid, StoreError> {
        let bytes: &[u8] = row.try_get(name)?;
        Uuid::from_slice(bytes).map_err(|_| corrupt("an id that is not 16 bytes"))
    };
    Ok(DecisionRow {
        id: id("id")?,
        request_id: id("request_id")?,
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| corrupt("a fingerprint"))?,
        body: row.try_get("body")?,
    })
}

impl SqliteLedger {
    /// Opens or makes the file and brings its schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
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
        let old: i64 = sqlx::query_scalar(OLD_DECISIONS).fetch_one(&pool).await?;
        if old > 0 {
            return Err(StoreError::OldLog);
        }
        Ok(Self { pool, options })
    }

    pub(super) fn writer(&self) -> SqliteWriter {
        SqliteWriter {
            options: self.options.clone(),
            open: None,
            heads: BTreeMap::new(),
        }
    }

    pub(super) async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        let mut connection = self.pool.acquire().await?;
        Ok(read_head(&mut connection, tenant)
            .await?
            .unwrap_or_default())
    }

    pub(super) async fn heads(
        &self,
    ) -> Result<BTreeMap<TenantId, (u64, merkle::Hash)>, StoreError> {
        let sql = "SELECT tenant, size, last_hash FROM log_head WHERE size > 0 LIMIT ?";
        let rows = sqlx::query(sql)
            .bind(limit(LOGS_MAX))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &SqliteRow| {
            let last: &[u8] = row.try_get(2)?;
            Ok((tenant_at(row, 0)?, head_row(row.try_get(1)?, last)?))
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn record_list(
        &self,
        tenant: &TenantId,
        from: u64,
        most: usize,
    ) -> Result<Vec<RecordRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, leaf, disclosed FROM record WHERE tenant = ? AND seq >= ? ORDER BY seq LIMIT ?",
        )
        .bind(tenant.as_str())
        .bind(number(from))
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &SqliteRow| {
            RecordRow::from_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn decision(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<DecisionRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM decision WHERE id = ? AND tenant = ?")
            .bind(id.as_bytes().as_slice())
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(decision_at).transpose()
    }

    pub(super) async fn decided(
        &self,
        tenant: &TenantId,
        request: Uuid,
    ) -> Result<Option<DecisionRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM decision WHERE request_id = ? AND tenant = ?")
            .bind(request.as_bytes().as_slice())
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(decision_at).transpose()
    }

    pub(super) async fn decision_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM decision WHERE tenant = ? ORDER BY id DESC LIMIT ?")
            .bind(tenant.as_str())
            .bind(limit(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(decision_at).collect()
    }

    pub(super) async fn has_outcome(&self, id: Uuid) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT id FROM outcome WHERE id = ?")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    pub(super) async fn probe(&self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO probe (id, at_ms) VALUES (1, ?) \
             ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms";
        sqlx::query(sql).bind(now_ms).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT max(version) FROM schema_version")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }
}

/// The writing side: its own connection, and the heads as it left them.
#[derive(Debug)]
pub(super) struct SqliteWriter {
    options: SqliteConnectOptions,
    open: Option<SqliteConnection>,
    heads: BTreeMap<TenantId, Head>,
}

impl SqliteWriter {
    /// One transaction, sent in one piece.
    ///
    /// A batch of fresh decisions is written without reading first: the keys of the tables refuse
    /// whatever is not fresh, and only then is it read what is there.
    pub(super) async fn commit(&mut self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => {
                self.heads.clear();
                SqliteConnection::connect_with(&self.options).await?
            }
        };
        let mut answers = None;
        if !batch.iter().any(Append::counts) {
            let known = self.heads(&mut connection, batch).await?;
            answers = self.write(&mut connection, plan(batch, known)).await?;
        }
        if answers.is_none() {
            self.heads.clear();
            let known = self.known(&mut connection, batch).await?;
            answers = self.write(&mut connection, plan(batch, known)).await?;
        }
        self.open = Some(connection);
        answers.ok_or_else(|| StoreError::Unavailable("another process writes this file".into()))
    }

    /// `None` when a key was taken; then nothing is written.
    async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        planned: Planned<'_>,
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        if planned.is_empty() {
            return Ok(Some(planned.answers));
        }
        let mut sql = statements(&planned);
        let query = sql
            .build()
            .persistent(planned.rows.len() <= ROWS_KEPT_PREPARED);
        match query.execute(&mut *connection).await {
            Ok(_) => {
                self.heads.extend(planned.heads);
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

    async fn heads(
        &self,
        connection: &mut SqliteConnection,
        batch: &[Append],
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for tenant in batch
            .iter()
            .map(|item| &item.tenant)
            .collect::<BTreeSet<_>>()
        {
            let head = match self.heads.get(tenant) {
                Some(head) => Some(head.clone()),
                None => read_head(connection, tenant).await?,
            };
            known.heads.extend(head.map(|head| (tenant.clone(), head)));
        }
        Ok(known)
    }

    /// Reads all that the batch touches. Nobody else writes the file; if somebody does, the keys
    /// of the log tell.
    async fn known(
        &self,
        connection: &mut SqliteConnection,
        batch: &[Append],
    ) -> Result<Known, StoreError> {
        let mut known = self.heads(connection, batch).await?;
        let asked: BTreeSet<(String, Vec<u8>)> = batch
            .iter()
            .filter_map(|item| {
                let row = item.decision.as_ref()?;
                Some((item.tenant.to_string(), row.request_id.as_bytes().to_vec()))
            })
            .collect();
        if !asked.is_empty() {
            let mut sql = QueryBuilder::<Sqlite>::new(
                "SELECT * FROM decision WHERE (tenant, request_id) IN (",
            );
            sql.push_values(asked, |mut values, (tenant, request)| {
                values.push_bind(tenant).push_bind(request);
            });
            sql.push(")");
            for row in &sql.build().fetch_all(&mut *connection).await? {
                let found = decision_at(row)?;
                let tenant = TenantId::parse(row.try_get("tenant")?);
                let tenant = tenant.map_err(|_| corrupt("a tenant"))?;
                known.decisions.insert((tenant, found.request_id), found);
            }
        }
        let outcomes: BTreeSet<Uuid> = batch.iter().filter_map(|item| item.outcome_id).collect();
        if !outcomes.is_empty() {
            let mut sql = QueryBuilder::<Sqlite>::new("SELECT id FROM outcome WHERE id IN (");
            let mut ids = sql.separated(", ");
            for id in outcomes {
                ids.push_bind(id.as_bytes().to_vec());
            }
            sql.push(")");
            for row in &sql.build().fetch_all(&mut *connection).await? {
                known.outcomes.insert(uuid_at(row, 0)?);
            }
        }
        policy::read_versions(connection, &mut known, later(batch)).await?;
        budget::read(connection, batch, &mut known).await?;
        for item in batch {
            incident::read_tallies(connection, &mut known, item).await?;
        }
        Ok(known)
    }
}

async fn read_head(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
) -> Result<Option<Head>, StoreError> {
    let row = sqlx::query("SELECT size, frontier, last_hash FROM log_head WHERE tenant = ?")
        .bind(tenant.as_str())
        .fetch_optional(connection)
        .await?;
    row.map(|row| Head::from_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        .transpose()
}

/// The whole transaction as one text: every hop to the thread of the database costs.
fn statements(planned: &Planned<'_>) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("BEGIN IMMEDIATE");
    if !planned.rows.is_empty() {
        log_statements(planned, &mut sql);
    }
    budget::statements(planned, &mut sql);
    notice::statements(planned, &mut sql);
    incident::statements(planned, &mut sql);
    undo::statements(planned, &mut sql);
    policy::statements(planned, &mut sql);
    sql.push("; COMMIT");
    sql
}

/// Records, with what goes with each, and the heads of their logs.
fn log_statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    sql.push("; INSERT INTO record (tenant, seq, leaf, disclosed) ");
    sql.push_values(&planned.rows, |mut values, row| {
        values
            .push_bind(row.tenant.as_str().to_owned())
            .push_bind(number(row.seq))
            .push_bind(row.leaf.clone())
            .push_bind(row.draft.disclosed());
    });
    let decisions = planned.decisions();
    if !decisions.is_empty() {
        sql.push("; INSERT INTO decision (tenant, request_id, id, fingerprint, body, seq) ");
        let placed = decisions.into_iter().zip(planned.decision_seqs());
        sql.push_values(placed, |mut values, ((tenant, row), seq)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(row.request_id.as_bytes().to_vec())
                .push_bind(row.id.as_bytes().to_vec())
                .push_bind(row.fingerprint.to_vec())
                .push_bind(row.body.clone())
                .push_bind(number(seq));
        });
    }
    let outcomes = planned.outcomes();
    if !outcomes.is_empty() {
        sql.push("; INSERT INTO outcome (id) ");
        sql.push_values(outcomes, |mut values, id| {
            values.push_bind(id.as_bytes().to_vec());
        });
    }
    sql.push("; INSERT INTO log_head (tenant, size, frontier, last_hash) ");
    sql.push_values(&planned.heads, |mut values, (tenant, head)| {
        values
            .push_bind(tenant.as_str().to_owned())
            .push_bind(number(head.frontier.size()))
            .push_bind(head.frontier.encode())
            .push_bind(head.last.unwrap_or_default().to_vec());
    });
    sql.push(
        " ON CONFLICT (tenant) DO UPDATE SET size = excluded.size, frontier = excluded.frontier, \
         last_hash = excluded.last_hash",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_answered_survives_a_loss_of_power() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("t.db").display());
        let ledger = SqliteLedger::open(&url).await.unwrap();
        // As the writer connects.
        let mut connection = ledger.options.connect().await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(synchronous, 2, "2 is FULL");
    }
}
