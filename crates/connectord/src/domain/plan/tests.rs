//! What each write mode makes of a field, and what it refuses.

use chrono::DateTime;
use proptest::prelude::*;
use writ_proto::value::args_from_json;

use super::*;
use crate::domain::gate::tests::{admitted, call};

const CARD: &str = r#"
name = "tidy"
sentence = "Tidy."
connection = "crm/main"
verb = "update_fields"
target = "contact"
owner = "ops"
risk = "low"
tier = "reversible"
undo = "put it back"
rollback_minutes = 1
approver = "role:ops"
rollback_window = "1h"
[caps]
records_per_day = 9
[args.set]
type = "text"
max_chars = 99
[args.fill]
type = "text"
max_chars = 99
write = "fill_only_empty"
[args.append]
type = "text"
max_chars = 99
write = "append"
[args.mechanical]
type = "text"
max_chars = 99
write = "mechanical"
abbreviations = { st = "street" }
"#;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The new value of an argument over what stands in its field.
fn write(arg: &str, old: Option<Value>, new: &str) -> Result<Value, Reason> {
    let card = Card::parse(CARD).unwrap();
    let mut before = Image::default();
    if let Some(old) = old {
        before.fields.set(arg, old);
    }
    let plan = field_plan(&card, &card.args[arg], (&text(new), &before));
    plan.map(|field| field.new)
        .map_err(|refusal| refusal.reason)
}

#[test]
fn a_write_mode_does_what_it_says_or_refuses() {
    let long = "x".repeat(STRING_BYTES_MAX - 3);
    let table = [
        ("set", Some(text("a")), "b", Ok(text("b"))),
        ("set", None, "b", Ok(text("b"))),
        ("fill", None, "b", Ok(text("b"))),
        ("fill", Some(Value::Null), "b", Ok(text("b"))),
        ("fill", Some(text("")), "b", Ok(text("b"))),
        ("fill", Some(text(" ")), "b", Err(Reason::FieldNotEmpty)),
        ("fill", Some(text("b")), "b", Err(Reason::FieldNotEmpty)),
        ("fill", Some(Value::Int(0)), "b", Err(Reason::FieldNotEmpty)),
        ("append", None, "b", Ok(text("b"))),
        ("append", Some(text("")), "b", Ok(text("b"))),
        ("append", Some(text("a\nb")), "c", Ok(text("a\nb\nc"))),
        (
            "append",
            Some(Value::Int(1)),
            "b",
            Err(Reason::AppendImpossible),
        ),
        (
            "append",
            Some(text(&long)),
            "b",
            Ok(text(&format!("{long}\nb"))),
        ),
        (
            "append",
            Some(text(&long)),
            "bbb",
            Err(Reason::AppendImpossible),
        ),
        (
            "mechanical",
            Some(text("12 main  ST.")),
            "12 Main Street",
            Ok(text("12 Main Street")),
        ),
        (
            "mechanical",
            Some(text("12 Main Street")),
            "21 Main Street",
            Err(Reason::NotMechanical),
        ),
        (
            "mechanical",
            None,
            "12 Main Street",
            Err(Reason::NotMechanical),
        ),
        (
            "mechanical",
            Some(Value::Int(12)),
            "12",
            Err(Reason::NotMechanical),
        ),
    ];
    for (arg, old, new, expected) in table {
        assert_eq!(
            write(arg, old.clone(), new),
            expected,
            "{arg} {old:?} {new}"
        );
    }
}

#[test]
fn what_an_agent_relied_on_is_what_stands_there_or_nothing_is_planned() {
    let mut card = Card::parse(CARD).unwrap();
    card.args.retain(|name, _| name == "set");
    let mut before = Image {
        version: Some("v1".to_owned()),
        ..Image::default()
    };
    before.fields.set("set", text("a"));
    let digest = before.digest();
    for (relied, expected) in [
        (None, None),
        (Some("v1"), None),
        (Some(digest.as_str()), None),
        (Some("v0"), Some("version: relied on v0, is v1")),
        (Some(""), Some("version: relied on , is v1")),
    ] {
        let call = Call {
            action: "tidy".into(),
            target: Some(("contact".into(), "C-1".into())),
            args_cbor: args_from_json(r#"{"set":"b"}"#).unwrap().encode(),
            precondition: relied.map(str::to_owned),
            ..call()
        };
        let permit = admitted(&call, &card, DateTime::UNIX_EPOCH).unwrap();
        let refused = plan(&permit, &call, &card, &before).err();
        let expected = expected.map(|why| Refusal::new(Reason::PreconditionFailed, why));
        assert_eq!(refused, expected, "{relied:?}");
    }
}

#[test]
fn a_refusal_names_field_found_and_allowed() {
    let card = Card::parse(CARD).unwrap();
    let mut before = Image::default();
    before.fields.set("fill", text("+31"));
    let refusal = field_plan(&card, &card.args["fill"], (&text("+32"), &before)).unwrap_err();
    assert_eq!(
        refusal.detail,
        "fill: holds \"+31\", allowed only where it is empty"
    );
}

proptest! {
    #[test]
    fn appending_keeps_every_byte_that_was_there(old in "\\PC{0,40}", new in "\\PC{1,40}") {
        let written = write("append", Some(text(&old)), &new).unwrap();
        let written = written.as_text().unwrap();
        prop_assert!(written.starts_with(&old) && written.ends_with(&new));
    }

    #[test]
    fn a_mechanical_edit_never_changes_a_digit(old in "[a-z0-9 .,-]{0,20}", new in "[a-z0-9 .,-]{0,20}") {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        if write("mechanical", Some(text(&old)), &new).is_ok() {
            prop_assert_eq!(digits(&old), digits(&new));
        }
    }
}
