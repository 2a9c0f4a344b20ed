//! JSON Schema (2020-12) of what a card takes, from the arguments as connectord tells them. It helps
//! a model and its client; what counts is the check by the card, at policyd and again at connectord.

use serde_json::{Map, Value as Json, json};
use writ_proto::pb;

/// The schema of the arguments of a card: each one named, none beside them.
pub(super) fn of_arguments(action: &pb::Action) -> Json {
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
mod tests {
    use super::*;

    fn of(kind: pb::ActionArgumentType, optional: bool) -> Json {
        let argument = pb::ActionArgument {
            name: "x".into(),
            field: "f".into(),
            optional,
            write: "set".into(),
            effects: vec![],
            r#type: Some(kind),
        };
        let action = pb::Action {
            arguments: vec![argument],
            ..pb::Action::default()
        };
        of_arguments(&action)
    }

    fn kind(name: &str) -> pb::ActionArgumentType {
        pb::ActionArgumentType {
            name: name.into(),
            min: "0.01".into(),
            max: "1000.00".into(),
            max_chars: 500,
            max_items: 3,
            pattern: "^(?:U-[0-9]{1,6})$".into(),
            values: vec!["new".into(), "won".into()],
            currencies: vec!["EUR".into()],
            ..pb::ActionArgumentType::default()
        }
    }

    #[test]
    fn each_type_of_a_card_has_its_schema() {
        let exact = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let table = [
            ("choice", r#"{"type":"string","enum":["new","won"]}"#),
            ("text", r#"{"type":"string","minLength":1,"maxLength":500}"#),
            (
                "integer",
                r#"{"type":"integer","minimum":0.01,"maximum":1000.00}"#,
            ),
            (
                "decimal",
                r#"{"type":"number","minimum":0.01,"maximum":1000.00}"#,
            ),
            ("boolean", r#"{"type":"boolean"}"#),
            (
                "reference",
                r#"{"type":"string","pattern":"^(?:U-[0-9]{1,6})$"}"#,
            ),
            ("list", r#"{"type":"array","maxItems":3,"items":{}}"#),
        ];
        for (name, expected) in table {
            let schema = of(kind(name), false);
            let mut told = schema["properties"]["x"].clone();
            told.as_object_mut().unwrap().remove("description");
            assert_eq!(told, exact(expected), "{name}");
            assert_eq!(schema["required"], json!(["x"]));
            assert_eq!(schema["additionalProperties"], json!(false));
        }
        let money = of(kind("money"), false)["properties"]["x"]["properties"].clone();
        assert_eq!(money["currency"]["enum"], json!(["EUR"]));
        assert_eq!(money["value"]["maximum"].to_string(), "1000.00");
        for (name, format) in [("date", "date"), ("timestamp", "date-time")] {
            let schema = of(kind(name), false);
            assert_eq!(schema["properties"]["x"]["format"], format);
        }
        assert_eq!(of(kind("text"), true)["required"], json!([]));
        let of_texts = pb::ActionArgumentType {
            items: Some(Box::new(kind("text"))),
            ..kind("list")
        };
        assert_eq!(
            of(of_texts, false)["properties"]["x"]["items"]["maxLength"],
            json!(500)
        );
    }
}
