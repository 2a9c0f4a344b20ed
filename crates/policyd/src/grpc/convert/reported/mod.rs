//! Reports of connectord, taken apart. What happened goes on record whatever else is wrong with its
//! report: only one without an id, a tenant or a kind is refused, and its sender keeps it.

use uuid::Uuid;
use writ_proto::ids::TenantId;
use writ_proto::value::{Map, Value, value_from_json};
use writ_proto::{Reason, pb};

use crate::app::reports::outcome::{Change, Reported};
use crate::clock;
use crate::domain::budget::Unit;
use crate::domain::record::{Kind, readable, unread};
use crate::error::AppError;

const TEXT_BYTES_MAX: usize = 2_000;
/// Changes of one report; a card has at most as many arguments.
const CHANGES_MAX: usize = 200;
/// The year 10000, in milliseconds.
const TIME_MS_END: i64 = 253_402_300_800_000;

fn malformed(what: &str) -> AppError {
    AppError::new(Reason::RequestMalformed, what)
}

/// A text of a report as it can be kept: what happened goes on record whatever else is wrong.
fn kept(mut text: String) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    if text.len() > TEXT_BYTES_MAX {
        let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
        text.truncate(cut);
    }
    text
}

/// Unix milliseconds of a report; the time of its arrival where it says none that a record can hold.
fn time_ms(time: Option<prost_types::Timestamp>) -> i64 {
    let said = time.map(|time| {
        time.seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(time.nanos / 1_000_000))
    });
    said.filter(|ms| (0..TIME_MS_END).contains(ms))
        .unwrap_or_else(|| clock::now().timestamp_millis())
}

pub(crate) fn reported(outcome: pb::Outcome) -> Result<Reported, AppError> {
    let pb::Outcome {
        outcome_id,
        tenant,
        kind,
        time,
        decision_id,
        execution_id,
        agent,
        connection,
        action,
        target,
        mode,
        status,
        reason_code,
        attempt,
        duration_ms,
        changes,
        collateral,
        token_id: _,
        by,
        note,
        captured,
        scope,
    } = outcome;
    let id = |text: &str, what: &str| {
        if text.is_empty() {
            return Ok(None);
        }
        Uuid::try_parse(text).map(Some).map_err(|_| malformed(what))
    };
    let mut cut = changes.len().max(collateral.len()) > CHANGES_MAX;
    let changes = self::changes(changes, &mut cut);
    let collateral = self::changes(collateral, &mut cut);
    let unread = cut || !fit_together(&changes);
    Ok(Reported {
        outcome_id: id(&outcome_id, "outcome_id")?.ok_or_else(|| malformed("outcome_id"))?,
        tenant: TenantId::parse(&tenant).map_err(|_| malformed("tenant"))?,
        kind: self::kind(kind)?,
        time_ms: time_ms(time),
        decision: id(&decision_id, "decision_id")?,
        execution: id(&execution_id, "execution_id")?,
        agent: kept(agent),
        connection: kept(connection),
        action: kept(action),
        target: target.map(|target| (kept(target.r#type), kept(target.id))),
        mode: match pb::Mode::try_from(mode) {
            Ok(pb::Mode::DryRun) => Some(0),
            Ok(pb::Mode::Execute) => Some(1),
            Ok(pb::Mode::Unspecified) | Err(_) => None,
        },
        status: kept(status),
        reason_code: kept(reason_code),
        attempt,
        milliseconds: duration_ms,
        changes,
        collateral,
        unread,
        by: kept(by),
        note: kept(note),
        // What cannot be read is the whole amount: a budget is never given back by mistake.
        captured: captured.and_then(|part| self::captured(part).ok()),
        scope: kept(scope),
    })
}

fn captured(part: pb::CapturedAmount) -> Result<(String, i64), AppError> {
    let pb::CapturedAmount { currency, amount } = part;
    let unit = Unit::money(&currency).map_err(|_| malformed("captured.currency"))?;
    let minor = unit
        .read(&amount)
        .map_err(|_| malformed("captured.amount"))?;
    Ok((currency, minor))
}

fn kind(kind: i32) -> Result<Kind, AppError> {
    match pb::OutcomeKind::try_from(kind) {
        Ok(pb::OutcomeKind::Refused) => Ok(Kind::TokenRefused),
        Ok(pb::OutcomeKind::Result) => Ok(Kind::Result),
        Ok(pb::OutcomeKind::Undo) => Ok(Kind::Undo),
        Ok(pb::OutcomeKind::Reconciled) => Ok(Kind::Reconciliation),
        Ok(pb::OutcomeKind::HaltSet) => Ok(Kind::HaltSet),
        Ok(pb::OutcomeKind::HaltCleared) => Ok(Kind::HaltCleared),
        Ok(pb::OutcomeKind::RolloutChanged) => Ok(Kind::RolloutChanged),
        Ok(pb::OutcomeKind::Unspecified) | Err(_) => Err(malformed("kind")),
    }
}

/// Whether all values of one side can be kept as one: many that are each within the limits may not be.
fn fit_together(changes: &[Change]) -> bool {
    let sides: [fn(&Change) -> &Option<Value>; 2] = [|one| &one.before, |one| &one.after];
    sides.iter().all(|side| {
        let mut map = Map::new();
        for change in changes {
            if let Some(value) = side(change) {
                map.set(&change.field, value.clone());
            }
        }
        let whole = Value::Map(map);
        readable(whole.clone()) == whole
    })
}

/// The changes of a report. A value that is not one of ours is kept as what it is: bytes, cut where
/// they are many, under a name that no value has.
fn changes(items: Vec<pb::FieldChange>, cut: &mut bool) -> Vec<Change> {
    let mut value = |text: Option<String>| {
        let text = text?;
        let read = value_from_json(&text).ok();
        let read = read.filter(|value| readable(value.clone()) == *value);
        Some(read.unwrap_or_else(|| {
            *cut = true;
            unread(text.as_bytes())
        }))
    };
    let items = items.into_iter().take(CHANGES_MAX);
    items
        .map(|item| {
            let pb::FieldChange {
                field,
                before_json,
                after_json,
            } = item;
            Change {
                field: kept(field),
                before: value(before_json),
                after: value(after_json),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
