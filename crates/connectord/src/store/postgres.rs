//! The journal in PostgreSQL: many processes, one journal. Whoever inserts the key of a token
//! first has spent it; the others wait for that transaction and then see it.

mod reader;

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;
use writ_proto::host::store::postgres::WriteConnection;

use super::batch::{Known, Planned, Spent, TokenKey, claims, counters, followed, plan, rollouts};
use super::{Claim, Counter, JournalError, Work, Written, encode};
use crate::domain::execution::Execution;
pub(super) use reader::PostgresReader;
use reader::{NOW_MS, execution_at};

/// The writing side, over a connection of its own.
#[derive(Debug)]
pub(super) struct PostgresWriter {
    connection: WriteConnection,
}

impl PostgresWriter {
    /// One transaction. After any error the connection is gone, and the transaction with it.
    ///
    /// Locks are taken in one order by everybody, keys sorted within each: tokens, counts,
    /// executions, rollouts. So two processes wait for each other but never in a circle.
    pub(super) async fn commit(&mut self, batch: &[Work]) -> Result<Vec<Written>, JournalError> {
        let mut connection = self.connection.take().await?;
        let mut tx = connection.begin().await?;
        let mut known = Known::default();
        let inserted = spend(&mut tx, batch, &mut known).await?;
        read_used(&mut tx, batch, &mut known).await?;
        read_revisions(&mut tx, batch, &mut known).await?;
        read_rollouts(&mut tx, batch, &mut known).await?;
        let planned = plan(batch, known);
        let ours = |claim: &&Claim| {
            inserted.contains(&(claim.presented.issuer.clone(), claim.presented.cti))
        };
        if !planned.claims.iter().all(ours) {
            return Err(JournalError::Corrupt(
                "a claim without its execution".to_owned(),
            ));
        }
        give_back(&mut tx, inserted, &planned).await?;
        write(&mut tx, &planned).await?;
        tx.commit().await?;
        self.connection.put(connection);
        Ok(planned.answers)
    }
}

/// One column of an `UNNEST`.
fn column<'a, I, T>(items: &'a [I], pick: impl FnMut(&'a I) -> T) -> Vec<T> {
    items.iter().map(pick).collect()
}

/// Spends the tokens of the batch that are not spent yet, and reads who spent the others.
async fn spend(
    tx: &mut PgConnection,
    batch: &[Work],
    known: &mut Known,
) -> Result<BTreeSet<TokenKey>, JournalError> {
    let mut wanted: Vec<&Claim> = claims(batch).collect();
    wanted.sort_by(|a, b| {
        (&a.presented.issuer, a.presented.cti).cmp(&(&b.presented.issuer, b.presented.cti))
    });
    // The first of the batch to name a token is the one that spends it; the sort is stable.
    wanted.dedup_by(|a, b| {
        (&a.presented.issuer, a.presented.cti) == (&b.presented.issuer, b.presented.cti)
    });
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let executions: Result<Vec<Uuid>, _> = wanted
        .iter()
        .map(|claim| Uuid::try_parse(&claim.execution.id))
        .collect();
    let rows = sqlx::query(
        "INSERT INTO claim (issuer, cti, request_id, request_hash, caller, execution) \
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::uuid[]) \
         ON CONFLICT (issuer, cti) DO NOTHING RETURNING issuer, cti",
    )
    .bind(column(&wanted, |claim| claim.presented.issuer.as_str()))
    .bind(column(&wanted, |claim| claim.presented.cti))
    .bind(column(&wanted, |claim| claim.presented.request_id))
    .bind(column(&wanted, |claim| claim.presented.request_hash.as_slice()))
    .bind(column(&wanted, |claim| claim.presented.caller.as_str()))
    .bind(executions.map_err(|_| JournalError::Corrupt("an execution id".to_owned()))?)
    .fetch_all(&mut *tx)
    .await?;
    let mut inserted = BTreeSet::new();
    for row in &rows {
        inserted.insert((row.try_get(0)?, row.try_get(1)?));
    }
    wanted
        .retain(|claim| !inserted.contains(&(claim.presented.issuer.clone(), claim.presented.cti)));
    if !wanted.is_empty() {
        read_spent(tx, &wanted, known).await?;
    }
    Ok(inserted)
}

