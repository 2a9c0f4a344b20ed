//! What a card accepts and refuses.

use super::*;
use crate::value::args_from_json;

const STAGE: &str = r#"
name = "set_stage"
sentence = "Move one deal to another stage."
connection = "crm/main"
verb = "update_fields"
target = "deal"
owner = "ops@acme.example"
risk = "medium"
tier = "reversible"
undo = "restores the previous stage"
rollback_minutes = 1
approver = "role:sales-ops"
rollout_max = "live"
rollback_window = "24h"
[caps]
records_per_day = 200
[args.stage]
type = "choice"
values = ["new", "qualified"]
field = "dealstage"
effects = ["forecast"]
[args.note]
type = "text"
max_chars = 5
optional = true
[args.amount]
type = "money"
currencies = ["EUR"]
min = "0.01"
max = "1000.00"
optional = true
[args.close_date]
type = "date"
min = "2026-01-01"
max = "2030-12-31"
optional = true
[args.tags]
type = "list"
max_items = 2
optional = true
of = { type = "reference", pattern = "[A-Z]{2}" }
"#;

#[test]
fn a_card_is_read_and_starts_in_dry_run() {
    let card = Card::parse(STAGE).unwrap();
    assert_eq!(
        (card.rollout, card.rollout_max),
        (Rollout::DryRun, Rollout::Live)
    );
    assert_eq!(card.args["stage"].field, "dealstage");
    assert_eq!(card.rollback_window_seconds, 86_400);
}

#[test]
fn layout_and_comments_do_not_change_the_digest_but_content_does() {
    let digest = Card::parse(STAGE).unwrap().digest();
    let spaced = STAGE.replace(" = ", "  =  ") + "# a comment\n";
    assert_eq!(Card::parse(&spaced).unwrap().digest(), digest);
    let wider = STAGE.replace("\"1000.00\"", "\"1000.01\"");
    assert_ne!(Card::parse(&wider).unwrap().digest(), digest);
}

#[test]
fn arguments_are_checked_by_type_and_bound() {
    let card = Card::parse(STAGE).unwrap();
    let table = [
        (r#"{"stage":"new"}"#, None),
        (r#"{"stage":"new","note":"12345"}"#, None),
        (
            r#"{"stage":"new","amount":{"currency":"EUR","value":1000.00}}"#,
            None,
        ),
        (
            r#"{"stage":"new","close_date":"2026-02-28","tags":["AB","CD"]}"#,
            None,
        ),
        (r#"{}"#, Some("stage")),
        (r#"{"stage":"won"}"#, Some("stage")),
        (r#"{"stage":["new"]}"#, Some("stage")),
        (r#"{"stage":"new","note":"123456"}"#, Some("note")),
        (r#"{"stage":"new","note":""}"#, Some("note")),
        (r#"{"stage":"new","note":null}"#, Some("note")),
        ("{\"stage\":\"new\",\"note\":\"a\\u001b\"}", Some("note")),
        (r#"{"stage":"new","owner":"x"}"#, Some("owner")),
        (
            r#"{"stage":"new","amount":{"currency":"EUR","value":1000.01}}"#,
            Some("amount"),
        ),
        (
            r#"{"stage":"new","amount":{"currency":"EUR","value":0}}"#,
            Some("amount"),
        ),
        (
            r#"{"stage":"new","amount":{"currency":"EUR","value":-1}}"#,
            Some("amount"),
        ),
        (
            r#"{"stage":"new","amount":{"currency":"EUR","value":1.001}}"#,
            Some("amount"),
        ),
        (
            r#"{"stage":"new","amount":{"currency":"USD","value":1}}"#,
            Some("amount"),
        ),
        (
            r#"{"stage":"new","close_date":"2026-2-28"}"#,
            Some("close_date"),
        ),
        (
            r#"{"stage":"new","close_date":"2026-02-30"}"#,
            Some("close_date"),
        ),
        (
            r#"{"stage":"new","close_date":"2031-01-01"}"#,
            Some("close_date"),
        ),
        (r#"{"stage":"new","tags":["AB","CD","EF"]}"#, Some("tags")),
        (r#"{"stage":"new","tags":["ABC"]}"#, Some("tags[0]")),
    ];
    for (json, want) in table {
        let got = card.check(&args_from_json(json).unwrap());
        assert_eq!(
            got.as_ref().err().map(|error| error.field.as_str()),
            want,
            "{json}"
        );
    }
}

#[test]
fn a_card_that_promises_what_nobody_enforces_is_refused() {
    let table = [
        ("owner = \"ops@acme.example\"\n", "", "owner"),
        (
            "undo = \"restores the previous stage\"",
            "undo = \" \"",
            "undo",
        ),
        ("max_chars = 5\n", "", "max_chars"),
        (
            "tier = \"reversible\"",
            "tier = \"irreversible\"",
            "irreversible",
        ),
        (
            "risk = \"medium\"",
            "risk = \"hihg\"",
            "did you mean `high`",
        ),
        ("verb = \"update_fields\"", "verb = \"delete\"", "delete"),
        (
            "rollback_window = \"24h\"",
            "rollback_window = \"90d\"",
            "rollback_window",
        ),
        ("currencies = [\"EUR\"]", "currencies = [\"XXL\"]", "XXL"),
        ("min = \"0.01\"", "min = \"-1\"", "positive"),
        ("[caps]", "[cpas]", "cpas"),
        (
            "records_per_day = 200",
            "records_per_day = 200\nspike = \"5x\"",
            "not supported",
        ),
        (
            "[caps]",
            "hours = { from = \"08:00\" }\n[caps]",
            "not supported",
        ),
        (
            "optional = true",
            "optional = true\nwrite = \"mechanical\"",
            "not supported",
        ),
        (
            "name = \"set_stage\"",
            "name = \"Set-Stage\"",
            "action name",
        ),
    ];
    for (from, to, expected) in table {
        assert!(STAGE.contains(from), "{from}");
        let error = Card::parse(&STAGE.replacen(from, to, 1)).expect_err(expected);
        assert!(
            error.detail.contains(expected),
            "{expected}: {}",
            error.detail
        );
    }
}
