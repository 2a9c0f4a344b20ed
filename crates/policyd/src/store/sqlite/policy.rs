//! Policy sets and the versions of records in SQLite.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use writ_proto::ids::TenantId;

use super::super::batch::{Known, Latest, Planned};
use super::super::policy::InForce;
use super::super::{StoreError, number};
use super::{SqliteLedger, uuid_at};

pub(super) fn statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    for (tenant, (record, seq), row) in planned.policies() {
        if let Some(digest) = row.digest {
            sql.push("; UPDATE policy_set SET seq = ")
                .push_bind(number(seq));
            sql.push(" WHERE tenant = ")
                .push_bind(tenant.as_str().to_owned());
            sql.push(" AND digest = ").push_bind(digest.to_vec());
            sql.push(" AND seq IS NULL");
        }
        sql.push("; INSERT INTO policy_in_force (tenant, digest, engine, record) VALUES (");
        let mut values = sql.separated(", ");
        values.push_bind(tenant.as_str().to_owned());
        values.push_bind(row.digest.map_or_else(Vec::new, Vec::from));
        values.push_bind(row.engine.clone());
        values.push_bind(record.as_bytes().to_vec());
        sql.push(
            ") ON CONFLICT (tenant) DO UPDATE SET digest = excluded.digest, \
             engine = excluded.engine, record = excluded.record",
        );
    }
    if planned.versions.is_empty() {
        return;
    }
    sql.push("; INSERT INTO record_version (tenant, record, version, hash) ");
    sql.push_values(
        &planned.versions,
        |mut values, ((tenant, record), latest)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(record.as_bytes().to_vec())
                .push_bind(i64::from(latest.version))
                .push_bind(latest.hash.to_vec());
        },
    );
    sql.push(
        " ON CONFLICT (tenant, record) DO UPDATE SET version = excluded.version, \
         hash = excluded.hash",
    );
}

/// The newest versions of the records that a batch goes on with.
pub(super) async fn read_versions(
    connection: &mut SqliteConnection,
    known: &mut Known,
    wanted: Vec<(TenantId, uuid::Uuid)>,
) -> Result<(), StoreError> {
    for (tenant, record) in wanted {
        let row = sqlx::query(
            "SELECT version, hash, NULL FROM record_version WHERE tenant = ?1 AND record = ?2 \
             UNION ALL SELECT 1, NULL, r.leaf FROM decision d JOIN record r \
             ON r.tenant = d.tenant AND r.seq = d.seq WHERE d.id = ?2 AND d.tenant = ?1 LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(record.as_bytes().as_slice())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            let latest = Latest::from_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)?;
            known.versions.insert((tenant, record), latest);
        }
    }
    Ok(())
}

impl SqliteLedger {
    pub(in super::super) async fn policy_in_force(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<InForce>, StoreError> {
        let row =
            sqlx::query("SELECT record, digest, engine FROM policy_in_force WHERE tenant = ?")
                .bind(tenant.as_str())
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let digest: Vec<u8> = row.try_get(1)?;
        InForce::from_columns(&digest, row.try_get(2)?, uuid_at(&row, 0)?).map(Some)
    }

    pub(in super::super) async fn policy_keep(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
        body: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO policy_set (tenant, digest, body) VALUES (?, ?, ?) \
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
        let seq: Option<Option<i64>> =
            sqlx::query_scalar("SELECT seq FROM policy_set WHERE tenant = ? AND digest = ?")
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
        let body =
            sqlx::query_scalar("SELECT body FROM policy_set WHERE tenant = ? AND digest = ?")
                .bind(tenant.as_str())
                .bind(digest.as_slice())
                .fetch_optional(&self.pool)
                .await?;
        Ok(body)
    }
}