async fn read_spent(
    tx: &mut PgConnection,
    wanted: &[&Claim],
    known: &mut Known,
) -> Result<(), JournalError> {
    let rows = sqlx::query(
        "SELECT c.issuer, c.cti, c.request_id, c.request_hash, c.caller, e.body, e.revision \
         FROM UNNEST($1::text[], $2::uuid[]) AS asked (issuer, cti) \
         JOIN claim c USING (issuer, cti) JOIN execution e ON e.id = c.execution",
    )
    .bind(column(wanted, |claim| claim.presented.issuer.as_str()))
    .bind(column(wanted, |claim| claim.presented.cti))
    .fetch_all(tx)
    .await?;
    for row in &rows {
        let spent = Spent {
            request_id: row.try_get(2)?,
            request_hash: row.try_get(3)?,
            caller: row.try_get(4)?,
            execution: execution_at(row)?,
        };
        known
            .spent
            .insert((row.try_get(0)?, row.try_get(1)?), spent);
    }
    Ok(())
}

async fn read_used(
    tx: &mut PgConnection,
    batch: &[Work],
    known: &mut Known,
) -> Result<(), JournalError> {
    let counters = counters(batch);
    if counters.is_empty() {
        return Ok(());
    }
    let counters: Vec<Counter> = counters.into_iter().collect();
    // A count that does not exist cannot be locked: make it zero first.
    let make = "INSERT INTO tally (tenant, action, bucket, used) \
                SELECT tenant, action, bucket, 0 FROM UNNEST($1::text[], $2::text[], $3::text[]) \
                AS asked (tenant, action, bucket) ON CONFLICT DO NOTHING";
    let lock = "SELECT tenant, action, bucket, used FROM UNNEST($1::text[], $2::text[], $3::text[]) \
                AS asked (tenant, action, bucket) JOIN tally USING (tenant, action, bucket) \
                ORDER BY tenant COLLATE \"C\", action COLLATE \"C\", bucket COLLATE \"C\" FOR UPDATE OF tally";
    for (sql, make) in [(make, true), (lock, false)] {
        let query = sqlx::query(sql)
            .bind(column(&counters, |(tenant, _, _)| tenant.as_str()))
            .bind(column(&counters, |(_, action, _)| action.as_str()))
            .bind(column(&counters, |(_, _, bucket)| bucket.as_str()));
        if make {
            query.execute(&mut *tx).await?;
            continue;
        }
        for row in query.fetch_all(&mut *tx).await? {
            let counter = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            known.used.insert(counter, row.try_get(3)?);
        }
    }
    Ok(())
}

async fn read_revisions(
    tx: &mut PgConnection,
    batch: &[Work],
    known: &mut Known,
) -> Result<(), JournalError> {
    let ids: Vec<Uuid> = followed(batch)
        .filter_map(|own| Uuid::try_parse(&own.id).ok())
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows =
        sqlx::query("SELECT id, revision FROM execution WHERE id = ANY($1) ORDER BY id FOR UPDATE")
            .bind(ids)
            .fetch_all(tx)
            .await?;
    for row in &rows {
        let id: Uuid = row.try_get(0)?;
        known.revisions.insert(id.to_string(), row.try_get(1)?);
    }
    Ok(())
}

/// How often each rollout of the batch was set, with its row locked. A row that is not there is made
/// first, as one that says nothing yet: two processes that set it for the first time meet there.
async fn read_rollouts(
    tx: &mut PgConnection,
    batch: &[Work],
    known: &mut Known,
) -> Result<(), JournalError> {
    for (tenant, action) in rollouts(batch) {
        sqlx::query(
            "INSERT INTO rollout (tenant, action, rollout, revision) VALUES ($1, $2, 'suggest', 0) \
             ON CONFLICT (tenant, action) DO NOTHING",
        )
        .bind(tenant)
        .bind(action)
        .execute(&mut *tx)
        .await?;
        let sql = "SELECT revision FROM rollout WHERE tenant = $1 AND action = $2 FOR UPDATE";
        let revision: i64 = sqlx::query_scalar(sql)
            .bind(tenant)
            .bind(action)
            .fetch_one(&mut *tx)
            .await?;
        let key = (tenant.to_owned(), action.to_owned());
        known.rollouts.insert(key, revision);
    }
    Ok(())
}

/// Takes back the claims that the caps refused.
async fn give_back(
    tx: &mut PgConnection,
    mut inserted: BTreeSet<TokenKey>,
    planned: &Planned<'_>,
) -> Result<(), JournalError> {
    for claim in &planned.claims {
        inserted.remove(&(claim.presented.issuer.clone(), claim.presented.cti));
    }
    if inserted.is_empty() {
        return Ok(());
    }
    let (issuers, ctis): (Vec<String>, Vec<Uuid>) = inserted.into_iter().unzip();
    sqlx::query(
        "DELETE FROM claim USING UNNEST($1::text[], $2::uuid[]) AS gone (issuer, cti) \
         WHERE claim.issuer = gone.issuer AND claim.cti = gone.cti",
    )
    .bind(issuers)
    .bind(ctis)
    .execute(tx)
    .await?;
    Ok(())
}

