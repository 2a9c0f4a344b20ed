//! Policy sets and the versions of records in PostgreSQL.

use sqlx::{PgConnection, Row as _};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::{Known, Latest, Planned};
use super::super::policy::InForce;
use super::super::{StoreError, number};
use super::{PostgresLedger, column, tenant_at};

pub(super) async fn write(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), StoreError> {
    for (tenant, (record, seq), row) in planned.policies() {
        if let Some(digest) = row.digest {
            sqlx::query(
                "UPDATE policy_set SET seq = $3 \
                 WHERE tenant = $1 AND digest = $2 AND seq IS NULL",
            )
            .bind(tenant.as_str())
            .bind(digest.as_slice())
            .bind(number(seq))
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query(
            "INSERT INTO policy_in_force (tenant, digest, engine, record) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant) DO UPDATE SET digest = excluded.digest, \
             engine = excluded.engine, record = excluded.record",
        )
        .bind(tenant.as_str())
        .bind(row.digest.map_or_else(Vec::new, Vec::from))
        .bind(&row.engine)
        .bind(record)
        .execute(&mut *tx)
        .await?;
    }
    let versions: Vec<_> = planned.versions.iter().collect();
    if versions.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO record_version (tenant, record, version, hash) \
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::bytea[]) \
         ON CONFLICT (tenant, record) DO UPDATE SET version = excluded.version, \
         hash = excluded.hash",
    )
    .bind(column(&versions, |((tenant, _), _)| tenant.as_str()))
    .bind(column(&versions, |((_, record), _)| *record))
    .bind(column(&versions, |(_, latest)| i64::from(latest.version)))
    .bind(column(&versions, |(_, latest)| latest.hash.to_vec()))
    .execute(tx)
    .await?;
    Ok(())
}

/// The newest versions of the records that a batch goes on with.
pub(super) async fn read_versions(
    tx: &mut PgConnection,
    known: &mut Known,
    wanted: Vec<(TenantId, Uuid)>,
) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT asked.tenant, asked.record, coalesce(v.version, 1)::bigint, v.hash, r.leaf \
         FROM UNNEST($1::text[], $2::uuid[]) AS asked (tenant, record) \
         LEFT JOIN record_version v ON v.tenant = asked.tenant AND v.record = asked.record \
         LEFT JOIN decision d ON d.id = asked.record AND d.tenant = asked.tenant \
         LEFT JOIN record r ON v.hash IS NULL AND r.tenant = d.tenant AND r.seq = d.seq \
         WHERE v.hash IS NOT NULL OR r.leaf IS NOT NULL",
    )
    .bind(column(&wanted, |(tenant, _)| tenant.as_str()))
    .bind(column(&wanted, |(_, record)| *record))
    .fetch_all(tx)
    .await?;
    for row in &rows {
        let latest = Latest::from_columns(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)?;
        let key = (tenant_at(row, 0)?, row.try_get(1)?);
        known.versions.insert(key, latest);
    }
    Ok(())
}

impl PostgresLedger {
    pub(in super::super) async fn policy_in_force(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<InForce>, StoreError> {
        let row =
            sqlx::query("SELECT record, digest, engine FROM policy_in_force WHERE tenant = $1")
                .bind(tenant.as_str())
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let digest: Vec<u8> = row.try_get(1)?;
        InForce::from_columns(&digest, row.try_get(2)?, row.try_get(0)?).map(Some)
    }

    pub(in super::super) async fn policy_keep(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
        body: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO policy_set (tenant, digest, body) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant, digest) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(digest.as_slice())
        .bind(body)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(in super::super) async fn policy_first(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
    ) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT seq FROM policy_set WHERE tenant = $1 AND digest = $2";
        let seq: Option<Option<i64>> = sqlx::query_scalar(sql)
            .bind(tenant.as_str())
            .bind(digest.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        Ok(seq.flatten())
    }

    pub(in super::super) async fn policy_set(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT body FROM policy_set WHERE tenant = $1 AND digest = $2";
        let body = sqlx::query_scalar(sql)
            .bind(tenant.as_str())
            .bind(digest.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        Ok(body)
    }
}
