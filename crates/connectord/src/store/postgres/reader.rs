//! Reading the journal in PostgreSQL.

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{PgPool, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;
use writ_proto::host::store::postgres::{
    WriteConnection, options, pool, pool_of_lists, writes_to_disk,
};

use super::PostgresWriter;
use crate::domain::execution::Execution;
use crate::store::JournalMark;
use crate::store::rows::{Readers, RolloutRow, earliest, executions};
use crate::store::{Filter, JournalError, OPEN_EACH_MAX, OPEN_MAX, Presented, Report, decode};

const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/postgres/0001_init.sql"),
    include_str!("../migrations/postgres/0002_counts.sql"),
    include_str!("../migrations/postgres/0003_undo.sql"),
    include_str!("../migrations/postgres/0004_rollout.sql"),
    include_str!("../migrations/postgres/0005_lists.sql"),
];
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// The reading side.
#[derive(Debug, Clone)]
pub(in crate::store) struct PostgresReader {
    pool: PgPool,
    undos: PgPool,
    lists: PgPool,
    options: PgConnectOptions,
}

pub(super) fn execution_at(row: &PgRow) -> Result<Execution, JournalError> {
    decode(row.try_get("body")?, row.try_get("revision")?)
}

impl PostgresReader {
    /// Connects and brings the schema up to date.
    pub(in crate::store) async fn open(url: &str) -> Result<Self, JournalError> {
        let options = options(url)?;
        let pool = pool(options.clone());
        if !writes_to_disk(&pool).await? {
            let why = "the server runs with fsync = off: claims would not survive it";
            return Err(JournalError::Unavailable(why.to_owned()));
        }
        writ_proto::host::store::schema::prepare_postgres(&pool, &MIGRATIONS).await?;
        Ok(Self {
            pool,
            undos: pool_of_lists(options.clone()),
            lists: pool_of_lists(options.clone()),
            options,
        })
    }

    pub(in crate::store) fn writer(&self) -> PostgresWriter {
        PostgresWriter {
            connection: WriteConnection::new(self.options.clone()),
        }
    }

    pub(in crate::store) async fn execution(
        &self,
        tenant: &str,
        id: Uuid,
    ) -> Result<Option<Execution>, JournalError> {
        let row = sqlx::query("SELECT body, revision FROM execution WHERE id = $1 AND tenant = $2")
            .bind(id)
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
             WHERE c.issuer = $1 AND c.cti = $2 AND c.request_id = $3 AND c.request_hash = $4 \
             AND c.caller = $5",
        )
        .bind(&presented.issuer)
        .bind(presented.cti)
        .bind(presented.request_id)
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
        let mut query =
            QueryBuilder::<Postgres>::new("SELECT body, revision FROM execution WHERE tenant = ");
        query.push_bind(tenant.to_owned());
        for (column, wanted) in filter.texts() {
            query
                .push(format!(" AND {column} = "))
                .push_bind(wanted.to_owned());
        }
        if let Some(since) = filter.since_ms {
            query.push(" AND created_ms >= ").push_bind(since);
            query.push(" AND id >= ").push_bind(earliest(since));
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
            query.push(" AND surprise");
        }
        if let Some(before) = &filter.before {
            let before = Uuid::try_parse(before).unwrap_or(Uuid::nil());
            query.push(" AND id < ").push_bind(before);
        }
        // Ids begin with their time, and the key is sorted already.
        query
            .push(" ORDER BY id DESC LIMIT ")
            .push_bind(i64::from(filter.limit));
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
        let mut query = QueryBuilder::<Postgres>::new(
            "SELECT body, revision FROM (SELECT body, revision, created_ms, row_number() OVER (\
             PARTITION BY tenant, body::jsonb->>'connection' ORDER BY created_ms) AS nth \
             FROM execution WHERE state IN ('CLAIMED', 'SENDING', 'IN_DOUBT') \
             AND (state = 'IN_DOUBT' OR touched_ms <= ",
        );
        query.push(NOW_MS).push(" - ").push_bind(idle);
        query
            .push(")) AS open WHERE nth <= ")
            .push_bind(OPEN_EACH_MAX);
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
                   WHERE revision > 0 AND tenant = $1 AND action = $2";
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
        let sql = "SELECT bucket, used FROM tally \
                   WHERE tenant = $1 AND action = $2 AND bucket = ANY($3)";
        let rows: Vec<(String, i64)> = sqlx::query_as(sql)
            .bind(tenant)
            .bind(action)
            .bind(buckets)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().collect())
    }

    pub(in crate::store) async fn undo_writs(
        &self,
        tenant: &str,
        executions: &[Uuid],
    ) -> Result<BTreeMap<String, Vec<u8>>, JournalError> {
        let sql = "SELECT execution, token FROM undo_writ \
                   WHERE tenant = $1 AND execution = ANY($2)";
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(sql)
            .bind(tenant)
            .bind(executions)
            .fetch_all(&self.pool)
            .await?;
        let named = |(id, token): (Uuid, Vec<u8>)| (id.to_string(), token);
        Ok(rows.into_iter().map(named).collect())
    }

    pub(in crate::store) async fn outbox(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Report>, JournalError> {
        let rows = sqlx::query("SELECT id, body FROM outbox WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &PgRow| {
            Ok(Report {
                id: row.try_get(0)?,
                body: row.try_get(1)?,
            })
        };
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn mark(&self) -> Result<JournalMark, JournalError> {
        let sql = "SELECT coalesce((SELECT id::text FROM execution ORDER BY id DESC LIMIT 1), ''), (SELECT coalesce(sum(revision), 0)::bigint FROM rollout)";
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