async fn write(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), JournalError> {
    let executions: Vec<&Execution> = planned.executions.values().collect();
    if !executions.is_empty() {
        let ids: Result<Vec<Uuid>, _> = executions
            .iter()
            .map(|own| Uuid::try_parse(&own.id))
            .collect();
        let bodies: Result<Vec<String>, _> = executions.iter().map(|own| encode(own)).collect();
        let mut query = QueryBuilder::<Postgres>::new(
            "INSERT INTO execution \
             (id, tenant, state, run, action, agent, target, execute, surprise, created_ms, \
              revision, body, touched_ms) SELECT *, ",
        );
        query.push(NOW_MS).push(
            " FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], \
             $6::text[], $7::text[], $8::boolean[], $9::boolean[], $10::bigint[], $11::bigint[], \
             $12::text[]) \
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body, \
             surprise = excluded.surprise, touched_ms = excluded.touched_ms, revision = excluded.revision",
        );
        query
            .build()
            .bind(ids.map_err(|_| JournalError::Corrupt("an execution id".to_owned()))?)
            .bind(column(&executions, |own| own.tenant.as_str()))
            .bind(column(&executions, |own| own.state.name()))
            .bind(column(&executions, |own| own.run.as_str()))
            .bind(column(&executions, |own| own.action.as_str()))
            .bind(column(&executions, |own| own.agent.as_str()))
            .bind(column(&executions, |own| own.target.as_str()))
            .bind(column(&executions, |own| own.execute))
            .bind(column(&executions, |own| !own.surprise.is_empty()))
            .bind(column(&executions, |own| own.created_ms))
            .bind(column(&executions, |own| own.revision))
            .bind(bodies?)
            .execute(&mut *tx)
            .await?;
    }
    write_small(tx, planned).await
}

async fn write_small(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), JournalError> {
    if !planned.used.is_empty() {
        let used: Vec<(&Counter, &i64)> = planned.used.iter().collect();
        sqlx::query(
            "UPDATE tally SET used = now.used \
             FROM UNNEST($1::text[], $2::text[], $3::text[], $4::bigint[]) \
               AS now (tenant, action, bucket, used) \
             WHERE tally.tenant = now.tenant AND tally.action = now.action \
               AND tally.bucket = now.bucket",
        )
        .bind(column(&used, |((tenant, _, _), _)| tenant.as_str()))
        .bind(column(&used, |((_, action, _), _)| action.as_str()))
        .bind(column(&used, |((_, _, bucket), _)| bucket.as_str()))
        .bind(column(&used, |(_, used)| **used))
        .execute(&mut *tx)
        .await?;
    }
    if !planned.reports.is_empty() {
        sqlx::query(
            // What is told again is told as it is told now; no row may be named twice.
            "INSERT INTO outbox (id, body) \
             SELECT DISTINCT ON (id) id, body FROM UNNEST($1::uuid[], $2::bytea[]) AS told (id, body) ORDER BY id \
             ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        )
        .bind(column(&planned.reports, |report| report.id))
        .bind(column(&planned.reports, |report| report.body.as_slice()))
        .execute(&mut *tx)
        .await?;
    }
    for ((tenant, action), promoted) in &planned.rollouts {
        sqlx::query(
            "UPDATE rollout SET rollout = $3, until_ms = $4, set_ms = $5, revision = $6, \
             card = $7, system = $8 WHERE tenant = $1 AND action = $2",
        )
        .bind(*tenant)
        .bind(*action)
        .bind(promoted.rollout.name())
        .bind(promoted.until_ms)
        .bind(promoted.set_ms)
        .bind(promoted.revision.saturating_add(1))
        .bind(&promoted.card)
        .bind(&promoted.system)
        .execute(&mut *tx)
        .await?;
    }
    if !planned.undo_writs.is_empty() {
        sqlx::query(
            "INSERT INTO undo_writ (execution, tenant, token) \
             SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bytea[]) \
             ON CONFLICT (execution) DO NOTHING",
        )
        .bind(column(&planned.undo_writs, |writ| writ.execution))
        .bind(column(&planned.undo_writs, |writ| writ.tenant.as_str()))
        .bind(column(&planned.undo_writs, |writ| writ.token.as_slice()))
        .execute(&mut *tx)
        .await?;
    }
    if !planned.delivered.is_empty() {
        sqlx::query("DELETE FROM outbox WHERE id = ANY($1)")
            .bind(&planned.delivered)
            .execute(tx)
            .await?;
    }
    Ok(())
}
