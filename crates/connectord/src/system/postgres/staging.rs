//! One row that is added to a table, under the key of the call: a second one of the same call finds the first.

use std::time::Duration;

use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::super::file::{Once, Settle, clean};
use super::super::{Happened, NotDone, Receipt};
use super::written::written;
use super::{Failed, Postgres, READ_ONLY};
use crate::domain::plan::Plan;

/// What is inserted.
pub(super) struct Staged {
    insert: String,
    find: String,
    values: Result<String, String>,
    /// The column of the key, as JSON.
    key: String,
    /// Whether a row that is not there says that it was never made.
    settles: bool,
}

impl Postgres {
    /// The insert of a plan, if its verb is one.
    pub(super) fn staged(&self, plan: &Plan) -> Option<Staged> {
        let (object, table) = self.table(&plan.object).ok()?;
        let verb = object.verbs.get(&plan.verb)?;
        let Once::Column(once) = &verb.once else {
            return None;
        };
        let (id, _) = table.key.first()?;
        let name = &table.name;
        // By the type of the column, so that its index is used and its spelling does not matter.
        let find = format!(
            "SELECT t.{id}::text FROM {name} AS t, jsonb_populate_record(NULL::{name}, $1::jsonb) AS k WHERE t.{once} = k.{once}"
        );
        let column = once.trim_matches('"').to_owned();
        let written = written(object, plan).map_err(|error| error.to_string());
        let insert = |columns: &[String]| {
            let named = |of: &str| -> String {
                let each = columns.iter().map(|column| format!("{of}{column}"));
                each.collect::<Vec<_>>().join(", ")
            };
            format!(
                "INSERT INTO {name} ({}) SELECT {} FROM jsonb_populate_record(NULL::{name}, $1::jsonb) AS r \
                 ON CONFLICT ({once}) DO NOTHING RETURNING {id}::text",
                named(""),
                named("r.")
            )
        };
        let (insert, values) = match written {
            Ok((mut values, mut columns)) => {
                columns.push(once.clone());
                let key = Json::String(plan.key.clone());
                values.insert(once.trim_matches('"').to_owned(), key);
                (insert(&columns), Ok(Json::Object(values).to_string()))
            }
            Err(why) => (String::new(), Err(why)),
        };
        Some(Staged {
            settles: matches!(verb.settle, Settle::Key),
            insert,
            find,
            values,
            key: Json::Object(
                [(column, Json::String(plan.key.clone()))]
                    .into_iter()
                    .collect(),
            )
            .to_string(),
        })
    }
}

impl Staged {
    /// The statement as people read it.
    pub(super) fn line(&self) -> String {
        let values = self.values.as_ref().unwrap_or_else(|why| why);
        format!("{} [{values}]", self.insert)
    }

    /// Adds the row, or finds that this very call has added it.
    pub(super) async fn insert(&self, connection: &mut PgConnection) -> Result<Receipt, Failed> {
        let values = self.values.as_ref();
        let values = values.map_err(|why| Failed::Not(NotDone::Refused, why.clone()))?;
        let made: Option<String> = sqlx::query_scalar(AssertSqlSafe(self.insert.clone()))
            .bind(values)
            .fetch_optional(&mut *connection)
            .await
            .map_err(unmoved)?;
        let found = match made {
            Some(id) => Some(id),
            None => {
                sqlx::query_scalar(AssertSqlSafe(self.find.clone()))
                    .bind(&self.key)
                    .fetch_optional(connection)
                    .await?
            }
        };
        let created_id = found.ok_or_else(|| {
            let why = "the row was not inserted, and none carries the key of the call";
            Failed::Not(NotDone::Refused, why.to_owned())
        })?;
        Ok(Receipt {
            created_id,
            ..Receipt::default()
        })
    }

    /// Looks for the row of this very call.
    pub(super) async fn find(&self, pool: &PgPool, timeout: Duration) -> Happened {
        if !self.settles {
            return Happened::CannotTell("the system file cannot tell".to_owned());
        }
        let asked = async {
            let mut transaction = pool.begin_with(READ_ONLY).await?;
            let rows = sqlx::query_scalar(AssertSqlSafe(self.find.clone()))
                .bind(&self.key)
                .fetch_all(&mut *transaction)
                .await?;
            transaction.rollback().await?;
            Ok::<_, sqlx::Error>(rows)
        };
        let rows: Vec<String> = match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return Happened::Away(clean(&error.to_string())),
            Err(_) => return Happened::Away("no answer in time".to_owned()),
        };
        match rows.as_slice() {
            [] => Happened::No,
            [only] => Happened::Yes {
                created_id: only.clone(),
            },
            _ => Happened::CannotTell("several rows carry the key of the call".to_owned()),
        }
    }
}

/// A conflict with others says of an insert only that it was not made.
fn unmoved(error: sqlx::Error) -> Failed {
    match Failed::from(error) {
        Failed::Not(NotDone::Stale, why) => Failed::Not(NotDone::Unreached, why),
        other => other,
    }
}
