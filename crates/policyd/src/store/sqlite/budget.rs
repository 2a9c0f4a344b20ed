//! Counters, holds, raises and trips in SQLite.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::{Known, Planned};
use super::super::budget::{HoldRow, Trip, Wanted};
use super::super::{Append, StoreError, corrupt, limit};
use super::{SqliteLedger, tenant_at, uuid_at};
use crate::domain::budget::{Counter, HoldState, Key, Raise};

/// Rows of one statement: SQLite takes 32,766 values, and a row of these has at most seven.
const ROWS_MAX: usize = 4_000;

fn counter_at(row: &SqliteRow, at: usize) -> Result<Counter, StoreError> {
    let column = |offset: usize| at.saturating_add(offset);
    Ok(Counter {
        used: row.try_get(column(0))?,
        held: row.try_get(column(1))?,
        since_ms: row.try_get(column(2))?,
        unreported_ms: row.try_get(column(3))?,
    })
}

fn hold_at(row: &SqliteRow) -> Result<HoldRow, StoreError> {
    let state = HoldState::from_number(row.try_get(6)?);
    Ok(HoldRow {
        decision: uuid_at(row, 0)?,
        tenant: tenant_at(row, 1)?,
        key: Key::stored(row.try_get(2)?),
        amount: row.try_get(3)?,
        currency: row.try_get(4)?,
        expires_ms: row.try_get(5)?,
        state: state.ok_or_else(|| corrupt("the state of a hold"))?,
    })
}

fn raise_at(row: &SqliteRow) -> Result<Raise, StoreError> {
    Ok(Raise {
        id: uuid_at(row, 0)?,
        budget: row.try_get(1)?,
        subject: row.try_get(2)?,
        amount: row.try_get(3)?,
        until_ms: row.try_get(4)?,
    })
}

fn trip_at(row: &SqliteRow) -> Result<(TenantId, Trip), StoreError> {
    let trip = Trip {
        key: Key::stored(row.try_get(1)?),
        limit: row.try_get(2)?,
        scope: row.try_get(3)?,
        reason: row.try_get(4)?,
        at_ms: row.try_get(5)?,
    };
    Ok((tenant_at(row, 0)?, trip))
}

