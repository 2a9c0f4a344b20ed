//! The journal in SQLite: WAL, `synchronous=FULL`, one connection that writes.

mod reader;

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::batch::{Known, Planned, Spent, claims, counters, followed, plan, rollouts};
use super::{Claimed, Counter, JournalError, Work, Written, encode};
use crate::domain::execution::Execution;
pub(super) use reader::SqliteReader;
use reader::{NOW_MS, execution_at, uuid_at};

/// Statements of so few rows come back often enough to be kept prepared.
const ROWS_KEPT_PREPARED: usize = 4;
/// Counts that are remembered.
const COUNTS_MAX: usize = 4_096;

/// The writing side: its own connection, and the counts as it left them.
#[derive(Debug)]
pub(super) struct SqliteWriter {
    options: SqliteConnectOptions,
    open: Option<SqliteConnection>,
    used: BTreeMap<Counter, i64>,
}

impl SqliteWriter {
    /// One transaction, sent in one piece. Claims are written as if fresh: the key of the table
    /// refuses whatever is not, and only then is it read what is there.
    pub(super) async fn commit(&mut self, batch: &[Work]) -> Result<Vec<Written>, JournalError> {
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => {
                self.used.clear();
                SqliteConnection::connect_with(&self.options).await?
            }
        };
        // Everything is read inside the transaction: a commit that was given up on, and that the
        // database still makes, is waited for here and not overlooked.
        begin(&mut connection).await?;
        let known = self.known(&mut connection, batch).await?;
        let planned = plan(batch, known);
        // A token that is spent already says so, also when a ceiling is reached.
        let capped = |answer: &Written| matches!(answer, Written::Claimed(Claimed::OverCap(_)));
        let is_capped = planned.answers.iter().any(capped);
        let mut answers = if is_capped {
            None
        } else {
            self.write(&mut connection, planned).await?
        };
        if answers.is_none() {
            if !is_capped {
                begin(&mut connection).await?;
            }
            self.used.clear();
            let mut known = self.known(&mut connection, batch).await?;
            for claim in claims(batch) {
                read_spent(
                    &mut connection,
                    &claim.presented.issuer,
                    claim.presented.cti,
                    &mut known,
                )
                .await?;
            }
            answers = self.write(&mut connection, plan(batch, known)).await?;
        }
        self.open = Some(connection);
        answers.ok_or_else(|| JournalError::Unavailable("another process writes this file".into()))
    }

    /// `None` when a key was taken; then nothing is written.
    async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        planned: Planned<'_>,
    ) -> Result<Option<Vec<Written>>, JournalError> {
        if planned.is_empty() {
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
            return Ok(Some(planned.answers));
        }
        let mut sql = statements(&planned)?;
        let few = planned.executions.len() <= ROWS_KEPT_PREPARED;
        match sql.build().persistent(few).execute(&mut *connection).await {
            Ok(_) => {
                if self.used.len() > COUNTS_MAX {
                    self.used.clear();
                }
                self.used.extend(planned.used);
                Ok(Some(planned.answers))
            }
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                sqlx::raw_sql("ROLLBACK").execute(connection).await?;
                Ok(None)
            }
            // The connection is not given back: closing it ends what is left of the transaction.
            Err(error) => Err(error.into()),
        }
    }

    /// Counts and revisions, inside the transaction.
    async fn known(
        &self,
        connection: &mut SqliteConnection,
        batch: &[Work],
    ) -> Result<Known, JournalError> {
        let mut known = Known::default();
        for counter in counters(batch) {
            let used = match self.used.get(&counter) {
                Some(used) => *used,
                None => read_used(connection, &counter).await?,
            };
            known.used.insert(counter, used);
        }
        for (tenant, action) in rollouts(batch) {
            let sql = "SELECT revision FROM rollout WHERE tenant = ? AND action = ?";
            let revision: Option<i64> = sqlx::query_scalar(sql)
                .bind(tenant)
                .bind(action)
                .fetch_optional(&mut *connection)
                .await?;
            let key = (tenant.to_owned(), action.to_owned());
            known.rollouts.insert(key, revision.unwrap_or_default());
        }
        let ids: Vec<&str> = followed(batch).map(|own| own.id.as_str()).collect();
        if ids.is_empty() {
            return Ok(known);
        }
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT id, revision FROM execution WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.to_owned());
        }
        query.push(")");
        for row in query.build().fetch_all(connection).await? {
            known.revisions.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(known)
    }
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), JournalError> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(connection).await?;
    Ok(())
}

async fn read_used(
    connection: &mut SqliteConnection,
    (tenant, action, bucket): &Counter,
) -> Result<i64, JournalError> {
    let used: Option<i64> =
        sqlx::query_scalar("SELECT used FROM tally WHERE tenant = ? AND action = ? AND bucket = ?")
            .bind(tenant)
            .bind(action)
            .bind(bucket)
            .fetch_optional(connection)
            .await?;
    Ok(used.unwrap_or_default())
}

