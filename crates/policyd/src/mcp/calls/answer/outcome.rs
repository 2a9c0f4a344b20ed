//! What a model is told of what was done, would be done or was undone. All of it is marked: it
//! shows values of the system of record.

use serde_json::{Map, Value as Json, json};
use writ_proto::{Reason, pb};

use crate::mcp::calls::answer::{Told, id, some, time};

/// Longest value of a record that is told whole, in characters of its JSON.
const VALUE_CHARS_MAX: usize = 4_000;

fn value(text: Option<&str>) -> Option<Json> {
    let text = text?;
    if text.chars().count() > VALUE_CHARS_MAX {
        let start: String = text.chars().take(VALUE_CHARS_MAX).collect();
        return Some(json!({"cut": start}));
    }
    Some(serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)))
}

/// Fields before and after; a side that is not there was not there in the record.
fn changes(changes: &[pb::FieldChange]) -> Vec<Json> {
    let one = |change: &pb::FieldChange| {
        let mut map = Map::from_iter([("field".to_owned(), Json::from(change.field.clone()))]);
        for (name, side) in [
            ("before", &change.before_json),
            ("after", &change.after_json),
        ] {
            if let Some(value) = value(side.as_deref()) {
                map.insert(name.to_owned(), value);
            }
        }
        Json::Object(map)
    };
    changes.iter().map(one).collect()
}

fn spelled(fields: &[pb::FieldChange]) -> String {
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
    let one = |change: &pb::FieldChange| {
        let (before, after) = (side(&change.before_json), side(&change.after_json));
        format!("\n{}: {before} -> {after}", change.field)
    };
    fields.iter().map(one).collect()
}

/// What would be done.
pub(crate) fn preview(decision_id: &str, preview: &pb::PreviewResponse) -> Told {
    let json = json!({
        "decision_id": decision_id,
        "wrote": false,
        "message": preview.would_have,
        "changes": changes(&preview.changes),
    });
    let text = format!(
        "NOT WRITTEN {}{}",
        preview.would_have,
        spelled(&preview.changes)
    );
    Told::new(json, &text, false).untrusted()
}

/// How an execution stands. Only what is known to be done, or was a dry run, is no error.
pub(crate) fn execution(execution: &pb::Execution, replayed: bool) -> Told {
    use pb::ExecutionState as State;
    let state = State::try_from(execution.state).unwrap_or(State::Unspecified);
    let done = matches!(state, State::Done | State::ReconciledApplied);
    let reason = Reason::from_code(&execution.reason_code).unwrap_or(match state {
        State::Failed | State::ReconciledNotApplied => Reason::SystemRefused,
        _ => Reason::OutcomeUnknown,
    });
    let dry = execution.mode != i32::from(pb::Mode::Execute);
    let name = state.as_str_name().trim_start_matches("EXECUTION_STATE_");
    let message = match (done, execution.wrote, dry) {
        (true, false, _) => format!("not written: {}", execution.sentence),
        (true, true, _) => format!("written: {}", execution.sentence),
        _ => some(&execution.message)
            .unwrap_or(reason.sentence())
            .to_owned(),
    };
    let json = json!({
        "execution_id": id(&execution.name),
        "decision_id": some(&execution.decision_id),
        "state": name,
        "mode": if dry { "dry_run" } else { "execute" },
        "wrote": execution.wrote,
        "replayed": replayed,
        "reason_code": (!done).then(|| reason.code()),
        "remedy": (!done).then(|| reason.fix()),
        "message": message,
        "changes": changes(&execution.changes),
        "collateral": Some(changes(&execution.collateral)).filter(|list| !list.is_empty()),
        "created_id": some(&execution.created_id),
        "undo_until": time(execution.undo_expire_time.as_ref()),
        "run_id": some(&execution.run_id),
    });
    let text = format!(
        "{name} {}: {message}{}",
        id(&execution.name),
        spelled(&execution.changes)
    );
    Told::new(json, &text, !done).untrusted()
}

/// What a card lets the model see of records.
pub(crate) fn reading(decision_id: &str, reading: &pb::ReadResponse) -> Told {
    let one = |record: &pb::SeenRecord| {
        let fields: Map<String, Json> = record
            .fields
            .iter()
            .map(|field| {
                let value = value(Some(&field.value_json)).unwrap_or(Json::Null);
                (field.name.clone(), value)
            })
            .collect();
        let masked = record.fields.iter().filter(|field| field.masked);
        let masked: Vec<&str> = masked.map(|field| field.name.as_str()).collect();
        let target = record.target.clone().unwrap_or_default();
        json!({"type": target.r#type, "id": target.id, "version": some(&record.version),
            "fields": fields, "masked": masked})
    };
    let records: Vec<Json> = reading.records.iter().map(one).collect();
    let message = match records.len() {
        0 => "no record matches".to_owned(),
        count => format!("{count} record{}", if count == 1 { "" } else { "s" }),
    };
    let lines: Vec<String> = records.iter().map(Json::to_string).collect();
    let text = format!("READ {message}\n{}", lines.join("\n"));
    let json = json!({"decision_id": decision_id, "execution_id": id(&reading.execution),
        "wrote": false, "records": records, "message": message});
    Told::new(json, &text, false).untrusted()
}

/// How an undo went.
pub(crate) fn undone(item: &pb::UndoItem, dry_run: bool) -> Told {
    let refused = !item.reason_code.is_empty() || !(item.undone || dry_run);
    let reason = Reason::from_code(&item.reason_code).unwrap_or(Reason::OutcomeUnknown);
    let message = match (refused, item.undone) {
        (true, _) => some(&item.message).unwrap_or(reason.sentence()).to_owned(),
        (false, true) => "the record carries its earlier values again".to_owned(),
        (false, false) => "undo is possible; nothing was written".to_owned(),
    };
    let json = json!({
        "execution_id": id(&item.execution),
        "undone": item.undone,
        "reason_code": refused.then(|| reason.code()),
        "remedy": refused.then(|| reason.fix()),
        "message": message,
        "changes": changes(&item.changes),
    });
    let text = format!(
        "{} {}: {message}{}",
        if item.undone { "UNDONE" } else { "NOT UNDONE" },
        id(&item.execution),
        spelled(&item.changes)
    );
    Told::new(json, &text, refused).untrusted()
}

/// The word for where a decision stands.
pub(crate) fn decision_state(state: i32) -> &'static str {
    match pb::DecisionState::try_from(state) {
        Ok(pb::DecisionState::Final) => "FINAL",
        Ok(pb::DecisionState::Pending) => "PENDING",
        Ok(pb::DecisionState::Cancelled) => "CANCELLED",
        Ok(pb::DecisionState::Unspecified) | Err(_) => "UNKNOWN",
    }
}
