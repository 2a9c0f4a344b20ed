//! The ledger in SQLite: WAL, `synchronous=FULL`, `BEGIN IMMEDIATE`, multi-row statements.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::{Append, Appended, DecisionRow, Head, RecordRow, StoreError};
use crate::domain::merkle::{Frontier, leaf_hash};

const SCHEMA_VERSION: i64 = 1;
const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A ledger in one SQLite file. One process writes.
#[derive(Debug, Clone)]
pub struct SqliteLedger {
    pool: SqlitePool,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn lost(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl SqliteLedger {
    /// Opens or makes the file and checks its schema version.
    ///
    /// # Errors
    /// When the file cannot be opened or another version of the program made it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(lost)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(lost)?;
        let ledger = Self { pool };
        ledger.prepare().await?;
        Ok(ledger)
    }

    async fn prepare(&self) -> Result<(), StoreError> {
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
        Err(StoreError::SchemaVersion {
            found,
            known: SCHEMA_VERSION,
        })
    }

    /// Appends a batch in one transaction.
    ///
    /// # Errors
    /// When any part fails; then nothing of the batch is stored.
    pub async fn append_batch(&self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
        let mut tx = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(lost)?;
        let mut known = decisions_by_request(&mut tx, batch).await?;
        let mut reported = outcomes_known(&mut tx, batch).await?;
        let mut heads: BTreeMap<String, Head> = BTreeMap::new();
        let mut rows = Vec::with_capacity(batch.len());
        let mut appended = Vec::with_capacity(batch.len());
        for item in batch {
            let key = item
                .decision
                .as_ref()
                .map(|row| (item.tenant.to_string(), row.request_id));
            if let Some(row) = key.as_ref().and_then(|key| known.get(key)) {
                appended.push(Appended::DuplicateDecision(row.clone()));
                continue;
            }
            if item.outcome_id.is_some_and(|id| reported.contains(&id)) {
                appended.push(Appended::DuplicateOutcome);
                continue;
            }
            if let Some((key, row)) = key.zip(item.decision.clone()) {
                known.insert(key, row);
            }
            reported.extend(item.outcome_id);
            if !heads.contains_key(item.tenant.as_str()) {
                let head = read_head(&mut tx, &item.tenant).await?;
                heads.insert(item.tenant.to_string(), head);
            }
            let Some(head) = heads.get_mut(item.tenant.as_str()) else {
                continue;
            };
            let seq = head.frontier.size();
            let leaf = item.draft.leaf(seq, head.last.as_ref());
            let hash = leaf_hash(&leaf);
            head.frontier.push(hash);
            head.last = Some(hash);
            rows.push((item, seq, leaf));
            appended.push(Appended::Stored { seq });
        }
        write_rows(&mut tx, &rows).await?;
        write_heads(&mut tx, &heads).await?;
        tx.commit().await.map_err(lost)?;
        Ok(appended)
    }

    /// The head of a tenant's log.
    ///
    /// # Errors
    /// When the store is away or holds no valid head.
    pub async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(lost)?;
        read_head(&mut connection, tenant).await
    }

    /// Records of a tenant from a place on, in order.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn record_list(
        &self,
        tenant: &TenantId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<RecordRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, leaf FROM record WHERE tenant = ? AND seq >= ? ORDER BY seq LIMIT ?",
        )
        .bind(tenant.as_str())
        .bind(number(from))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(lost)?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let seq = u64::try_from(row.try_get::<i64, _>(0).map_err(lost)?);
            Ok(RecordRow {
                seq: seq.map_err(|_| corrupt("a negative sequence number"))?,
                leaf: row.try_get(1).map_err(lost)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// A decision of a tenant by its id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn decision(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<DecisionRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, request_id, fingerprint, body FROM decision WHERE id = ? AND tenant = ?",
        )
        .bind(id.as_bytes().as_slice())
        .bind(tenant.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(lost)?;
        row.map(|row| decision_row(&row, 0)).transpose()
    }

    /// Decisions of a tenant, newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn decision_list(
        &self,
        tenant: &TenantId,
        limit: usize,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, request_id, fingerprint, body FROM decision WHERE tenant = ? \
             ORDER BY id DESC LIMIT ?",
        )
        .bind(tenant.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(lost)?;
        rows.iter().map(|row| decision_row(row, 0)).collect()
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT version FROM schema_version")
            .fetch_one(&self.pool)
            .await
            .map(|_| ())
            .map_err(lost)
    }
}

