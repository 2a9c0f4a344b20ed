//! The values of a request as they are kept: with the policy set they are enough to decide again.

use writ_proto::value::{Map, Value};

use crate::domain::request::{Provenance, Request};

/// Name and value of each.
#[must_use]
pub fn request_values(request: &Request) -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("request_hash", Value::Bytes(request.hash().to_vec())),
        ("args", Value::Map(request.args.clone())),
    ];
    if let Some((_, id)) = &request.target {
        values.push(("target_id", Value::Text(id.clone())));
    }
    if let Some(precondition) = &request.precondition {
        values.push(("precondition", Value::Text(precondition.clone())));
    }
    if request.tenant != request.caller_tenant {
        let named = request.tenant.as_str().to_owned();
        values.push(("named_tenant", Value::Text(named)));
    }
    if request.again {
        values.push(("again", Value::Bool(true)));
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
            if let Some(digest) = item.sha256 {
                map.set("sha256", Value::Bytes(digest.to_vec()));
            }
            if let Some(cites) = &item.cites {
                map.set("argument", Value::Text(cites.argument.clone()));
                let source = cites.source.iter().cloned().map(Value::Text);
                map.set("source", Value::List(source.collect()));
                map.set("extractor", Value::Text(cites.extractor.name().to_owned()));
            }
            if !item.uncertain.is_empty() {
                let names = item.uncertain.iter().cloned().map(Value::Text);
                map.set("uncertain", Value::List(names.collect()));
            }
            Value::Map(map)
        });
        values.push(("evidence", Value::List(items.collect())));
    }
    let provenance = provenance(&request.provenance);
    if !provenance.is_empty() {
        values.push(("provenance", Value::Map(provenance)));
    }
    values
}

fn provenance(said: &Provenance) -> Map {
    let mut map = Map::new();
    for (name, text) in [
        ("initiator", &said.initiator),
        ("model", &said.model),
        ("tool_answer", &said.tool_answer),
    ] {
        if !text.is_empty() {
            map.set(name, Value::Text(text.clone()));
        }
    }
    if let Some(digest) = said.prompt_sha256 {
        map.set("prompt_sha256", Value::Bytes(digest.to_vec()));
    }
    map
}
