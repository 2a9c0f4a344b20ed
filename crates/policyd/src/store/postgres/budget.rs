//! Counters, holds, raises and trips in PostgreSQL. They belong to a tenant and change only under
//! the lock of its log.

use std::collections::BTreeSet;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::super::batch::{Known, Planned};
use super::super::budget::{HoldRow, Trip, Wanted};
use super::super::{Append, StoreError, corrupt, limit};
use super::{PostgresLedger, column, tenant_at};
use crate::domain::budget::{Counter, HoldState, Key, Raise};

fn counter_at(row: &PgRow, at: usize) -> Result<Counter, StoreError> {
    let column = |offset: usize| at.saturating_add(offset);
    Ok(Counter {
        used: row.try_get(column(0))?,
        held: row.try_get(column(1))?,
        since_ms: row.try_get(column(2))?,
        unreported_ms: row.try_get(column(3))?,
    })
}

fn hold_at(row: &PgRow) -> Result<HoldRow, StoreError> {
    let state = HoldState::from_number(row.try_get(6)?);
    Ok(HoldRow {
        decision: row.try_get(0)?,
        tenant: tenant_at(row, 1)?,
        key: Key::stored(row.try_get(2)?),
        amount: row.try_get(3)?,
        currency: row.try_get(4)?,
        expires_ms: row.try_get(5)?,
        state: state.ok_or_else(|| corrupt("the state of a hold"))?,
    })
}

fn raise_at(row: &PgRow) -> Result<Raise, StoreError> {
    Ok(Raise {
        id: row.try_get(0)?,
        budget: row.try_get(1)?,
        subject: row.try_get(2)?,
        amount: row.try_get(3)?,
        until_ms: row.try_get(4)?,
    })
}

fn trip_at(row: &PgRow) -> Result<(TenantId, Trip), StoreError> {
    let trip = Trip {
        key: Key::stored(row.try_get(1)?),
        limit: row.try_get(2)?,
        scope: row.try_get(3)?,
        reason: row.try_get(4)?,
        at_ms: row.try_get(5)?,
    };
    Ok((tenant_at(row, 0)?, trip))
}

impl PostgresLedger {
    pub(in crate::store) async fn counter_list(
        &self,
        tenant: &TenantId,
        Wanted { begin, end }: Wanted<'_>,
        most: usize,
    ) -> Result<Vec<(Key, Counter)>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, used, held, since_ms, unreported_ms FROM budget WHERE tenant = $1 \
             AND starts_with(key, $2) AND right(key, length($3)) = $3 \
             ORDER BY key COLLATE \"C\" LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(begin)
        .bind(end)
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &PgRow| Ok((Key::stored(row.try_get(0)?), counter_at(row, 1)?));
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn counters(
        &self,
        tenant: &TenantId,
        keys: &[Key],
    ) -> Result<Vec<(Key, Counter)>, StoreError> {
        let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let rows = sqlx::query(
            "SELECT key, used, held, since_ms, unreported_ms FROM budget \
             WHERE tenant = $1 AND key = ANY($2::text[])",
        )
        .bind(tenant.as_str())
        .bind(keys)
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &PgRow| Ok((Key::stored(row.try_get(0)?), counter_at(row, 1)?));
        rows.iter().map(read).collect()
    }

    pub(in crate::store) async fn counter_prune(
        &self,
        (before_ms, runs_before_ms): (i64, i64),
        most: usize,
    ) -> Result<u64, StoreError> {
        // One that is used right now is locked by its log, and is taken another time.
        let done = sqlx::query(
            "DELETE FROM budget WHERE (tenant, key) IN (SELECT tenant, key FROM budget WHERE held = 0 \
             AND since_ms > 0 AND since_ms < CASE WHEN right(key, 4) = '|run' THEN $1 ELSE $2 END \
             LIMIT $3 FOR UPDATE SKIP LOCKED)",
        )
        .bind(runs_before_ms)
        .bind(before_ms)
        .bind(limit(most))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    pub(in crate::store) async fn raise_list(
        &self,
        tenant: &TenantId,
        now_ms: i64,
    ) -> Result<Vec<Raise>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, budget, subject, amount, until_ms FROM budget_raise \
             WHERE tenant = $1 AND until_ms > $2 ORDER BY id",
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
             FROM budget_trip WHERE done = 0) AS open WHERE place <= $1 ORDER BY at_ms LIMIT $2",
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
        sqlx::query("UPDATE budget_trip SET done = 1 WHERE tenant = $1 AND key = $2 AND cap = $3")
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
            "SELECT decision FROM hold WHERE tenant = $1 AND key = $2 AND state <> 2 LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(|row| row.try_get(0)).transpose()?)
    }

    pub(in crate::store) async fn expired_holds(
        &self,
        now_ms: i64,
        most: usize,
    ) -> Result<Vec<(TenantId, Uuid)>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant, decision FROM (SELECT tenant, decision, row_number() OVER (PARTITION BY tenant \
             ORDER BY min(expires_ms)) AS place FROM hold WHERE state = 0 AND expires_ms < $1 \
             GROUP BY tenant, decision) AS expired ORDER BY place LIMIT $2",
        )
        .bind(now_ms)
        .bind(limit(most))
        .fetch_all(&self.pool)
        .await?;
        let read = |row: &PgRow| Ok((tenant_at(row, 0)?, row.try_get(1)?));
        rows.iter().map(read).collect()
    }
}