async fn read_spent(
    connection: &mut SqliteConnection,
    issuer: &str,
    cti: Uuid,
    known: &mut Known,
) -> Result<(), JournalError> {
    let row = sqlx::query(
        "SELECT c.request_id, c.request_hash, c.caller, e.body, e.revision FROM claim c \
         JOIN execution e ON e.id = c.execution WHERE c.issuer = ? AND c.cti = ?",
    )
    .bind(issuer)
    .bind(cti.as_bytes().as_slice())
    .fetch_optional(connection)
    .await?;
    if let Some(row) = row {
        let spent = Spent {
            request_id: uuid_at(&row, 0)?,
            request_hash: row.try_get(1)?,
            caller: row.try_get(2)?,
            execution: execution_at(&row)?,
        };
        known.spent.insert((issuer.to_owned(), cti), spent);
    }
    Ok(())
}

/// The whole transaction as one text: every hop to the thread of the database costs.
fn statements(planned: &Planned<'_>) -> Result<QueryBuilder<Sqlite>, JournalError> {
    let mut sql = QueryBuilder::new("SELECT 1");
    if !planned.claims.is_empty() {
        sql.push("; INSERT INTO claim (issuer, cti, request_id, request_hash, caller, execution) ");
        sql.push_values(&planned.claims, |mut values, claim| {
            values
                .push_bind(claim.presented.issuer.clone())
                .push_bind(claim.presented.cti.as_bytes().to_vec())
                .push_bind(claim.presented.request_id.as_bytes().to_vec())
                .push_bind(claim.presented.request_hash.to_vec())
                .push_bind(claim.presented.caller.clone())
                .push_bind(claim.execution.id.clone());
        });
    }
    if !planned.executions.is_empty() {
        let bodies: Result<Vec<(&Execution, String)>, JournalError> = planned
            .executions
            .values()
            .map(|own| encode(own).map(|body| (own, body)))
            .collect();
        sql.push(
            "; INSERT INTO execution \
             (id, tenant, state, run, action, agent, target, execute, surprise, created_ms, \
              touched_ms, revision, body) ",
        );
        sql.push_values(bodies?, |mut values, (own, body)| {
            values
                .push_bind(own.id.clone())
                .push_bind(own.tenant.clone())
                .push_bind(own.state.name())
                .push_bind(own.run.clone())
                .push_bind(own.action.clone())
                .push_bind(own.agent.clone())
                .push_bind(own.target.clone())
                .push_bind(own.execute)
                .push_bind(!own.surprise.is_empty())
                .push_bind(own.created_ms)
                .push(NOW_MS)
                .push_bind(own.revision)
                .push_bind(body);
        });
        sql.push(
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body, \
             surprise = excluded.surprise, touched_ms = excluded.touched_ms, revision = excluded.revision",
        );
    }
    small_statements(planned, &mut sql);
    sql.push("; COMMIT");
    Ok(sql)
}

fn small_statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    if !planned.used.is_empty() {
        sql.push("; INSERT INTO tally (tenant, action, bucket, used) ");
        sql.push_values(
            &planned.used,
            |mut values, ((tenant, action, bucket), used)| {
                values
                    .push_bind(tenant.clone())
                    .push_bind(action.clone())
                    .push_bind(bucket.clone())
                    .push_bind(*used);
            },
        );
        sql.push(" ON CONFLICT (tenant, action, bucket) DO UPDATE SET used = excluded.used");
    }
    if !planned.reports.is_empty() {
        sql.push("; INSERT INTO outbox (id, body) ");
        sql.push_values(&planned.reports, |mut values, report| {
            values
                .push_bind(report.id.as_bytes().to_vec())
                .push_bind(report.body.clone());
        });
        // What is told again is told as it is told now.
        sql.push(" ON CONFLICT (id) DO UPDATE SET body = excluded.body");
    }
    if !planned.rollouts.is_empty() {
        sql.push(
            "; INSERT INTO rollout \
             (tenant, action, rollout, until_ms, set_ms, revision, card, system) ",
        );
        sql.push_values(&planned.rollouts, |mut values, ((tenant, action), to)| {
            values
                .push_bind((*tenant).to_owned())
                .push_bind((*action).to_owned())
                .push_bind(to.rollout.name())
                .push_bind(to.until_ms)
                .push_bind(to.set_ms)
                .push_bind(to.revision.saturating_add(1))
                .push_bind(to.card.clone())
                .push_bind(to.system.clone());
        });
        sql.push(
            " ON CONFLICT (tenant, action) DO UPDATE SET rollout = excluded.rollout, \
             until_ms = excluded.until_ms, set_ms = excluded.set_ms, \
             revision = excluded.revision, card = excluded.card, system = excluded.system",
        );
    }
    if !planned.undo_writs.is_empty() {
        sql.push("; INSERT INTO undo_writ (execution, tenant, token) ");
        sql.push_values(&planned.undo_writs, |mut values, writ| {
            values
                .push_bind(writ.execution.to_string())
                .push_bind(writ.tenant.clone())
                .push_bind(writ.token.clone());
        });
        sql.push(" ON CONFLICT (execution) DO NOTHING");
    }
    if !planned.delivered.is_empty() {
        sql.push("; DELETE FROM outbox WHERE id IN (");
        let mut list = sql.separated(", ");
        for id in &planned.delivered {
            list.push_bind(id.as_bytes().to_vec());
        }
        sql.push(")");
    }
}
