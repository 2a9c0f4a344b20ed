//! The driver for a table of PostgreSQL: one row is read, or one row is changed and nothing else is.
//!
//! A write is one `UPDATE` of named columns in its own transaction, against the row version (`xmin`
//! and a digest of the declared columns), and is rolled back unless it hit exactly one row. A dry run
//! is the same statement, rolled back. Every value travels as JSON and is read by PostgreSQL into the
//! types of the table, so `numeric`, `timestamptz`, `jsonb` and arrays need no code here.

mod probe;
mod staging;
mod written;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map as JsonMap, Value as Json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};
use writ_proto::value::Map;

use written::written;

use super::file::{Bound, Object, Table, clean};
use super::{Applied, Between, Doubt, Happened, NotDone, Receipt, Standing, SystemError, Wanted};
use crate::credentials::Credential;
use crate::domain::image::Image;
use crate::domain::plan::Plan;

/// Longest wait for a connection and for a lock.
const WAIT: Duration = Duration::from_secs(3);
/// Longest pause within a transaction, as the server enforces it: a process that is stopped for longer
/// has written nothing. Takeover waits far longer.
const IDLE: Duration = Duration::from_secs(10);

/// How a transaction begins that can change nothing.
pub(crate) const READ_ONLY: &str = "BEGIN READ ONLY";

/// A connection to the tables of one database.
#[derive(Debug)]
pub struct Postgres {
    bound: Arc<Bound>,
    pool: PgPool,
    base: String,
    fingerprint: [u8; 32],
    /// What its login was seen to have.
    pub(super) standing: Standing,
}

/// What became of one statement.
enum Failed {
    /// PostgreSQL said that nothing was done.
    Not(NotDone, String),
    /// The connection ended before it said anything.
    Lost(String),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                let said = clean(database.message());
                let not = match code.as_ref() {
                    "42501" => NotDone::Denied,
                    // Lock and statement timeouts, too many connections, shutdowns.
                    "55P03" | "57014" | "53300" | "57P01" | "57P03" => NotDone::Unreached,
                    "40001" | "40P01" => NotDone::Stale,
                    _ => NotDone::Refused,
                };
                Self::Not(not, said)
            }
            sqlx::Error::PoolTimedOut => {
                Self::Not(NotDone::Unreached, "no connection in time".to_owned())
            }
            _ => Self::Lost(clean(&error.to_string())),
        }
    }
}

impl From<Failed> for SystemError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Not(NotDone::Denied, why) => Self::Denied(why),
            Failed::Not(_, why) | Failed::Lost(why) => Self::Unavailable(why),
        }
    }
}

/// Whether an answer to COMMIT says that nothing was committed, for certain: a constraint that is
/// looked at there, a conflict, an aborted transaction. A server that shuts down, or a pooler before it,
/// may answer with an error after it was.
fn is_rolled_back(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| {
        matches!(code.as_ref(), "40001" | "40002" | "40P01" | "P0001")
            || code.starts_with("23")
            || code.starts_with("25")
    })
}

/// What an error in the place of an answer to COMMIT makes of a write; the version is the one that it has if it happened.
fn instead_of_commit(error: sqlx::Error, version: Option<String>) -> Applied {
    if !is_rolled_back(&error) {
        let why = clean(&error.to_string());
        return Applied::Unknown {
            why: format!("the answer to COMMIT was lost: {why}"),
            version,
        };
    }
    match Failed::from(error) {
        Failed::Not(not, why) => Applied::Not(not, why),
        Failed::Lost(why) => Applied::unknown(why),
    }
}

/// A text as a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The column of a field, quoted.
fn column(at: &str) -> String {
    format!("\"{}\"", at.trim_start_matches('/'))
}