/// Reads the holds that a batch settles, every counter it touches, and the raises of its tenants.
pub(super) async fn read(
    tx: &mut PgConnection,
    batch: &[Append],
    known: &mut Known,
) -> Result<(), StoreError> {
    let settled: Vec<Uuid> = batch
        .iter()
        .filter_map(|item| Some(item.settles.as_ref()?.decision))
        .collect();
    let mut keys: BTreeSet<(String, String)> = BTreeSet::new();
    if !settled.is_empty() {
        let rows = sqlx::query(
            "SELECT decision, tenant, key, amount, currency, expires_ms, state::bigint FROM hold \
             WHERE decision = ANY($1)",
        )
        .bind(settled)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let hold = hold_at(row)?;
            keys.insert((hold.tenant.to_string(), hold.key.as_str().to_owned()));
            known.holds.entry(hold.decision).or_default().push(hold);
        }
    }
    for item in batch {
        let own = |key: &Key| (item.tenant.to_string(), key.as_str().to_owned());
        keys.extend(item.keys().map(own));
    }
    if !keys.is_empty() {
        let (tenants, keys): (Vec<String>, Vec<String>) = keys.into_iter().unzip();
        let rows = sqlx::query(
            "SELECT b.tenant, b.key, b.used, b.held, b.since_ms, b.unreported_ms \
             FROM UNNEST($1::text[], $2::text[]) AS asked (tenant, key) \
             JOIN budget b USING (tenant, key)",
        )
        .bind(tenants)
        .bind(keys)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let place = (tenant_at(row, 0)?, Key::stored(row.try_get(1)?));
            known.budgets.insert(place, counter_at(row, 2)?);
        }
    }
    let since = batch.iter().filter_map(Append::raises_from).min();
    let Some(since) = since else { return Ok(()) };
    let tenants: BTreeSet<String> = batch.iter().map(|item| item.tenant.to_string()).collect();
    let rows = sqlx::query(
        "SELECT id, budget, subject, amount, until_ms, tenant FROM budget_raise \
         WHERE tenant = ANY($1) AND until_ms > $2",
    )
    .bind(tenants.into_iter().collect::<Vec<_>>())
    .bind(since)
    .fetch_all(tx)
    .await?;
    for row in &rows {
        let all = known.raises.entry(tenant_at(row, 5)?).or_default();
        all.push(raise_at(row)?);
    }
    Ok(())
}

/// Writes the counters, holds, raises and trips of a batch.
pub(super) async fn write(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), StoreError> {
    if !planned.budgets.is_empty() || !planned.holds.is_empty() {
        counters(tx, planned).await?;
    }
    for (tenant, raise) in &planned.raises {
        sqlx::query(
            "INSERT INTO budget_raise (tenant, id, budget, subject, amount, until_ms) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tenant.as_str())
        .bind(raise.id)
        .bind(&raise.budget)
        .bind(&raise.subject)
        .bind(raise.amount)
        .bind(raise.until_ms)
        .execute(&mut *tx)
        .await?;
    }
    for (tenant, trip) in &planned.trips {
        sqlx::query(
            "INSERT INTO budget_trip (tenant, key, cap, scope, reason, at_ms, done) \
             VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (tenant, key, cap) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(trip.key.as_str())
        .bind(trip.limit)
        .bind(&trip.scope)
        .bind(&trip.reason)
        .bind(trip.at_ms)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn counters(tx: &mut PgConnection, planned: &Planned<'_>) -> Result<(), StoreError> {
    let budgets: Vec<_> = planned.budgets.iter().collect();
    let holds: Vec<&HoldRow> = planned.holds.values().collect();
    sqlx::query(
        "WITH b AS (INSERT INTO budget (tenant, key, used, held, since_ms, unreported_ms) \
           SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bigint[], \
             $5::bigint[], $6::bigint[]) \
           ON CONFLICT (tenant, key) DO UPDATE SET used = excluded.used, held = excluded.held, \
             since_ms = excluded.since_ms, unreported_ms = excluded.unreported_ms) \
         INSERT INTO hold (decision, key, tenant, amount, currency, expires_ms, state) \
           SELECT * FROM UNNEST($7::uuid[], $8::text[], $9::text[], $10::bigint[], $11::text[], \
             $12::bigint[], $13::smallint[]) \
           ON CONFLICT (decision, key) DO UPDATE SET state = excluded.state, \
             amount = excluded.amount",
    )
    .bind(column(&budgets, |((tenant, _), _)| tenant.as_str()))
    .bind(column(&budgets, |((_, key), _)| key.as_str()))
    .bind(column(&budgets, |(_, counter)| counter.used))
    .bind(column(&budgets, |(_, counter)| counter.held))
    .bind(column(&budgets, |(_, counter)| counter.since_ms))
    .bind(column(&budgets, |(_, counter)| counter.unreported_ms))
    .bind(column(&holds, |hold| hold.decision))
    .bind(column(&holds, |hold| hold.key.as_str()))
    .bind(column(&holds, |hold| hold.tenant.as_str()))
    .bind(column(&holds, |hold| hold.amount))
    .bind(column(&holds, |hold| hold.currency.as_str()))
    .bind(column(&holds, |hold| hold.expires_ms))
    .bind(column(&holds, |hold| hold.state.number()))
    .execute(tx)
    .await?;
    Ok(())
}
