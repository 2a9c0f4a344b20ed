//! The ledger in PostgreSQL: many processes, one log a tenant. The row of a log's head is locked
//! for the length of a transaction, so that whoever writes sees all that was written before.

mod budget;
mod incident;
mod notice;
mod policy;
mod undo;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};
use uuid::Uuid;
use writ_proto::host::store::postgres::{WriteConnection, options, pool, writes_to_disk};
use writ_proto::ids::TenantId;

use super::batch::{Known, Planned, later, plan};
use super::{
    Append, Appended, DecisionRow, Head, LOGS_MAX, OLD_DECISIONS, RecordRow, StoreError, corrupt,
    head_row, limit, number,
};
use crate::domain::log::merkle;

const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/postgres/0001_init.sql"),
    include_str!("migrations/postgres/0002_budgets.sql"),
    include_str!("migrations/postgres/0003_notices.sql"),
    include_str!("migrations/postgres/0004_undo.sql"),
    include_str!("migrations/postgres/0005_intent.sql"),
    include_str!("migrations/postgres/0006_versions.sql"),
];

/// A ledger in one PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresLedger {
    pool: PgPool,
    options: PgConnectOptions,
}

fn tenant_at(row: &PgRow, at: usize) -> Result<TenantId, StoreError> {
    TenantId::parse(row.try_get(at)?).map_err(|_| corrupt("a tenant"))
}

fn decision_at(row: &PgRow) -> Result<DecisionRow, StoreError> {
    let fingerprint: &[u8] = row.try_get("fingerprint")?;
    Ok(DecisionRow {
        id: row.try_get("id")?,
        request_id: row.try_get("request_id")?,
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| corrupt("a fingerprint"))?,
        body: row.try_get("body")?,
    })
}

impl PostgresLedger {
    /// Connects and brings the schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        let pool = pool(options.clone());
        if !writes_to_disk(&pool).await? {
            let why = "the server runs with fsync = off: records would not survive it";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        writ_proto::host::store::schema::prepare_postgres(&pool, &MIGRATIONS).await?;
        let old: i64 = sqlx::query_scalar(OLD_DECISIONS).fetch_one(&pool).await?;
        if old > 0 {
            return Err(StoreError::OldLog);
        }
        Ok(Self { pool, options })
    }

    pub(super) fn writer(&self) -> PostgresWriter {
        PostgresWriter {
            connection: WriteConnection::new(self.options.clone()),
        }
    }

    pub(super) async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        // A log that was only made has no head yet.
        let sql = "SELECT size, frontier, last_hash FROM log_head WHERE tenant = $1 AND size > 0";
        let row = sqlx::query(sql)
            .bind(tenant.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref()
            .map_or_else(|| Ok(Head::default()), |row| head_at(row, 0))
    }