/// The declared columns of a row as JSON, and its version over them.
fn row_of(object: &Object, table: &Table) -> (String, String) {
    let fields = object.fields.values().map(|field| column(field.at()));
    let mut columns: Vec<String> = fields
        .chain(table.key.iter().map(|(column, _)| column.clone()))
        .collect();
    columns.sort_unstable();
    columns.dedup();
    let pairs: Vec<String> = columns
        .iter()
        .map(|column| format!("{}, t.{column}", literal(column.trim_matches('"'))))
        .collect();
    let row = format!("jsonb_build_object({})", pairs.join(", "));
    let version = format!("t.xmin::text || '-' || md5({row}::text)");
    (format!("{row}::text"), version)
}

/// `t."id" = k."id" AND ...`, with the key as a record of the table's own types.
fn same_key(table: &Table) -> String {
    let pairs: Vec<String> = table
        .key
        .iter()
        .map(|(column, _)| format!("t.{column} = k.{column}"))
        .collect();
    pairs.join(" AND ")
}

impl Postgres {
    /// A driver for a compiled file and a URL without a password. Off loopback the server must prove
    /// its name (`sslmode=verify-full`).
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(bound: Arc<Bound>, base: &str, credential: &Credential) -> Result<Self, String> {
        let options = PgConnectOptions::from_str(base)
            .map_err(|_| "base_url is postgres://USER@HOST/DATABASE".to_owned())?;
        if base
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'))
            .is_none_or(|(user, _)| user.contains(':'))
        {
            return Err(
                "base_url names a user and no password: the password is the credential".to_owned(),
            );
        }
        let host = options.get_host();
        let local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if !local && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            return Err(
                "a database on another machine is reached with ?sslmode=verify-full".to_owned(),
            );
        }
        let options = credential
            .log_in(options, &bound.auth)
            .application_name("writ-connectord");
        let most = u32::try_from(bound.concurrent).unwrap_or(1);
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(WAIT)
            .connect_lazy_with(options);
        Ok(Self {
            bound,
            pool,
            base: base.to_owned(),
            fingerprint: credential.fingerprint(),
            standing: Standing::default(),
        })
    }

    /// Which credential is shown.
    pub(super) const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Where it goes.
    pub(super) fn place(&self) -> String {
        self.base.clone()
    }

    /// The file it was made from.
    #[must_use]
    pub const fn bound(&self) -> &Arc<Bound> {
        &self.bound
    }

    fn table(&self, name: &str) -> Result<(&Object, &Table), SystemError> {
        let object = self.bound.objects.get(name);
        let found = object.and_then(|object| Some((object, object.table.as_ref()?)));
        found.ok_or_else(|| SystemError::Unknown(format!("the system has no object `{name}`")))
    }

    fn key(object: &Object, table: &Table, name: &str, id: &str) -> Result<Json, SystemError> {
        let parts = object
            .parts(id)
            .ok_or_else(|| SystemError::Unknown(format!("`{id}` is not an id of a {name}")))?;
        let mut key = JsonMap::new();
        for (column, part) in &table.key {
            let value = if part == "id" {
                id
            } else {
                parts.get(part).map_or("", String::as_str)
            };
            key.insert(
                column.trim_matches('"').to_owned(),
                Json::String(value.to_owned()),
            );
        }
        Ok(Json::Object(key))
    }

    /// Reads the wanted and the watched fields of a row, and its version.
    ///
    /// # Errors
    /// When there is no such row or it cannot be read.
    pub async fn read(&self, name: &str, id: &str, wanted: &Wanted) -> Result<Image, SystemError> {
        let (object, table) = self.table(name)?;
        let key = Self::key(object, table, name, id)?;
        let (row, version) = row_of(object, table);
        let sql = format!(
            "SELECT {row}, {version} FROM {table} AS t, jsonb_populate_record(NULL::{table}, $1::jsonb) AS k WHERE {}",
            same_key(table),
            table = table.name
        );
        let read = self.only_read(&sql, key.to_string());
        let rows = tokio::time::timeout(self.bound.timeout, read).await;
        let rows = rows
            .map_err(|_| SystemError::Unavailable("no answer in time".to_owned()))?
            .map_err(Failed::from)?;
        let [only] = rows.as_slice() else {
            return if rows.is_empty() {
                Err(SystemError::NotFound(String::new()))
            } else {
                Err(SystemError::Unknown(format!(
                    "`{id}` names {} rows",
                    rows.len()
                )))
            };
        };
        let (body, version) = shown(only)?;
        check_key(table, &key, &body)?;
        let fields = super::http::fields(object, &body, wanted).map_err(SystemError::Field)?;
        Ok(Image {
            fields,
            version: Some(version),
        })
    }

    /// The rows of a question, in a transaction that can change nothing, as the role that only reads where the file names one.
    async fn only_read(&self, sql: &str, bound: String) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut transaction = self.pool.begin_with(READ_ONLY).await?;
        if let Some(role) = &self.bound.read_as {
            sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {role}")))
                .execute(&mut *transaction)
                .await?;
        }
        let query = sqlx::query(AssertSqlSafe(sql.to_owned())).bind(bound);
        let rows = query.fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        Ok(rows)
    }

    /// The one statement of a plan, and what it is bound to.
    fn statement(&self, plan: &Plan) -> Result<(String, [String; 3]), SystemError> {
        let (object, table) = self.table(&plan.object)?;
        if !object.verbs.contains_key(&plan.verb) {
            return Err(SystemError::Unknown(format!(
                "the system file has no `{}` for a {}",
                plan.verb, plan.object
            )));
        }
        let key = Self::key(object, table, &plan.object, &plan.id)?;
        let (values, columns) = written(object, plan)?;
        let sets: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} = r.{column}"))
            .collect();
        let relied = plan
            .version
            .clone()
            .ok_or_else(|| SystemError::Field("there is no version to write against".to_owned()))?;
        let (row, version) = row_of(object, table);
        let sql = format!(
            "UPDATE {table} AS t SET {} FROM jsonb_populate_record(NULL::{table}, $1::jsonb) AS r, \
             jsonb_populate_record(NULL::{table}, $2::jsonb) AS k WHERE {} AND {version} = $3 RETURNING {row}, {version}",
            sets.join(", "),
            same_key(table),
            table = table.name
        );
        Ok((
            sql,
            [Json::Object(values).to_string(), key.to_string(), relied],
        ))
    }

    /// Runs the statement in a transaction that is open still: what it did to the one row that it hit.
    async fn run(&self, connection: &mut PgConnection, plan: &Plan) -> Result<Receipt, Failed> {
        self.limit(connection).await?;
        if let Some(staged) = self.staged(plan) {
            return staged.insert(connection).await;
        }
        let (sql, bound) = self
            .statement(plan)
            .map_err(|error| Failed::Not(NotDone::Refused, error.to_string()))?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in bound {
            query = query.bind(value);
        }
        let rows = query.fetch_all(connection).await?;
        match rows.as_slice() {
            [only] => {
                let shown = shown(only);
                let shown =
                    shown.map_err(|error| Failed::Not(NotDone::Refused, error.to_string()))?;
                Ok(Receipt {
                    version: Some(shown.1),
                    ..Receipt::default()
                })
            }
            [] => Err(Failed::Not(
                NotDone::Stale,
                "no row of this version".to_owned(),
            )),
            many => Err(Failed::Not(
                NotDone::Refused,
                format!("{} rows would change, not one", many.len()),
            )),
        }
    }

    /// The server's own limits of a transaction.
    async fn limit(&self, connection: &mut PgConnection) -> Result<(), Failed> {
        let milliseconds = self.bound.timeout.as_millis();
        let limits = format!(
            "SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}",
            WAIT.as_millis(),
            IDLE.as_millis()
        );
        sqlx::raw_sql(AssertSqlSafe(limits))
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The same statement as the write, rolled back.
    ///
    /// # Errors
    /// What the write would be refused for.
    pub async fn rehearse(&self, plan: &Plan) -> Result<Vec<String>, SystemError> {
        let line = match self.staged(plan) {
            Some(staged) => staged.line(),
            None => {
                let (sql, bound) = self.statement(plan)?;
                format!("{sql} [{}]", bound.join(", "))
            }
        };
        let tried = async {
            let mut transaction = self.pool.begin().await?;
            let ran = self.run(&mut transaction, plan).await;
            transaction.rollback().await?;
            ran
        };
        match tried.await {
            Ok(_) => Ok(vec![line]),
            Err(Failed::Not(NotDone::Refused, why)) => Err(SystemError::Field(why)),
            Err(Failed::Not(NotDone::Stale, why)) => Err(SystemError::Moved(why)),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Changes one row, or nothing.
    pub(super) async fn write(&self, plan: &Plan, between: &Between<'_>) -> Applied {
        let ran = async {
            let mut transaction = self.pool.begin().await?;
            match self.run(&mut transaction, plan).await {
                Ok(receipt) => Ok((transaction, receipt)),
                Err(failed) => {
                    // Whatever becomes of this, the transaction is not committed.
                    drop(transaction.rollback().await);
                    Err(failed)
                }
            }
        };
        let (transaction, receipt) = match ran.await {
            Ok(ran) => ran,
            Err(Failed::Not(not, why)) => return Applied::Not(not, why),
            Err(Failed::Lost(why)) => {
                return Applied::Not(NotDone::Unreached, format!("{why}; nothing was committed"));
            }
        };
        // The statement may have waited for a lock, and this process may have been stopped. What is
        // not committed within the server's own limit never will be.
        if let Err(refusal) = between(0) {
            drop(transaction.rollback().await);
            return Applied::Not(NotDone::Stopped(refusal.reason), refusal.detail);
        }
        match transaction.commit().await {
            Ok(()) => Applied::Answered(receipt),
            Err(error) => instead_of_commit(error, receipt.version),
        }
    }

    /// Looks whether a write of unknown outcome has happened.
    pub async fn settle(&self, plan: &Plan, doubt: &Doubt) -> Happened {
        if let Some(staged) = self.staged(plan) {
            return staged.find(&self.pool, self.bound.timeout).await;
        }
        let written = plan
            .fields
            .iter()
            .map(|field| field.field.clone())
            .collect();
        match self
            .read(
                &plan.object,
                &plan.id,
                &Wanted {
                    written,
                    seen: Vec::new(),
                },
            )
            .await
        {
            Ok(image) => doubt.settled(plan, &image, false),
            Err(error @ (SystemError::Unavailable(_) | SystemError::Denied(_))) => {
                Happened::Away(error.to_string())
            }
            Err(error) => Happened::CannotTell(error.to_string()),
        }
    }
}

/// The row as JSON with its numbers as they are spelled, and its version.
fn shown(row: &PgRow) -> Result<(Json, String), SystemError> {
    let wrong = |error: sqlx::Error| SystemError::Unavailable(error.to_string());
    let text: String = row.try_get(0).map_err(wrong)?;
    let body =
        serde_json::from_str(&text).map_err(|error| SystemError::Unavailable(error.to_string()))?;
    Ok((body, row.try_get(1).map_err(wrong)?))
}

/// The key of the row in its own spelling must be the one that was asked for.
fn check_key(table: &Table, key: &Json, body: &Json) -> Result<(), SystemError> {
    let text = |value: Option<&Json>| match value {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    for (column, _) in &table.key {
        let column = column.trim_matches('"');
        let (asked, is) = (text(key.get(column)), text(body.get(column)));
        if asked != is {
            return Err(SystemError::Alias(is));
        }
    }
    Ok(())
}

/// Nothing is searched in a table: whoever wants a row changed knows its key.
///
/// # Errors
/// Always.
pub(super) fn find(_args: &Map) -> Result<Vec<String>, SystemError> {
    Err(SystemError::Unknown("a table is not searched".to_owned()))
}

#[cfg(test)]
mod tests;
