//! What a schema says of a value.

use super::*;

fn told(schema: &str) -> (Shape, Vec<&'static str>) {
    let document = Document::parse("{\"openapi\": \"3.1.0\"}").unwrap();
    let said = said(&document, &serde_json::from_str(schema).unwrap()).unwrap();
    (said.shape, said.dropped)
}

#[test]
fn what_holds_at_once_narrows_and_alternatives_span() {
    let choice =
        |words: &[&str]| Shape::Choice(words.iter().map(|word| (*word).to_owned()).collect());
    let list = |item: Shape| Shape::List(Box::new(item));
    for (schema, shape, dropped) in [
        (
            r#"{"type":"string","maxLength":50,"allOf":[{"maxLength":20}]}"#,
            Shape::Text(Some(20)),
            vec![],
        ),
        (
            r#"{"type":"string","enum":["a","b"],"allOf":[{"enum":["b","c"]}]}"#,
            choice(&["b"]),
            vec![],
        ),
        (
            r#"{"anyOf":[{"type":"string","enum":["a"]},{"type":"string","enum":["b","a"]}]}"#,
            choice(&["a", "b"]),
            vec![],
        ),
        (
            r#"{"anyOf":[{"type":"string"},{"type":"string","enum":[""]}]}"#,
            Shape::Text(None),
            vec![],
        ),
        (
            r#"{"type":"string","anyOf":[{"enum":["a"]},{"maxLength":9}]}"#,
            Shape::Text(Some(9)),
            vec![],
        ),
        (
            r#"{"type":"string","anyOf":[{"enum":["a"]},{"const":"b"}]}"#,
            choice(&["a"]),
            vec!["const"],
        ),
        (
            r#"{"anyOf":[{"type":"integer","minimum":0,"maximum":10},{"type":"integer","minimum":100,"maximum":200}]}"#,
            Shape::Integer(Some(0), Some(200)),
            vec![],
        ),
        (
            r#"{"anyOf":[{"type":"integer","minimum":5},{"type":"integer"}]}"#,
            Shape::Integer(None, None),
            vec![],
        ),
        (
            r#"{"anyOf":[{"type":"integer","minimum":5},{"type":"null"}]}"#,
            Shape::Integer(Some(5), None),
            vec![],
        ),
        (
            r#"{"type":"integer","minimum":3,"allOf":[{"minimum":7}],"format":"int64"}"#,
            Shape::Integer(Some(7), None),
            vec![],
        ),
        (
            r#"{"type":"string","format":"email"}"#,
            Shape::Text(None),
            vec!["format"],
        ),
        (
            r#"{"type":"array","items":{"type":"string","pattern":"^a"},"maxItems":3}"#,
            list(Shape::Text(None)),
            vec!["maxItems", "pattern"],
        ),
    ] {
        assert_eq!(told(schema), (shape, dropped), "{schema}");
    }
}

#[test]
fn the_types_of_items_count_and_a_json_patch_is_no_record() {
    let document = Document::parse("{\"openapi\": \"3.1.0\"}").unwrap();
    let of = |schema: &str| types_of(&document, &serde_json::from_str(schema).unwrap());
    assert_eq!(
        of(r#"{"type":["array","null"],"items":{"type":"string"}}"#),
        ["array", "list of string"]
    );
    assert_ne!(
        of(r#"{"type":"array","items":{"type":"string"}}"#),
        of(r#"{"type":"array","items":{"type":"object"}}"#)
    );
    let body = r#"{"requestBody":{"content":{"application/json-patch+json":{"schema":{"type":"array"}},
        "application/merge-patch+json; charset=utf-8":{"schema":{"type":"object"}}}}}"#;
    let body: Json = serde_json::from_str(body).unwrap();
    let (word, kind, _) = document.body(&body).unwrap();
    assert_eq!(
        (word, kind),
        ("json", "application/merge-patch+json; charset=utf-8")
    );
}