impl SqliteLedger {
    pub(in crate::store) async fn counter_list(
        &self,
        tenant: &TenantId,
        Wanted { begin, end }: Wanted<'_>,
        most: usize,
    ) -> Result<Vec<(Key, Counter)>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, used, held, since_ms, unreported_ms FROM budget WHERE tenant = ? \
             AND substr(key, 1, length(?)) = ? AND substr(key, -length(?)) = ? ORDER BY key LIMIT ?",
        )
        .bind(tenant.as_str())
        .bind(begin)
        .bind(begin)
        .bind(end)
        .bind(end)
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &SqliteRow| Ok((Key::stored(row.try_get(0)?), counter_at(row, 1)?));
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn counters(
        &self,
        tenant: &TenantId,
        keys: &[Key],
    ) -> Result<Vec<(Key, Counter)>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT key, used, held, since_ms, unreported_ms FROM budget WHERE tenant = ",
        );
        sql.push_bind(tenant.as_str().to_owned())
            .push(" AND key IN (");
        let mut wanted = sql.separated(", ");
        for key in keys {
            wanted.push_bind(key.as_str().to_owned());
        }
        sql.push(")");
        let rows = sql.build().fetch_all(&self.pool).await?;
        let read = |row: &SqliteRow| Ok((Key::stored(row.try_get(0)?), counter_at(row, 1)?));
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn counter_prune(
        &self,
        (before_ms, runs_before_ms): (i64, i64),
        most: usize,
    ) -> Result<u64, StoreError> {
        // They are looked for without the lock that all writing waits for.
        let rows = sqlx::query(
            "SELECT tenant, key FROM budget WHERE held = 0 AND since_ms > 0 AND since_ms < \
             CASE WHEN substr(key, -4) = '|run' THEN ? ELSE ? END LIMIT ?",
        )
        .bind(runs_before_ms)
        .bind(before_ms)
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut sql =
            QueryBuilder::<Sqlite>::new("DELETE FROM budget WHERE held = 0 AND (tenant, key) IN (");
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            keys.push((row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?));
        }
        sql.push_values(keys, |mut values, (tenant, key)| {
            values.push_bind(tenant).push_bind(key);
        });
        sql.push(")");
        let done = sql.build().execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    pub(in crate::store) async fn raise_list(
        &self,
        tenant: &TenantId,
        now_ms: i64,
    ) -> Result<Vec<Raise>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, budget, subject, amount, until_ms FROM budget_raise \
             WHERE tenant = ? AND until_ms > ? ORDER BY id",
        )
        .bind(tenant.as_str())
        .bind(now_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(raise_at).collect()
    }

    pub(in crate::store) async fn trip_list(
        &self,
        most: usize,
        of_tenant: usize,
    ) -> Result<Vec<(TenantId, Trip)>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant, key, cap, scope, reason, at_ms FROM (SELECT tenant, key, cap, scope, \
             reason, at_ms, row_number() OVER (PARTITION BY tenant ORDER BY at_ms) AS place \
             FROM budget_trip WHERE done = 0) AS open WHERE place <= ? ORDER BY at_ms LIMIT ?",
        )
        .bind(limit(of_tenant))
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(trip_at).collect()
    }

    pub(in crate::store) async fn trip_done(
        &self,
        tenant: &TenantId,
        trip: &Trip,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE budget_trip SET done = 1 WHERE tenant = ? AND key = ? AND cap = ?")
            .bind(tenant.as_str())
            .bind(trip.key.as_str())
            .bind(trip.limit)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The decision that holds, or held and executed, a place.
    pub(in crate::store) async fn holder(
        &self,
        tenant: &TenantId,
        key: &Key,
    ) -> Result<Option<Uuid>, StoreError> {
        let row = sqlx::query(
            "SELECT decision FROM hold WHERE tenant = ? AND key = ? AND state <> 2 LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(|row| uuid_at(row, 0)).transpose()
    }

    pub(in crate::store) async fn expired_holds(
        &self,
        now_ms: i64,
        most: usize,
    ) -> Result<Vec<(TenantId, Uuid)>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant, decision FROM (SELECT tenant, decision, row_number() OVER (PARTITION BY tenant \
             ORDER BY min(expires_ms)) AS place FROM hold WHERE state = 0 AND expires_ms < ? \
             GROUP BY tenant, decision) AS expired ORDER BY place LIMIT ?",
        )
        .bind(now_ms)
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &SqliteRow| Ok((tenant_at(row, 0)?, uuid_at(row, 1)?));
        rows.iter().map(read).collect()
    }
}

