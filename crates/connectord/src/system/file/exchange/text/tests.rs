//! Texts that others wrote, and what is refused.

use serde_json::json;

use super::*;

fn compiled(toml: &str) -> Result<Text, FileError> {
    let raw: RawText = toml::from_str(toml).unwrap();
    Text::compile(&raw, &Regex::new("^[0-9]+$").unwrap(), Encoding::Json)
}

const LIST: &str = "request = \"GET /t/{id}/comments\"\nitems = \"/all\"\nat = \"/text\"\n";

#[test]
fn only_what_others_wrote_is_a_text() {
    let of = |more: &str| compiled(&format!("{LIST}{more}"));
    let text = of("match = { \"/public\" = \"true\" }\nmore = \"/next\"").unwrap();
    let all = json!([{"public": true, "text": "a"}, {"public": false, "text": "own"}, {"text": "odd"}, {"public": true, "text": "b"}]);
    let read = |next: Json| text.read(&json!({"all": all, "next": next})).unwrap();
    assert_eq!(
        read(Json::Null),
        (vec!["a".to_owned(), "b".to_owned()], false)
    );
    assert!(read(json!("page 2")).1, "there is more");
    let many: Vec<Json> = (0..=PARTS_MAX)
        .map(|at| json!({"public": true, "text": at.to_string()}))
        .collect();
    let (parts, more) = text.read(&json!({"all": many})).unwrap();
    assert_eq!((parts.len(), more), (PARTS_MAX, true));
    for odd in [
        json!({}),
        json!({"all": {}}),
        json!({"all": [{"public": true}]}),
        json!({"all": [{"public": true, "text": 1}]}),
    ] {
        assert!(text.read(&odd).is_err(), "{odd}");
    }
    for (slip, why) in [
        ("", "which of the items others wrote"),
        (
            "match = { \"/who\" = \"{id}\" }",
            "the same for every record",
        ),
    ] {
        let told = of(slip).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
    let one = "request = \"GET /t/{id}\"\nat = \"/text\"\n";
    let single = compiled(one).unwrap();
    assert_eq!(
        single.read(&json!({"text": "a"})).unwrap(),
        (vec!["a".to_owned()], false)
    );
    assert!(single.read(&json!({"text": null})).is_err());
    let told = compiled(&format!("{one}match = {{ \"/a\" = \"b\" }}")).unwrap_err();
    assert!(told.to_string().contains("it is for `items`"));
    assert!(
        compiled("request = \"POST /t/{id}\"\nat = \"/text\"").is_err(),
        "it only reads"
    );
    assert!(compiled("request = \"GET /t/{args.x}\"\nat = \"/text\"").is_err());
}