fn uuid_at(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<Uuid, StoreError> {
    let bytes: &[u8] = row.try_get(at).map_err(lost)?;
    Uuid::from_slice(bytes).map_err(|_| corrupt("an id that is not 16 bytes"))
}

fn decision_row(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<DecisionRow, StoreError> {
    let fingerprint: &[u8] = row.try_get(at.saturating_add(2)).map_err(lost)?;
    Ok(DecisionRow {
        id: uuid_at(row, at)?,
        request_id: uuid_at(row, at.saturating_add(1))?,
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| corrupt("a fingerprint"))?,
        body: row.try_get(at.saturating_add(3)).map_err(lost)?,
    })
}

type Known = BTreeMap<(String, Uuid), DecisionRow>;

async fn decisions_by_request(
    tx: &mut SqliteConnection,
    batch: &[Append],
) -> Result<Known, StoreError> {
    let asked: Vec<_> = batch
        .iter()
        .filter_map(|item| {
            item.decision
                .as_ref()
                .map(|row| (&item.tenant, row.request_id))
        })
        .collect();
    if asked.is_empty() {
        return Ok(Known::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT tenant, id, request_id, fingerprint, body FROM decision \
         WHERE (tenant, request_id) IN (VALUES ",
    );
    for (index, (tenant, request)) in asked.iter().enumerate() {
        query.push(if index > 0 { ", (" } else { "(" });
        query.push_bind(tenant.as_str()).push(", ");
        query.push_bind(request.as_bytes().to_vec()).push(")");
    }
    query.push(")");
    let rows = query.build().fetch_all(tx).await.map_err(lost)?;
    let mut known = Known::new();
    for row in &rows {
        let tenant: String = row.try_get(0).map_err(lost)?;
        let found = decision_row(row, 1)?;
        known.insert((tenant, found.request_id), found);
    }
    Ok(known)
}

async fn outcomes_known(
    tx: &mut SqliteConnection,
    batch: &[Append],
) -> Result<std::collections::BTreeSet<Uuid>, StoreError> {
    let asked: Vec<Uuid> = batch.iter().filter_map(|item| item.outcome_id).collect();
    if asked.is_empty() {
        return Ok(std::collections::BTreeSet::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM outcome WHERE id IN (");
    let mut list = query.separated(", ");
    for id in &asked {
        list.push_bind(id.as_bytes().to_vec());
    }
    query.push(")");
    let rows = query.build().fetch_all(tx).await.map_err(lost)?;
    rows.iter().map(|row| uuid_at(row, 0)).collect()
}

async fn read_head(tx: &mut SqliteConnection, tenant: &TenantId) -> Result<Head, StoreError> {
    let row = sqlx::query("SELECT size, frontier, last_hash FROM log_head WHERE tenant = ?")
        .bind(tenant.as_str())
        .fetch_optional(tx)
        .await
        .map_err(lost)?;
    let Some(row) = row else {
        return Ok(Head::default());
    };
    let size = u64::try_from(row.try_get::<i64, _>(0).map_err(lost)?);
    let roots: &[u8] = row.try_get(1).map_err(lost)?;
    let last: &[u8] = row.try_get(2).map_err(lost)?;
    let frontier = size.ok().and_then(|size| Frontier::decode(size, roots));
    Ok(Head {
        frontier: frontier.ok_or_else(|| corrupt("the head of the log"))?,
        last: Some(last.try_into().map_err(|_| corrupt("the last hash"))?),
    })
}

async fn write_rows(
    tx: &mut SqliteConnection,
    rows: &[(&Append, u64, Vec<u8>)],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO record (tenant, seq, leaf, disclosed) ");
    query.push_values(rows, |mut row, (item, seq, leaf)| {
        row.push_bind(item.tenant.as_str())
            .push_bind(number(*seq))
            .push_bind(leaf.as_slice())
            .push_bind(item.draft.disclosed());
    });
    query.build().execute(&mut *tx).await.map_err(lost)?;
    let decisions: Vec<_> = rows
        .iter()
        .filter_map(|(item, ..)| item.decision.as_ref().map(|row| (&item.tenant, row)))
        .collect();
    if !decisions.is_empty() {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO decision (tenant, request_id, id, fingerprint, body) ",
        );
        query.push_values(decisions, |mut row, (tenant, decision)| {
            row.push_bind(tenant.as_str())
                .push_bind(decision.request_id.as_bytes().to_vec())
                .push_bind(decision.id.as_bytes().to_vec())
                .push_bind(decision.fingerprint.to_vec())
                .push_bind(decision.body.as_slice());
        });
        query.build().execute(&mut *tx).await.map_err(lost)?;
    }
    let outcomes: Vec<Uuid> = rows
        .iter()
        .filter_map(|(item, ..)| item.outcome_id)
        .collect();
    if !outcomes.is_empty() {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO outcome (id) ");
        query.push_values(outcomes, |mut row, id| {
            row.push_bind(id.as_bytes().to_vec());
        });
        query.build().execute(&mut *tx).await.map_err(lost)?;
    }
    Ok(())
}

async fn write_heads(
    tx: &mut SqliteConnection,
    heads: &BTreeMap<String, Head>,
) -> Result<(), StoreError> {
    for (tenant, head) in heads {
        sqlx::query(
            "INSERT INTO log_head (tenant, size, frontier, last_hash) VALUES (?, ?, ?, ?) \
             ON CONFLICT (tenant) DO UPDATE SET size = excluded.size, \
             frontier = excluded.frontier, last_hash = excluded.last_hash",
        )
        .bind(tenant)
        .bind(number(head.frontier.size()))
        .bind(head.frontier.encode())
        .bind(head.last.unwrap_or_default().to_vec())
        .execute(&mut *tx)
        .await
        .map_err(lost)?;
    }
    Ok(())
}
