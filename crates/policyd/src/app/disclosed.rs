//! What of a request is kept beside the log, each value under a salt of its own.

use writ_proto::Reason;
use writ_proto::value::{Map, Value};

use super::AppError;
use crate::domain::record::Disclosure;
use crate::domain::request::Request;
use crate::ids;

/// The personal or guessable values of a request, each with its own salt.
pub(super) fn disclosures(request: &Request) -> Result<Vec<Disclosure>, AppError> {
    let mut values = vec![
        ("request_hash", Value::Bytes(request.hash().to_vec())),
        ("args", Value::Map(request.args.clone())),
    ];
    if let Some((_, id)) = &request.target {
        values.push(("target_id", Value::Text(id.clone())));
    }
    if let Some(run) = &request.run {
        values.push(("run", Value::Text(run.as_str().to_owned())));
    }
    if !request.reason.is_empty() {
        values.push(("reason", Value::Text(request.reason.clone())));
    }
    if let Some(percent) = request.confidence {
        values.push(("confidence", Value::Int(i64::from(percent))));
    }
    if !request.evidence.is_empty() {
        let items = request.evidence.iter().map(|item| {
            let mut map = Map::new();
            map.set("type", Value::Text(item.kind.clone()));
            map.set("id", Value::Text(item.id.clone()));
            map.set("quote", Value::Text(item.quote.clone()));
            if !item.uncertain.is_empty() {
                let names = item.uncertain.iter().cloned().map(Value::Text);
                map.set("uncertain", Value::List(names.collect()));
            }
            Value::Map(map)
        });
        values.push(("evidence", Value::List(items.collect())));
    }
    values
        .into_iter()
        .map(|(name, value)| disclosure(name, value))
        .collect()
}

/// One value with a fresh salt.
pub(super) fn disclosure(name: &'static str, value: Value) -> Result<Disclosure, AppError> {
    let salt = ids::salt().ok_or_else(|| AppError::of(Reason::Internal))?;
    Ok(Disclosure { name, salt, value })
}
