//! What the schema of arguments says.

use super::*;

fn of(kind: pb::ActionArgumentType, optional: bool) -> Json {
    let argument = pb::ActionArgument {
        name: "x".into(),
        field: "f".into(),
        optional,
        write: "set".into(),
        effects: vec![],
        r#type: Some(kind),
        evidence_required: false,
        evidence_from: vec![],
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
