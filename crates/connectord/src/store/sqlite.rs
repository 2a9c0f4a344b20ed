//! The journal in SQLite: WAL, `synchronous=FULL`, `BEGIN IMMEDIATE`.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use writ_proto::card::Rollout;

use super::{Claim, Claimed, Filter, JournalError, Report, rollout_from};
use crate::domain::execution::Execution;

const SCHEMA_VERSION: i64 = 1;
const CONNECTIONS_MAX: u32 = 8;
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A journal in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteJournal {
    pool: SqlitePool,
    /// Writers queue here, in order, instead of spinning on the lock of the database.
    turn: Arc<Mutex<()>>,
}

/// A write transaction and the turn it was given.
struct Write {
    tx: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl Write {
    async fn commit(self) -> Result<(), JournalError> {
        self.tx.commit().await.map_err(lost)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn lost(error: sqlx::Error) -> JournalError {
    JournalError::Unavailable(error.to_string())
}

fn execution_at(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<Execution, JournalError> {
    let body: &str = row.try_get(at).map_err(lost)?;
    serde_json::from_str(body).map_err(|error| JournalError::Corrupt(error.to_string()))
}

impl SqliteJournal {
    /// Opens or makes the file and checks its schema version.
    ///
    /// # Errors
    /// When the file cannot be opened or another version of the program made it.
    pub async fn open(url: &str) -> Result<Self, JournalError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(lost)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(lost)?;
        let journal = Self {
            pool,
            turn: Arc::new(Mutex::new(())),
        };
        journal.prepare().await?;
        Ok(journal)
    }

    /// A write transaction, within a bounded wait.
    async fn begin(&self) -> Result<Write, JournalError> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turn).lock_owned()).await;
        let turn = turn.map_err(|_| JournalError::Unavailable("too many writers".to_owned()))?;
        let tx = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(lost)?;
        Ok(Write { tx, _turn: turn })
    }

    async fn prepare(&self) -> Result<(), JournalError> {
        let there: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'")
                .fetch_one(&self.pool)
                .await
                .map_err(lost)?;
        if there == 0 {
            let mut tx = self
                .pool
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map_err(lost)?;
            sqlx::raw_sql(include_str!("schema.sql"))
                .execute(&mut *tx)
                .await
                .map_err(lost)?;
            tx.commit().await.map_err(lost)?;
        }
        let found: i64 = sqlx::query_scalar("SELECT version FROM schema_version")
            .fetch_one(&self.pool)
            .await
            .map_err(lost)?;
        if found == SCHEMA_VERSION {
            return Ok(());
        }
        Err(JournalError::SchemaVersion {
            found,
            known: SCHEMA_VERSION,
        })
    }

