//! What a card accepts and refuses.

mod contradictions;

mod promises;

use super::*;
use crate::value::args_from_json;

pub(super) const STAGE: &str = r#"
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
        let got = card.check(&args_from_json(json).unwrap(), today());
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
            "optional = true",
            "optional = true\nevidence = \"wanted\"",
            "evidence is \"required\"",
        ),
        (
            "optional = true",
            "optional = true\nevidence = [\"ticket\"]",
            "named by its object and name",
        ),
        (
            "optional = true",
            "optional = true\nevidence = []",
            "evidence is \"required\"",
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

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 21).unwrap()
}

/// The card of the other tests with one more piece at its end, or with a piece replaced.
fn changed(from: &str, to: &str) -> Result<Card, CardError> {
    assert!(from.is_empty() || STAGE.contains(from), "{from}");
    let text = if from.is_empty() {
        format!("{STAGE}{to}")
    } else {
        STAGE.replace(from, to)
    };
    Card::parse(&text)
}

#[test]
fn days_may_be_relative_to_the_day_of_the_check() {
    let card = changed(
        "min = \"2026-01-01\"\nmax = \"2030-12-31\"",
        "min = \"today\"\nmax = \"today+9d\"",
    );
    let card = card.unwrap();
    for (day, ok) in [
        ("2026-11-20", false),
        ("2026-11-21", true),
        ("2026-11-30", true),
        ("2026-12-01", false),
    ] {
        let args = args_from_json(&format!(r#"{{"stage":"new","close_date":"{day}"}}"#)).unwrap();
        assert_eq!(card.check(&args, today()).is_ok(), ok, "{day}");
    }
    let error = card
        .check(
            &args_from_json(r#"{"stage":"new","close_date":"2026-12-01"}"#).unwrap(),
            today(),
        )
        .unwrap_err();
    assert_eq!(error.allowed, "a day YYYY-MM-DD from today to today+9d");
    for bad in ["today+9", "today9d", "today+x", "tomorrow", "today+99999d"] {
        let to = format!("min = \"today\"\nmax = \"{bad}\"");
        assert!(
            changed("min = \"2026-01-01\"\nmax = \"2030-12-31\"", &to).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_pattern_is_one_by_itself() {
    for bad in ["A)|(?:B", "[A-Z", "A)"] {
        let to = format!("pattern = \"{bad}\"");
        assert!(changed("pattern = \"[A-Z]{2}\"", &to).is_err(), "{bad}");
    }
}

#[test]
fn hours_hold_in_their_zone_and_across_the_change_of_clocks() {
    let hours = "rollback_window = \"24h\"\nhours = { days = \"mon-fri,sun\", from = \"08:00\", to = \"18:00\", zone = \"Europe/Amsterdam\" }";
    let card = changed("rollback_window = \"24h\"", hours).unwrap();
    for (moment, open) in [
        ("2026-11-20T06:59:59Z", false), // a Friday in winter: 07:59:59
        ("2026-11-20T07:00:00Z", true),
        ("2026-11-20T16:59:59Z", true),
        ("2026-11-20T17:00:00Z", false),
        ("2026-11-21T10:00:00Z", false), // Saturday
        ("2026-11-22T10:00:00Z", true),
        ("2026-07-03T06:00:00Z", true), // a Friday in summer: 08:00
        ("2026-07-03T16:00:00Z", false),
    ] {
        assert_eq!(card.is_open_at(moment.parse().unwrap()), open, "{moment}");
    }
    for (from, to) in [
        ("08:00", "8:61"),
        ("18:00", "08:00"),
        ("mon-fri", "fri-mon"),
        ("mon-fri", "monday"),
        ("Europe/Amsterdam", "Europe/Atlantis"),
    ] {
        let text = hours.replace(from, to);
        assert!(changed("rollback_window = \"24h\"", &text).is_err(), "{to}");
    }
}

/// What may and may not be added at the end of the card, after two arguments.
const ENDINGS: [(&str, bool); 13] = [
    ("[identify]\nby = [\"number\", \"email\"]", true),
    ("[identify]\nby = [\"number\"]", false),
    ("[identify]\nby = [\"number\", \"number\"]", false),
    // Optional, and not there at all.
    ("[identify]\nby = [\"number\", \"note\"]", false),
    ("[identify]\nby = [\"number\", \"phone\"]", false),
    ("[read]\nfields = [\"name\"]", true),
    (
        "[read]\nfields = [\"name\"]\nmask = { phone = \"last2\" }",
        true,
    ),
    ("[read]\nmask = { phone = \"last3\" }", false),
    (
        "[read]\nfields = [\"name\"]\nmask = { name = \"last2\" }",
        false,
    ),
    ("[read]", false),
    ("[demote]\nundone = \"5%\"\nof_last = 20", true),
    ("[demote]\nof_last = 20", false),
    ("[demote]\nundone = \"5\"\nof_last = 20", false),
];

/// What may and may not stand in place of a line.
const LINES: [(&str, &str, bool); 8] = [
    (
        "max_chars = 5",
        "write = \"mechanical\"\nabbreviations = { st = \"street\" }",
        true,
    ),
    (
        "max_chars = 5",
        "abbreviations = { st = \"street\" }",
        false,
    ),
    (
        "max_chars = 5",
        "write = \"mechanical\"\nabbreviations = { St = \"street\" }",
        false,
    ),
    ("field = \"dealstage\"", "write = \"mechanical\"", false),
    (
        "records_per_day = 200",
        "spike = \"5x median of 7 days\"",
        true,
    ),
    (
        "records_per_day = 200",
        "spike = \"1x median of 7 days\"",
        false,
    ),
    // The amount is optional there, so that leaving it out would count nothing.
    ("records_per_day = 200", "amount_per_day = \"9.00\"", false),
    (
        "records_per_day = 200",
        "records_per_customer_per_day = 2",
        false,
    ),
];

#[test]
fn rules_that_cannot_be_enforced_are_refused() {
    let signals = "[args.number]\ntype = \"text\"\nmax_chars = 9\n\
                   [args.email]\ntype = \"text\"\nmax_chars = 9\n";
    for (end, ok) in ENDINGS {
        let card = changed("", &format!("{signals}{end}\n"));
        assert_eq!(card.is_ok(), ok, "{end}: {:?}", card.err());
    }
    for (line, with, ok) in LINES {
        let card = changed(line, &format!("{line}\n{with}"));
        assert_eq!(card.is_ok(), ok, "{with}: {:?}", card.err());
    }
}

/// A card without arguments, and lines that make it another.
fn of_verb(verb: &str, lines: &str, rest: &str) -> Result<Card, CardError> {
    let head = STAGE.split("[caps]").next().unwrap();
    let head = head.replace("\"update_fields\"", &format!("\"{verb}\""));
    let head = head.replace("rollout_max = \"live\"", lines);
    let head = head.replace("\"reversible\"", "\"compensable\"");
    Card::parse(&format!("{head}[caps]\nrecords_per_day = 9\n{rest}"))
}

const EMAIL: &str = "[args.email]\ntype = \"text\"\nmax_chars = 9\n";
const RUN: &str = "records_per_run = 3\n";
const SEEN: &str = "[read]\nfields = [\"name\"]\n";

#[test]
fn a_card_that_reads_says_what_may_be_seen_and_how_much_and_writes_nothing() {
    for (verb, lines, rest, ok) in [
        ("read", "", format!("{RUN}{SEEN}"), true),
        ("read", "", RUN.to_owned(), false),
        ("read", "", SEEN.to_owned(), false),
        (
            "read",
            "rollout_max = \"live\"",
            format!("{RUN}{SEEN}"),
            false,
        ),
        (
            "read",
            "customer = \"customer\"",
            format!("{RUN}{SEEN}"),
            false,
        ),
        (
            "read",
            "",
            format!("{RUN}fields_per_run = 1\n{SEEN}"),
            false,
        ),
        ("read", "", format!("{RUN}{SEEN}{EMAIL}"), false),
        ("find", "", format!("{RUN}{SEEN}{EMAIL}"), true),
        ("find", "", format!("{RUN}{SEEN}"), false),
        (
            "find",
            "",
            format!("{RUN}{SEEN}{EMAIL}optional = true\n"),
            false,
        ),
        ("update_fields", "", RUN.to_owned(), false),
    ] {
        let card = of_verb(verb, lines, &rest);
        assert_eq!(card.is_ok(), ok, "{verb} {lines} {rest}: {:?}", card.err());
    }
}

#[test]
fn a_card_that_makes_a_record_knows_no_old_one() {
    for (verb, lines, rest, ok) in [
        ("create_draft", "", EMAIL.to_owned(), true),
        (
            "create_draft",
            "",
            format!("{EMAIL}write = \"append\"\n"),
            false,
        ),
        (
            "create_draft",
            "",
            format!("[precondition]\nversion = \"required\"\n{EMAIL}"),
            false,
        ),
        (
            "fill_template",
            "",
            format!("[precondition]\nversion = \"required\"\n{EMAIL}"),
            true,
        ),
        (
            "fill_template",
            "",
            format!("{EMAIL}write = \"fill_only_empty\"\n"),
            false,
        ),
    ] {
        let card = of_verb(verb, lines, &rest);
        assert_eq!(card.is_ok(), ok, "{verb} {rest}: {:?}", card.err());
    }
    let target = |id: &str| Some(("deal".to_owned(), id.to_owned()));
    let draft = of_verb("create_draft", "", EMAIL).unwrap();
    assert!(draft.check_target(target("-").as_ref()).is_ok());
    assert!(draft.check_target(target("D-1").as_ref()).is_err());
    let stage = Card::parse(STAGE).unwrap();
    assert!(stage.check_target(target("D-1").as_ref()).is_ok());
    assert!(stage.check_target(target("-").as_ref()).is_err());
    assert!(stage.check_target(None).is_err());
    assert!(
        stage
            .check_target(Some(&("order".into(), "O-1".into())))
            .is_err()
    );
}

#[test]
fn a_ceiling_of_amounts_has_one_amount_to_count() {
    let card = |more: &str| {
        STAGE
            .replace(
                "records_per_day = 200",
                "records_per_day = 200\namount_per_run = \"9.00\"",
            )
            .replace("max = \"1000.00\"\noptional = true", "max = \"1000.00\"")
            + more
    };
    let tip =
        "[args.tip]\ntype = \"money\"\ncurrencies = [\"EUR\"]\nmin = \"0.01\"\nmax = \"9.00\"\n";
    let sound = Card::parse(&card("")).unwrap();
    assert!(sound.money_arg().is_some());
    for more in [tip.to_owned(), format!("{tip}optional = true\n")] {
        let refused = Card::parse(&card(&more)).unwrap_err().to_string();
        assert!(
            refused.contains("exactly one argument of type money"),
            "{refused}"
        );
    }
}
