//! The sandbox's own SQLite file: records, idempotency keys, and effects that only ever grow.

use std::str::FromStr as _;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Row as _, SqliteConnection};

use crate::lab::sandbox::seed;

/// Kinds of records.
pub(crate) const KINDS: [&str; 7] = [
    "contacts", "deals", "orders", "tickets", "notes", "tasks", "refunds",
];
const CREATED: [&str; 4] = ["notes", "tasks", "refunds", "drafts"];
const LIST_MAX: i64 = 10_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS record (
  kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, fields TEXT NOT NULL,
  key TEXT, PRIMARY KEY (kind, id)) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS record_key ON record (kind, key) WHERE key IS NOT NULL;
CREATE TABLE IF NOT EXISTS effect (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, by TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
  change TEXT NOT NULL,
  at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))) STRICT;
CREATE TRIGGER IF NOT EXISTS effect_no_update BEFORE UPDATE ON effect
  BEGIN SELECT RAISE(ABORT, 'effects are append-only'); END;
CREATE TRIGGER IF NOT EXISTS effect_no_delete BEFORE DELETE ON effect
  BEGIN SELECT RAISE(ABORT, 'effects are append-only'); END;
";

/// The file.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Id inside its kind.
    pub id: String,
    /// Grows with every change.
    pub version: i64,
    /// An object.
    pub fields: Json,
}

/// One real change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// Grows by one.
    pub seq: i64,
    /// Who.
    pub by: String,
    /// Kind of the record.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What was written, as JSON.
    pub change: String,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    Done(Stored),
    Missing,
    Stale,
    Refused(String),
}

impl Store {
    /// Opens or makes the file; a fresh one is seeded.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open(url: &str) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let store = Self {
            pool: SqlitePool::connect_with(options).await?,
        };
        sqlx::raw_sql(SCHEMA).execute(&store.pool).await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM record")
            .fetch_one(&store.pool)
            .await?;
        if count == 0 {
            store.seed(0).await?;
        }
        Ok(store)
    }

    /// Adds the records of a fresh sandbox that are not there, and deals `L-1` to `L-n` for load.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn seed(&self, load_deals: u32) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for (kind, id, fields) in seed::records() {
            insert(&mut tx, kind, id, &fields).await?;
        }
        for index in 1..=load_deals {
            let fields = serde_json::json!({"name": format!("Load {index}"), "stage": "new",
                "log": "", "customer": format!("C-{}", index % 3 + 1)});
            insert(&mut tx, "deals", &format!("L-{index}"), &fields).await?;
        }
        tx.commit().await
    }

    /// Adds records of a kind that are not there, all of them or none, and gives how many that
    /// were; a trial adds none. No effect is noted.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn add(
        &self,
        kind: &str,
        records: &[(String, Json)],
        is_trial: bool,
    ) -> Result<u64, sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut added: u64 = 0;
        for (id, fields) in records {
            added = added.saturating_add(insert(&mut tx, kind, id, fields).await?);
        }
        if is_trial {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        Ok(added)
    }

    /// One record.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read(&self, kind: &str, id: &str) -> Result<Option<Stored>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        read(&mut connection, kind, id).await
    }

    /// All records of a kind, or those made under an idempotency key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn list(&self, kind: &str, key: Option<&str>) -> Result<Vec<Stored>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id, version, fields, key FROM record WHERE kind = ? AND (? IS NULL OR key = ?) \
             ORDER BY id LIMIT ?",
        )
        .bind(kind)
        .bind(key)
        .bind(key)
        .bind(LIST_MAX)
        .fetch_all(&self.pool)
        .await?;
        // A hit carries the key that it was made under: a filter may be ignored.
        let keyed = |row: &sqlx::sqlite::SqliteRow| {
            let (mut record, key) = (stored(row)?, row.try_get::<Option<String>, _>(3)?);
            if let (Some(object), Some(key)) = (record.fields.as_object_mut(), key) {
                object.insert("key".to_owned(), Json::String(key));
            }
            Ok(record)
        };
        rows.iter().map(keyed).collect()
    }

    /// Every real change, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn effects(&self) -> Result<Vec<Effect>, sqlx::Error> {
        let rows = sqlx::query("SELECT seq, by, kind, id, change FROM effect ORDER BY seq")
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Effect {
                seq: row.try_get(0)?,
                by: row.try_get(1)?,
                kind: row.try_get(2)?,
                id: row.try_get(3)?,
                change: row.try_get(4)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Number and Unix milliseconds of the latest real change; zeros before the first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn latest_effect(&self) -> Result<(i64, i64), sqlx::Error> {
        let latest = sqlx::query_as("SELECT seq, at_ms FROM effect ORDER BY seq DESC LIMIT 1");
        Ok(latest.fetch_optional(&self.pool).await?.unwrap_or_default())
    }

    /// Changes fields of a record that still has the expected version. `_changed_by` then names the
    /// key of the change, or else who made it.
    pub(crate) async fn change(
        &self,
        (kind, id): (&str, &str),
        (expected, actor, key): (&str, &str, Option<&str>),
        fields: &Map<String, Json>,
    ) -> Result<Changed, sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let Some(mut record) = read(&mut tx, kind, id).await? else {
            return Ok(Changed::Missing);
        };
        if expected != format!("\"v{}\"", record.version) {
            return Ok(Changed::Stale);
        }
        let Some(object) = record.fields.as_object_mut() else {
            return Ok(Changed::Missing);
        };
        if object.get("locked") == Some(&Json::Bool(true)) && actor != "person" {
            return Ok(Changed::Refused("the record is locked".to_owned()));
        }
        for (name, value) in fields {
            if !object.contains_key(name) && actor != "person" {
                return Ok(Changed::Refused(format!("there is no field `{name}`")));
            }
            object.insert(name.clone(), value.clone());
        }
        let changed_by = key.unwrap_or(actor);
        object.insert(
            "_changed_by".to_owned(),
            Json::String(changed_by.to_owned()),
        );
        record.version = record.version.saturating_add(1);
        update(&mut tx, kind, &record).await?;
        note(&mut tx, actor, (kind, id), fields).await?;
        tx.commit().await?;
        Ok(Changed::Done(record))
    }

    /// Creates a note, task, refund or draft, once for each idempotency key.
    pub(crate) async fn create(
        &self,
        kind: &str,
        (key, actor): (Option<&str>, &str),
        fields: &Map<String, Json>,
    ) -> Result<Changed, sqlx::Error> {
        if !CREATED.contains(&kind) {
            return Ok(Changed::Missing);
        }
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(key) = key {
            let row =
                sqlx::query("SELECT id, version, fields FROM record WHERE kind = ? AND key = ?")
                    .bind(kind)
                    .bind(key)
                    .fetch_optional(&mut *tx)
                    .await?;
            if let Some(row) = row {
                let earlier = stored(&row)?;
                let same = earlier.fields == Json::Object(fields.clone());
                return Ok(if same {
                    Changed::Done(earlier)
                } else {
                    Changed::Stale
                });
            }
        }
        if kind == "refunds"
            && let Some(refusal) = book_refund(&mut tx, fields).await?
        {
            return Ok(refusal);
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM record WHERE kind = ?")
            .bind(kind)
            .fetch_one(&mut *tx)
            .await?;
        let letter = kind.chars().next().unwrap_or('x').to_ascii_uppercase();
        let id = format!("{letter}{}", count.saturating_add(1));
        let record = Stored {
            id,
            version: 1,
            fields: Json::Object(fields.clone()),
        };
        sqlx::query("INSERT INTO record (kind, id, version, fields, key) VALUES (?, ?, 1, ?, ?)")
            .bind(kind)
            .bind(&record.id)
            .bind(record.fields.to_string())
            .bind(key)
            .execute(&mut *tx)
            .await?;
        note(&mut tx, actor, (kind, &record.id), fields).await?;
        tx.commit().await?;
        Ok(Changed::Done(record))
    }
}