/// Reads the holds that a batch settles, every counter it touches, and the raises of its tenants:
/// one question each, because every hop to the thread of the database costs.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    batch: &[Append],
    known: &mut Known,
) -> Result<(), StoreError> {
    let settled: BTreeSet<Uuid> = batch
        .iter()
        .filter_map(|item| Some(item.settles.as_ref()?.decision))
        .collect();
    let mut keys: BTreeSet<(TenantId, Key)> = BTreeSet::new();
    if !settled.is_empty() {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT decision, tenant, key, amount, currency, expires_ms, state FROM hold \
             WHERE decision IN (",
        );
        let mut ids = sql.separated(", ");
        for decision in settled {
            ids.push_bind(decision.as_bytes().to_vec());
        }
        sql.push(")");
        for row in &sql.build().fetch_all(&mut *connection).await? {
            let hold = hold_at(row)?;
            keys.insert((hold.tenant.clone(), hold.key.clone()));
            known.holds.entry(hold.decision).or_default().push(hold);
        }
    }
    for item in batch {
        keys.extend(item.keys().map(|key| (item.tenant.clone(), key.clone())));
    }
    let keys: Vec<_> = keys.into_iter().collect();
    for keys in keys.chunks(ROWS_MAX) {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT tenant, key, used, held, since_ms, unreported_ms FROM budget \
             WHERE (tenant, key) IN (",
        );
        sql.push_values(keys, |mut values, (tenant, key)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(key.as_str().to_owned());
        });
        sql.push(")");
        for row in &sql.build().fetch_all(&mut *connection).await? {
            let place = (tenant_at(row, 0)?, Key::stored(row.try_get(1)?));
            known.budgets.insert(place, counter_at(row, 2)?);
        }
    }
    let since = batch.iter().filter_map(Append::raises_from).min();
    let Some(since) = since else { return Ok(()) };
    let rows = sqlx::query(
        "SELECT id, budget, subject, amount, until_ms, tenant FROM budget_raise WHERE until_ms > ?",
    )
    .bind(since)
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let all = known.raises.entry(tenant_at(row, 5)?).or_default();
        all.push(raise_at(row)?);
    }
    Ok(())
}

/// The counters, holds, raises and trips of a batch.
pub(super) fn statements(planned: &Planned<'_>, sql: &mut QueryBuilder<Sqlite>) {
    let budgets: Vec<_> = planned.budgets.iter().collect();
    for budgets in budgets.chunks(ROWS_MAX) {
        sql.push("; INSERT INTO budget (tenant, key, used, held, since_ms, unreported_ms) ");
        sql.push_values(budgets, |mut values, ((tenant, key), counter)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(key.as_str().to_owned())
                .push_bind(counter.used)
                .push_bind(counter.held)
                .push_bind(counter.since_ms)
                .push_bind(counter.unreported_ms);
        });
        sql.push(
            " ON CONFLICT (tenant, key) DO UPDATE SET used = excluded.used, held = excluded.held, \
             since_ms = excluded.since_ms, unreported_ms = excluded.unreported_ms",
        );
    }
    let holds: Vec<_> = planned.holds.values().collect();
    for holds in holds.chunks(ROWS_MAX) {
        sql.push(
            "; INSERT INTO hold (decision, key, tenant, amount, currency, expires_ms, state) ",
        );
        sql.push_values(holds, |mut values, hold| {
            values
                .push_bind(hold.decision.as_bytes().to_vec())
                .push_bind(hold.key.as_str().to_owned())
                .push_bind(hold.tenant.as_str().to_owned())
                .push_bind(hold.amount)
                .push_bind(hold.currency.clone())
                .push_bind(hold.expires_ms)
                .push_bind(i64::from(hold.state.number()));
        });
        sql.push(
            " ON CONFLICT (decision, key) DO UPDATE SET state = excluded.state, \
             amount = excluded.amount",
        );
    }
    if !planned.raises.is_empty() {
        sql.push("; INSERT INTO budget_raise (tenant, id, budget, subject, amount, until_ms) ");
        sql.push_values(&planned.raises, |mut values, (tenant, raise)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(raise.id.as_bytes().to_vec())
                .push_bind(raise.budget.clone())
                .push_bind(raise.subject.clone())
                .push_bind(raise.amount)
                .push_bind(raise.until_ms);
        });
    }
    if !planned.trips.is_empty() {
        sql.push("; INSERT INTO budget_trip (tenant, key, cap, scope, reason, at_ms, done) ");
        sql.push_values(&planned.trips, |mut values, (tenant, trip)| {
            values
                .push_bind(tenant.as_str().to_owned())
                .push_bind(trip.key.as_str().to_owned())
                .push_bind(trip.limit)
                .push_bind(trip.scope.clone())
                .push_bind(trip.reason.clone())
                .push_bind(trip.at_ms)
                .push_bind(0_i64);
        });
        sql.push(" ON CONFLICT (tenant, key, cap) DO NOTHING");
    }
}
