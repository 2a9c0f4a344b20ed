//! Versions of a database schema. Migrations go forward only: the list of a program is never
//! changed, only continued, and a database of a later program is refused.

use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

/// Why a schema is not usable.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database does not answer, or refused a migration.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A later program made it.
    #[error("schema version {found}, this program knows {known}")]
    Version {
        /// Version in the database.
        found: i64,
        /// Version of this program.
        known: i64,
    },
}

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)";
/// Lock of migrations, so that replicas that start together make each step once.
const LOCK: i64 = 0x5752_4954;

fn known(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// The migrations that a database of some version still needs, each with its number.
fn missing<'a>(
    migrations: &'a [&'a str],
    found: i64,
) -> Result<impl Iterator<Item = (i64, &'a str)>, SchemaError> {
    let known = known(migrations);
    let Some(skip) = usize::try_from(found).ok().filter(|_| found <= known) else {
        return Err(SchemaError::Version { found, known });
    };
    Ok((1..).zip(migrations.iter().copied()).skip(skip))
}

/// Brings a SQLite file to the version of this program. Reads only when it is there already.
///
/// # Errors
/// When the database is away, a migration fails, or a later program made it.
pub async fn prepare_sqlite(pool: &SqlitePool, migrations: &[&str]) -> Result<(), SchemaError> {
    let there: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'")
            .fetch_one(pool)
            .await?;
    let newest = "SELECT coalesce(max(version), 0) FROM schema_version";
    if there > 0 {
        let found: i64 = sqlx::query_scalar(newest).fetch_one(pool).await?;
        if missing(migrations, found)?.next().is_none() {
            return Ok(());
        }
    }
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLE).execute(&mut *tx).await?;
    let found: i64 = sqlx::query_scalar(newest).fetch_one(&mut *tx).await?;
    for (version, step) in missing(migrations, found)? {
        sqlx::raw_sql(AssertSqlSafe(step.to_owned()))
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES (?)")
            .bind(version)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

/// Brings a PostgreSQL database to the version of this program.
///
/// # Errors
/// When the database is away, a migration fails, or a later program made it.
pub async fn prepare_postgres(pool: &PgPool, migrations: &[&str]) -> Result<(), SchemaError> {
    let mut tx = pool.begin().await?;
    // A migration may take its time; calls may not.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .execute(&mut *tx)
        .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await?;
    let there: bool = sqlx::query_scalar("SELECT to_regclass('schema_version') IS NOT NULL")
        .fetch_one(&mut *tx)
        .await?;
    if !there {
        sqlx::raw_sql(TABLE).execute(&mut *tx).await?;
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_version")
        .fetch_one(&mut *tx)
        .await?;
    for (version, step) in missing(migrations, found)? {
        sqlx::raw_sql(AssertSqlSafe(step.to_owned()))
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE a (x BIGINT); CREATE TABLE b (x BIGINT);";
    const SECOND: &str = "CREATE TABLE c (x BIGINT);";

    #[tokio::test]
    async fn migrations_go_forward_once_and_a_later_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("t.db").display());
        let pool = SqlitePool::connect(&url).await.unwrap();
        prepare_sqlite(&pool, &[FIRST]).await.unwrap();
        prepare_sqlite(&pool, &[FIRST]).await.unwrap();
        prepare_sqlite(&pool, &[FIRST, SECOND]).await.unwrap();
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name IN ('a', 'b', 'c')")
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!(tables, 3);
        let error = prepare_sqlite(&pool, &[FIRST]).await.unwrap_err();
        assert!(matches!(error, SchemaError::Version { found: 2, known: 1 }));
    }
}