/// Takes a refund from what is left of its order.
async fn book_refund(
    tx: &mut SqliteConnection,
    fields: &Map<String, Json>,
) -> Result<Option<Changed>, sqlx::Error> {
    let order = fields
        .get("order")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let Some(mut record) = read(tx, "orders", order).await? else {
        return Ok(Some(Changed::Missing));
    };
    let amount = fields
        .get("value")
        .map(ToString::to_string)
        .unwrap_or_default();
    let minor = writ_proto::value::number_from_text(&amount)
        .ok()
        .and_then(|value| writ_proto::value::minor_units(&value, 2));
    let number = |name: &str| record.fields.get(name).and_then(Json::as_i64).unwrap_or(0);
    let (total, refunded) = (number("total_minor"), number("refunded_minor"));
    let after = minor
        .filter(|minor| *minor > 0)
        .and_then(|minor| refunded.checked_add(minor));
    let Some(after) = after.filter(|after| *after <= total) else {
        return Ok(Some(Changed::Refused(
            "more than is left of the order".to_owned(),
        )));
    };
    if let Some(object) = record.fields.as_object_mut() {
        object.insert("refunded_minor".to_owned(), Json::from(after));
    }
    record.version = record.version.saturating_add(1);
    update(tx, "orders", &record).await?;
    Ok(None)
}

fn stored(row: &sqlx::sqlite::SqliteRow) -> Result<Stored, sqlx::Error> {
    let fields: &str = row.try_get(2)?;
    Ok(Stored {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        fields: serde_json::from_str(fields).unwrap_or(Json::Null),
    })
}

async fn read(
    connection: &mut SqliteConnection,
    kind: &str,
    id: &str,
) -> Result<Option<Stored>, sqlx::Error> {
    let row = sqlx::query("SELECT id, version, fields FROM record WHERE kind = ? AND id = ?")
        .bind(kind)
        .bind(id)
        .fetch_optional(connection)
        .await?;
    row.map(|row| stored(&row)).transpose()
}

async fn update(tx: &mut SqliteConnection, kind: &str, record: &Stored) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE record SET version = ?, fields = ? WHERE kind = ? AND id = ?")
        .bind(record.version)
        .bind(record.fields.to_string())
        .bind(kind)
        .bind(&record.id)
        .execute(tx)
        .await
        .map(|_| ())
}

/// Adds a record that is not there; gives how many were added.
async fn insert(
    tx: &mut SqliteConnection,
    kind: &str,
    id: &str,
    fields: &Json,
) -> Result<u64, sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO record (kind, id, version, fields) VALUES (?, ?, 1, ?)")
        .bind(kind)
        .bind(id)
        .bind(fields.to_string())
        .execute(tx)
        .await
        .map(|done| done.rows_affected())
}

async fn note(
    tx: &mut SqliteConnection,
    actor: &str,
    (kind, id): (&str, &str),
    fields: &Map<String, Json>,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO effect (by, kind, id, change) VALUES (?, ?, ?, ?)")
        .bind(actor)
        .bind(kind)
        .bind(id)
        .bind(Json::Object(fields.clone()).to_string())
        .execute(tx)
        .await
        .map(|_| ())
}
