//! JSON Schema (2020-12) of what a card takes, from the arguments as connectord tells them. It helps
//! a model and its client; what counts is the check by the card, at policyd and again at connectord.

use serde_json::{Map, Value as Json, json};
use writ_proto::pb;

/// The schema of the arguments of a card: each one named, none beside them.
pub(crate) fn of_arguments(action: &pb::Action) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for argument in &action.arguments {
        properties.insert(argument.name.clone(), of_argument(argument));
        if !argument.optional {
            required.push(Json::from(argument.name.clone()));
        }
    }
    json!({"type": "object", "properties": properties, "required": required,
        "additionalProperties": false})
}

fn of_argument(argument: &pb::ActionArgument) -> Json {
    let unknown = pb::ActionArgumentType::default();
    let kind = argument.r#type.as_ref().unwrap_or(&unknown);
    let mut schema = of_type(kind);
    let mut text = match argument.write.as_str() {
        "append" => format!("Added to {}; what is there stays.", argument.field),
        "fill_only_empty" => format!("Written to {} only where it is empty.", argument.field),
        _ => format!("New value of {}.", argument.field),
    };
    text.push_str(&format!(" Allowed: {}.", kind.allowed));
    if argument.evidence_required {
        let from = match argument.evidence_from.as_slice() {
            [] => String::new(),
            from => format!(" from {}", from.join(" or ")),
        };
        text.push_str(&format!(" Needs an item of `evidence`{from}."));
    }
    if !argument.effects.is_empty() {
        text.push_str(&format!(" Triggers: {}.", argument.effects.join(", ")));
    }
    schema.insert("description".to_owned(), text.into());
    Json::Object(schema)
}

/// An exact number; a text that is none gives no bound.
fn number(text: &str) -> Option<Json> {
    serde_json::from_str::<Json>(text)
        .ok()
        .filter(Json::is_number)
}

fn bounds(schema: &mut Map<String, Json>, kind: &pb::ActionArgumentType) {
    for (name, text) in [("minimum", &kind.min), ("maximum", &kind.max)] {
        if let Some(bound) = number(text) {
            schema.insert(name.to_owned(), bound);
        }
    }
}

fn of_type(kind: &pb::ActionArgumentType) -> Map<String, Json> {
    let schema = match kind.name.as_str() {
        "choice" => json!({"type": "string", "enum": kind.values}),
        "text" => json!({"type": "string", "minLength": 1, "maxLength": kind.max_chars}),
        "integer" => json!({"type": "integer"}),
        "decimal" => json!({"type": "number"}),
        "money" => {
            let mut value = Map::from_iter([("type".to_owned(), Json::from("number"))]);
            bounds(&mut value, kind);
            json!({"type": "object", "required": ["currency", "value"],
                "properties": {
                    "currency": {"type": "string", "enum": kind.currencies},
                    "value": value},
                "additionalProperties": false})
        }
        "date" => json!({"type": "string", "format": "date",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
        "timestamp" => json!({"type": "string", "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"}),
        "boolean" => json!({"type": "boolean"}),
        "reference" => json!({"type": "string", "pattern": kind.pattern}),
        "list" => {
            let items = kind.items.as_deref().map(of_type).unwrap_or_default();
            json!({"type": "array", "maxItems": kind.max_items, "items": items})
        }
        // A type of a later connectord: anything, and the card decides.
        _ => json!({}),
    };
    let mut schema = match schema {
        Json::Object(schema) => schema,
        _ => Map::new(),
    };
    if matches!(kind.name.as_str(), "integer" | "decimal") {
        bounds(&mut schema, kind);
    }
    schema
}

#[cfg(test)]
mod tests;
