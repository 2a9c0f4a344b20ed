//! What a card promises can be kept.

use super::*;

#[test]
fn the_least_value_is_no_more_than_the_largest() {
    for (kind, bounds, ok) in [
        (
            "money\"\ncurrencies = [\"EUR\"]",
            "min = \"0.01\"\nmax = \"0.01\"",
            true,
        ),
        (
            "money\"\ncurrencies = [\"EUR\"]",
            "min = \"2.00\"\nmax = \"1.00\"",
            false,
        ),
        ("integer\"", "min = 3\nmax = 3", true),
        ("integer\"", "min = 3\nmax = 2", false),
        (
            "decimal\"\ndecimals = 1",
            "min = \"0.5\"\nmax = \"0.5\"",
            true,
        ),
        (
            "decimal\"\ndecimals = 1",
            "min = \"0.5\"\nmax = \"0.4\"",
            false,
        ),
    ] {
        let card = of_verb(
            "update_fields",
            "",
            &format!("[args.x]\ntype = \"{kind}\n{bounds}\n"),
        );
        assert_eq!(card.is_ok(), ok, "{kind} {bounds}: {:?}", card.err());
    }
}

#[test]
fn what_adds_something_is_never_called_reversible() {
    for (verb, ok) in [
        ("update_fields", true),
        ("set_status", true),
        ("read", true),
        ("find", true),
        ("append_note", false),
        ("create_task", false),
        ("create_draft", false),
        ("refund", false),
        ("fill_template", false),
    ] {
        let text = STAGE.replace("\"update_fields\"", &format!("\"{verb}\""));
        let called = |error: &CardError| error.detail.contains("tier is compensable");
        let refused = Card::parse(&text).err().is_some_and(|error| called(&error));
        assert_eq!(refused, !ok, "{verb}");
        let text = text.replace("\"reversible\"", "\"compensable\"");
        let refused = Card::parse(&text).err().is_some_and(|error| called(&error));
        assert!(!refused, "{verb}");
    }
}
