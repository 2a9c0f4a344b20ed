//! Connections to PostgreSQL that wait for nothing without end and commit to disk.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

/// Most connections for reading.
pub const READERS_MAX: u32 = 8;
const LISTERS_MAX: u32 = 4;
/// Longest wait of a list for those before it.
const LIST_WAIT_MAX: Duration = Duration::from_secs(8);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest statement, wait for a lock, and pause inside a transaction, as the server enforces it.
const SERVER_LIMITS: [(&str, &str); 8] = [
    ("statement_timeout", "4s"),
    ("lock_timeout", "3s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // The answer to a commit means that it is on disk, whatever the server's default is.
    ("synchronous_commit", "on"),
    ("client_min_messages", "warning"),
    // Every query goes by a key: a plan made while a table was empty must not stay a scan.
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// Whether an address of a store means PostgreSQL.
#[must_use]
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// An address without its password, for messages.
#[must_use]
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // The options behind `?` may hold one too.
    let rest = rest.split('?').next().unwrap_or_default();
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

/// How to connect.
///
/// # Errors
/// When the address is not one.
pub fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?.options(SERVER_LIMITS))
}

/// A pool for reads; it connects when it is needed.
#[must_use]
pub fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options)
}

/// A pool for lists, which may look at all that a tenant has done: other reads wait for none of them.
#[must_use]
pub fn pool_of_lists(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(LISTERS_MAX)
        .acquire_timeout(LIST_WAIT_MAX)
        .connect_lazy_with(options)
}

/// A server that does not write to disk, for whatever it says, must not hold records.
///
/// # Errors
/// When it does not answer; `Ok(false)` when `fsync` is off.
pub async fn writes_to_disk(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(pool).await?;
    Ok(fsync == "on")
}

/// The one connection that writes: made when it is needed, and thrown away after any failure, so
/// that nothing of a broken transaction is left in it.
#[derive(Debug)]
pub struct WriteConnection {
    options: PgConnectOptions,
    open: Option<PgConnection>,
}

impl WriteConnection {
    /// Not connected yet.
    #[must_use]
    pub const fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            open: None,
        }
    }

    /// Takes the connection out; give it back with `put` when its transaction has ended well.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn take(&mut self) -> Result<PgConnection, sqlx::Error> {
        match self.open.take() {
            Some(connection) => Ok(connection),
            None => PgConnection::connect_with(&self.options).await,
        }
    }

    /// Keeps the connection for the next batch.
    pub fn put(&mut self, connection: PgConnection) {
        self.open = Some(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_holds_the_password() {
        let table = [
            (
                "postgres://writ:s3cret@db:5432/writ",
                "postgres://writ@db:5432/writ",
            ),
            ("postgres://writ:p@ss@db/writ", "postgres://writ@db/writ"),
            ("postgres://writ@db/writ", "postgres://writ@db/writ"),
            ("postgres:///writ", "postgres:///writ"),
            ("postgres://db/writ?password=s3cret", "postgres://db/writ"),
            (
                "postgres://u:p@db/writ?sslmode=require",
                "postgres://u@db/writ",
            ),
            ("sqlite://a.db", "sqlite://a.db"),
        ];
        for (url, said) in table {
            assert_eq!(without_password(url), said);
        }
    }
}
