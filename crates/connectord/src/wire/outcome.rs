//! Outcomes on the wire: encoded once, when they happen, and sent as they were stored.

use prost::Message as _;
use writ_proto::pb;

use crate::domain::execution::Change;
use crate::domain::outcome::{Kind, Outcome};

/// Field changes on the wire.
#[must_use]
pub fn changes(changes: &[Change]) -> Vec<pb::FieldChange> {
    let convert = |change: &Change| pb::FieldChange {
        field: change.field.clone(),
        before_json: change.before_json.clone(),
        after_json: change.after_json.clone(),
    };
    changes.iter().map(convert).collect()
}

/// Milliseconds of Unix time on the wire.
#[must_use]
pub fn timestamp(milliseconds: i64) -> prost_types::Timestamp {
    let nanos = milliseconds.rem_euclid(1_000).saturating_mul(1_000_000);
    prost_types::Timestamp {
        seconds: milliseconds.div_euclid(1_000),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// The bytes of an outcome.
#[must_use]
pub fn encode(outcome: &Outcome) -> Vec<u8> {
    let kind = match outcome.kind {
        Kind::Refused => pb::OutcomeKind::Refused,
        Kind::Result => pb::OutcomeKind::Result,
        Kind::Undo => pb::OutcomeKind::Undo,
        Kind::Reconciled => pb::OutcomeKind::Reconciled,
        Kind::HaltSet => pb::OutcomeKind::HaltSet,
        Kind::HaltCleared => pb::OutcomeKind::HaltCleared,
        Kind::RolloutChanged => pb::OutcomeKind::RolloutChanged,
    };
    let mode = match outcome.execute {
        Some(true) => pb::Mode::Execute,
        Some(false) => pb::Mode::DryRun,
        None => pb::Mode::Unspecified,
    };
    let short = |text: &str| {
        text.chars()
            .filter(|c| *c != '\0')
            .take(400)
            .collect::<String>()
    };
    let target = |(kind, id): (String, String)| pb::Target {
        r#type: short(&kind),
        id: short(&id),
    };
    pb::Outcome {
        outcome_id: outcome.id.to_string(),
        tenant: outcome.tenant.clone(),
        kind: kind.into(),
        time: Some(timestamp(outcome.time_ms)),
        decision_id: outcome.decision.clone(),
        execution_id: outcome.execution.clone(),
        agent: outcome.agent.clone(),
        connection: short(&outcome.connection),
        action: short(&outcome.action),
        target: outcome.target.clone().map(target),
        mode: mode.into(),
        status: outcome.status.clone(),
        reason_code: outcome.reason_code.clone(),
        attempt: 1,
        duration_ms: outcome.milliseconds,
        changes: changes(&outcome.changes),
        collateral: changes(&outcome.collateral),
        token_id: Vec::new(),
        by: short(&outcome.by),
        note: short(&outcome.note),
        // What is executed is executed whole.
        captured: None,
        scope: short(&outcome.scope),
    }
    .encode_to_vec()
}