    /// Spends a token for one call, counts it against the cap and writes the intent.
    ///
    /// # Errors
    /// When the journal is away; then the token is not spent.
    pub async fn claim(&self, claim: &Claim) -> Result<Claimed, JournalError> {
        let mut write = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO claim (issuer, cti, request_id, request_hash, caller, execution) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (issuer, cti) DO NOTHING",
        )
        .bind(&claim.issuer)
        .bind(claim.cti.as_slice())
        .bind(claim.request_id.as_slice())
        .bind(claim.request_hash.as_slice())
        .bind(&claim.caller)
        .bind(&claim.execution.id)
        .execute(&mut *write.tx)
        .await
        .map_err(lost)?;
        if inserted.rows_affected() == 0 {
            return repeated(&mut write.tx, claim).await;
        }
        if claim.execution.execute && !count(&mut write.tx, claim).await? {
            // Dropping the transaction takes the claim back.
            return Ok(Claimed::OverCap);
        }
        write_execution(&mut write.tx, &claim.execution).await?;
        write.commit().await?;
        Ok(Claimed::Fresh)
    }

    /// Writes an execution and its reports in one transaction.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn save(
        &self,
        executions: &[&Execution],
        reports: &[Report],
    ) -> Result<(), JournalError> {
        let mut write = self.begin().await?;
        for execution in executions {
            write_execution(&mut write.tx, execution).await?;
        }
        for report in reports {
            sqlx::query("INSERT INTO outbox (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING")
                .bind(report.id.as_slice())
                .bind(report.body.as_slice())
                .execute(&mut *write.tx)
                .await
                .map_err(lost)?;
        }
        write.commit().await
    }

    /// One execution of a tenant.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn execution(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Execution>, JournalError> {
        let row = sqlx::query("SELECT body FROM execution WHERE id = ? AND tenant = ?")
            .bind(id)
            .bind(tenant)
            .fetch_optional(&self.pool)
            .await
            .map_err(lost)?;
        row.map(|row| execution_at(&row, 0)).transpose()
    }

    /// Executions of a tenant, newest first.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &Filter,
    ) -> Result<Vec<Execution>, JournalError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT body FROM execution WHERE tenant = ");
        query.push_bind(tenant.to_owned());
        let texts = [
            ("state", &filter.state),
            ("run", &filter.run),
            ("action", &filter.action),
        ];
        for (column, wanted) in texts {
            if let Some(wanted) = wanted {
                query
                    .push(format!(" AND {column} = "))
                    .push_bind(wanted.clone());
            }
        }
        if let Some(since) = filter.since_ms {
            query.push(" AND created_ms >= ").push_bind(since);
        }
        query
            .push(" ORDER BY created_ms DESC, id DESC LIMIT ")
            .push_bind(filter.limit);
        let rows = query.build().fetch_all(&self.pool).await.map_err(lost)?;
        rows.iter().map(|row| execution_at(row, 0)).collect()
    }

    /// Executions of all tenants that have not ended.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn open_executions(&self) -> Result<Vec<Execution>, JournalError> {
        let rows = sqlx::query(
            "SELECT body FROM execution WHERE state IN ('CLAIMED', 'SENDING', 'IN_DOUBT') \
             ORDER BY created_ms LIMIT 10000",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(lost)?;
        rows.iter().map(|row| execution_at(row, 0)).collect()
    }

    /// How far an action was promoted for a tenant, if it was.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn rollout(
        &self,
        tenant: &str,
        action: &str,
    ) -> Result<Option<Rollout>, JournalError> {
        let name: Option<String> =
            sqlx::query_scalar("SELECT rollout FROM rollout WHERE tenant = ? AND action = ?")
                .bind(tenant)
                .bind(action)
                .fetch_optional(&self.pool)
                .await
                .map_err(lost)?;
        let read = |name: String| {
            rollout_from(&name).ok_or_else(|| JournalError::Corrupt(format!("rollout `{name}`")))
        };
        name.map(read).transpose()
    }

    /// Sets how far an action goes, with the report of it.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn set_rollout(
        &self,
        (tenant, action): (&str, &str),
        rollout: Rollout,
        report: &Report,
    ) -> Result<(), JournalError> {
        let mut write = self.begin().await?;
        sqlx::query(
            "INSERT INTO rollout (tenant, action, rollout) VALUES (?, ?, ?) \
             ON CONFLICT (tenant, action) DO UPDATE SET rollout = excluded.rollout",
        )
        .bind(tenant)
        .bind(action)
        .bind(rollout.name())
        .execute(&mut *write.tx)
        .await
        .map_err(lost)?;
        sqlx::query("INSERT INTO outbox (id, body) VALUES (?, ?)")
            .bind(report.id.as_slice())
            .bind(report.body.as_slice())
            .execute(&mut *write.tx)
            .await
            .map_err(lost)?;
        write.commit().await
    }

    /// The oldest waiting reports.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn outbox(&self, limit: u32) -> Result<Vec<Report>, JournalError> {
        let rows = sqlx::query("SELECT id, body FROM outbox ORDER BY id LIMIT ?")
            .bind(limit)
            .fetch_all(&self.pool)
            .await
            .map_err(lost)?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let id: &[u8] = row.try_get(0).map_err(lost)?;
            let id = id
                .try_into()
                .map_err(|_| JournalError::Corrupt("outbox id".to_owned()))?;
            Ok(Report {
                id,
                body: row.try_get(1).map_err(lost)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Forgets reports that policyd has made durable, or will never take.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn outbox_done(&self, ids: &[[u8; 16]]) -> Result<(), JournalError> {
        let mut write = self.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM outbox WHERE id = ?")
                .bind(id.as_slice())
                .execute(&mut *write.tx)
                .await
                .map_err(lost)?;
        }
        write.commit().await
    }

    /// Whether the journal answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), JournalError> {
        sqlx::query("SELECT version FROM schema_version")
            .fetch_one(&self.pool)
            .await
            .map(|_| ())
            .map_err(lost)
    }
}

/// Tells a retry of the very same call from a second use of the token.
async fn repeated(tx: &mut SqliteConnection, claim: &Claim) -> Result<Claimed, JournalError> {
    let row = sqlx::query(
        "SELECT e.body FROM claim c JOIN execution e ON e.id = c.execution \
         WHERE c.issuer = ? AND c.cti = ? AND c.request_id = ? AND c.request_hash = ? \
         AND c.caller = ?",
    )
    .bind(&claim.issuer)
    .bind(claim.cti.as_slice())
    .bind(claim.request_id.as_slice())
    .bind(claim.request_hash.as_slice())
    .bind(&claim.caller)
    .fetch_optional(tx)
    .await
    .map_err(lost)?;
    row.map_or(Ok(Claimed::Replayed), |row| {
        execution_at(&row, 0).map(Box::new).map(Claimed::Repeated)
    })
}

/// Adds one to the day's count if the cap allows it.
async fn count(tx: &mut SqliteConnection, claim: &Claim) -> Result<bool, JournalError> {
    let execution = &claim.execution;
    let counted = sqlx::query(
        "INSERT INTO day_count (tenant, action, day, used) SELECT ?, ?, ?, 1 WHERE ? >= 1 \
         ON CONFLICT (tenant, action, day) DO UPDATE SET used = used + 1 WHERE used < ?",
    )
    .bind(&execution.tenant)
    .bind(&execution.action)
    .bind(&claim.day)
    .bind(claim.records_per_day)
    .bind(claim.records_per_day)
    .execute(tx)
    .await
    .map_err(lost)?;
    Ok(counted.rows_affected() == 1)
}

async fn write_execution(
    tx: &mut SqliteConnection,
    execution: &Execution,
) -> Result<(), JournalError> {
    let body = serde_json::to_string(execution)
        .map_err(|error| JournalError::Corrupt(error.to_string()))?;
    sqlx::query(
        "INSERT INTO execution (id, tenant, state, run, action, created_ms, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
    )
    .bind(&execution.id)
    .bind(&execution.tenant)
    .bind(execution.state.name())
    .bind(&execution.run)
    .bind(&execution.action)
    .bind(execution.created_ms)
    .bind(body)
    .execute(tx)
    .await
    .map_err(lost)?;
    Ok(())
}