    pub(super) async fn heads(
        &self,
    ) -> Result<BTreeMap<TenantId, (u64, merkle::Hash)>, StoreError> {
        let sql = "SELECT tenant, size, last_hash FROM log_head WHERE size > 0 LIMIT $1";
        let rows = sqlx::query(sql)
            .bind(limit(LOGS_MAX))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &PgRow| {
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
            "SELECT seq, leaf, disclosed FROM record WHERE tenant = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(number(from))
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &PgRow| {
            RecordRow::from_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn decision(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<DecisionRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM decision WHERE id = $1 AND tenant = $2")
            .bind(id)
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
        let row = sqlx::query("SELECT * FROM decision WHERE request_id = $1 AND tenant = $2")
            .bind(request)
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
        let rows =
            sqlx::query("SELECT * FROM decision WHERE tenant = $1 ORDER BY id DESC LIMIT $2")
                .bind(tenant.as_str())
                .bind(limit(most))
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(decision_at).collect()
    }

    pub(super) async fn has_outcome(&self, id: Uuid) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT id FROM outcome WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    pub(super) async fn probe(&self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO probe (id, at_ms) VALUES (1, $1) \
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

/// The writing side, over a connection of its own.
#[derive(Debug)]
pub(super) struct PostgresWriter {
    connection: WriteConnection,
}

impl PostgresWriter {
    /// One transaction. After any error the connection is gone, and the transaction with it.
    pub(super) async fn commit(&mut self, batch: &[Append]) -> Result<Vec<Appended>, StoreError> {
        let mut connection = self.connection.take().await?;
        let tenants = tenants(batch);
        let mut tx = connection.begin().await?;
        let mut heads = lock(&mut tx, &tenants).await?;
        if heads.len() < tenants.len() {
            // A log that does not exist cannot be locked: make it empty first. That waits for
            // whoever makes the same one, so no lock is held meanwhile: two processes that hold
            // one log each and wait for the other's would wait in a circle.
            tx.rollback().await?;
            make(&mut connection, &tenants).await?;
            tx = connection.begin().await?;
            heads = lock(&mut tx, &tenants).await?;
        }
        if heads.len() < tenants.len() {
            return Err(corrupt("a log without its head"));
        }
        let known = known(&mut tx, batch, &heads).await?;
        let planned = plan(batch, known);
        if planned.is_empty() {
            tx.rollback().await?;
        } else {
            write(&mut tx, &planned).await?;
            // Whether a commit that failed has happened is not known: it is never tried again here.
            tx.commit()
                .await
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        self.connection.put(connection);
        Ok(planned.answers)
    }
}

fn head_at(row: &PgRow, at: usize) -> Result<Head, StoreError> {
    let column = |offset: usize| at.saturating_add(offset);
    Head::from_columns(
        row.try_get(column(0))?,
        row.try_get(column(1))?,
        row.try_get(column(2))?,
    )
}

/// The tenants of a batch, in order of their names.
fn tenants(batch: &[Append]) -> Vec<String> {
    let tenants: BTreeSet<&TenantId> = batch.iter().map(|item| &item.tenant).collect();
    tenants.iter().map(ToString::to_string).collect()
}

/// Makes the logs that do not exist, in order of their names and at once.
async fn make(connection: &mut PgConnection, tenants: &[String]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO log_head (tenant, size, frontier, last_hash) \
         SELECT tenant, 0, ''::bytea, ''::bytea FROM UNNEST($1::text[]) AS tenant \
         ON CONFLICT (tenant) DO NOTHING",
    )
    .bind(tenants)
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads all that a batch touches. Budgets and holds belong to a tenant and change only under the
/// lock of its log.
async fn known(
    tx: &mut PgConnection,
    batch: &[Append],
    heads: &[PgRow],
) -> Result<Known, StoreError> {
    let mut known = Known::default();
    for row in heads {
        if row.try_get::<i64, _>(1)? > 0 {
            known.heads.insert(tenant_at(row, 0)?, head_at(row, 1)?);
        }
    }
    read_decisions(tx, batch, &mut known).await?;
    read_outcomes(tx, batch, &mut known).await?;
    policy::read_versions(tx, &mut known, later(batch)).await?;
    budget::read(tx, batch, &mut known).await?;
    incident::read_tallies(tx, batch, &mut known).await?;
    Ok(known)
}

/// Locks the logs of tenants, in order of their names, and answers the heads of those that exist.
async fn lock(tx: &mut PgConnection, tenants: &[String]) -> Result<Vec<PgRow>, StoreError> {
    Ok(sqlx::query(
        "SELECT tenant, size, frontier, last_hash FROM log_head WHERE tenant = ANY($1) \
         ORDER BY tenant COLLATE \"C\" FOR UPDATE",
    )
    .bind(tenants)
    .fetch_all(tx)
    .await?)
}

async fn read_decisions(
    tx: &mut PgConnection,
    batch: &[Append],
    known: &mut Known,
) -> Result<(), StoreError> {
    let asked = batch
        .iter()
        .filter_map(|item| Some((item.tenant.to_string(), item.decision.as_ref()?.request_id)));
    let (tenants, requests): (Vec<String>, Vec<Uuid>) = asked.unzip();
    if requests.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT d.* FROM UNNEST($1::text[], $2::uuid[]) AS asked (tenant, request_id) \
         JOIN decision d USING (tenant, request_id)",
    )
    .bind(tenants)
    .bind(requests)
    .fetch_all(tx)
    .await?;
    for row in &rows {
        let found = decision_at(row)?;
        let tenant = TenantId::parse(row.try_get("tenant")?).map_err(|_| corrupt("a tenant"))?;
        known.decisions.insert((tenant, found.request_id), found);
    }
    Ok(())
}

async fn read_outcomes(
    tx: &mut PgConnection,
    batch: &[Append],
    known: &mut Known,
) -> Result<(), StoreError> {
    let asked: Vec<Uuid> = batch.iter().filter_map(|item| item.outcome_id).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let found: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM outcome WHERE id = ANY($1)")
        .bind(asked)
        .fetch_all(tx)
        .await?;
    known.outcomes.extend(found);
    Ok(())
}

/// One column of an `UNNEST`.
fn column<'a, I, T>(items: &'a [I], pick: impl FnMut(&'a I) -> T) -> Vec<T> {
    items.iter().map(pick).collect()
}

/// Everything of the batch in one statement.
async fn write(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), StoreError> {
    let rows = &planned.rows;
    let decisions = planned.decisions();
    let heads: Vec<(&TenantId, &Head)> = planned.heads.iter().collect();
    let last = |head: &Head| head.last.unwrap_or_default().to_vec();
    sqlx::query(
        "WITH r AS (INSERT INTO record (tenant, seq, leaf, disclosed) \
           SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])), \
         d AS (INSERT INTO decision (tenant, request_id, id, fingerprint, body, seq) \
           SELECT * FROM UNNEST($5::text[], $6::uuid[], $7::uuid[], $8::bytea[], $9::bytea[], \
             $15::bigint[])), \
         o AS (INSERT INTO outcome (id) SELECT * FROM UNNEST($10::uuid[])) \
         UPDATE log_head SET size = h.size, frontier = h.frontier, last_hash = h.last_hash \
         FROM UNNEST($11::text[], $12::bigint[], $13::bytea[], $14::bytea[]) \
           AS h (tenant, size, frontier, last_hash) WHERE log_head.tenant = h.tenant",
    )
    .bind(column(rows, |row| row.tenant.as_str()))
    .bind(column(rows, |row| number(row.seq)))
    .bind(column(rows, |row| row.leaf.as_slice()))
    .bind(column(rows, |row| row.draft.disclosed()))
    .bind(column(&decisions, |(tenant, _)| tenant.as_str()))
    .bind(column(&decisions, |(_, row)| row.request_id))
    .bind(column(&decisions, |(_, row)| row.id))
    .bind(column(&decisions, |(_, row)| row.fingerprint.as_slice()))
    .bind(column(&decisions, |(_, row)| row.body.as_slice()))
    .bind(planned.outcomes())
    .bind(column(&heads, |(tenant, _)| tenant.as_str()))
    .bind(column(&heads, |(_, head)| number(head.frontier.size())))
    .bind(column(&heads, |(_, head)| head.frontier.encode()))
    .bind(column(&heads, |(_, head)| last(head)))
    .bind(column(&planned.decision_seqs(), |seq| number(*seq)))
    .execute(&mut *tx)
    .await?;
    budget::write(&mut *tx, planned).await?;
    notice::write(&mut *tx, &planned.notices).await?;
    incident::write(&mut *tx, planned).await?;
    policy::write(&mut *tx, planned).await?;
    undo::write(tx, planned).await
}
