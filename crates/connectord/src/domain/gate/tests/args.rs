//! Every type of argument through the gate: its bounds from both sides, and what is said of a
//! value outside them.

use super::card::{NOON, asked, card, refusal, schema};

/// Stands before the arguments of the card.
const STAGE: &str = "[args.stage]";
/// One optional argument of every type but the first.
const OPTIONAL: &str = r#"
[args.note]
type = "text"
max_chars = 5
optional = true
[args.score]
type = "integer"
min = 1
max = 9
optional = true
[args.share]
type = "decimal"
decimals = 2
min = "0.25"
max = "0.75"
optional = true
[args.amount]
type = "money"
currencies = ["EUR", "JPY"]
min = "1"
max = "100.00"
optional = true
[args.close_date]
type = "date"
min = "today"
max = "today+9d"
optional = true
[args.due]
type = "timestamp"
min = "today-1d"
max = "today+9d"
optional = true
[args.done]
type = "boolean"
optional = true
[args.seller]
type = "reference"
pattern = "u-[0-9]+|-"
optional = true
[args.tags]
type = "list"
max_items = 2
of = { type = "choice", values = ["a", "b"] }
optional = true
[args.stage]"#;

/// An argument, values that the card allows, values that it refuses, and what it says it allows.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const ROWS: [Row; 10] = [
    (
        "stage",
        &[r#""new""#, r#""qualified""#],
        &[r#""won""#, r#""New""#, r#""""#, "1", "null", r#"["new"]"#],
        "one of new, qualified",
    ),
    (
        "note",
        &[r#""1""#, r#""12345""#, r#""ééééé""#],
        &[r#""""#, r#""123456""#, r#""a\u001b""#, "12345", "null"],
        "text of 1 to 5 characters",
    ),
    (
        "score",
        &["1", "9"],
        &["0", "10", "-1", "1.5", r#""5""#],
        "a whole number from 1 to 9",
    ),
    (
        "share",
        &["0.25", "0.75", "0.5"],
        &["0.24", "0.76", "0.333", "1", r#""0.5""#],
        "a number within its bounds with at most 2 decimals",
    ),
    (
        "amount",
        &[
            r#"{"currency":"EUR","value":1}"#,
            r#"{"currency":"EUR","value":100.00}"#,
            r#"{"currency":"JPY","value":100}"#,
        ],
        &[
            r#"{"value":0.99,"currency":"EUR"}"#,
            r#"{"value":100.01,"currency":"EUR"}"#,
            r#"{"value":1.001,"currency":"EUR"}"#,
            r#"{"value":1.5,"currency":"JPY"}"#,
            r#"{"value":1,"currency":"USD"}"#,
            r#"{"x":1,"value":1,"currency":"EUR"}"#,
            "1",
        ],
        "an amount with its currency, such as 100 EUR: 1 to 100 in EUR, JPY",
    ),
    (
        "close_date",
        &[r#""2026-11-20""#, r#""2026-11-29""#],
        &[r#""2026-11-19""#, r#""2026-11-30""#, r#""2026-11-2""#, "1"],
        "a day YYYY-MM-DD from today to today+9d",
    ),
    (
        "due",
        &[r#""2026-11-19T00:00:00Z""#, r#""2026-11-29T23:59:59Z""#],
        &[
            r#""2026-11-18T23:59:59Z""#,
            r#""2026-11-30T00:00:00Z""#,
            r#""2026-11-20T12:00:00+01:00""#,
            r#""2026-11-20""#,
        ],
        "a time YYYY-MM-DDTHH:MM:SSZ from today-1d to today+9d",
    ),
    (
        "done",
        &["true", "false"],
        &[r#""true""#, "1", "null"],
        "true or false",
    ),
    (
        "seller",
        &[r#""u-7""#, r#""-""#],
        &[r#""u-""#, r#""xu-7""#, r#""u-7x""#, r#""u-7\n""#],
        "an id that matches ^(?:u-[0-9]+|-)$",
    ),
    (
        "tags",
        &["[]", r#"["a"]"#, r#"["a","b"]"#],
        &[r#"["a","b","a"]"#, r#""a""#, "null"],
        "a list of at most 2, each one of a, b",
    ),
];

#[test]
fn a_value_outside_its_bounds_is_refused_with_the_bounds() {
    let card = card(&[(STAGE, OPTIONAL)]);
    for (name, allowed, others, says) in ROWS {
        let with = |value: &str| match name {
            "stage" => asked(&format!(r#"{{"stage":{value}}}"#)),
            _ => asked(&format!(r#"{{"stage":"new","{name}":{value}}}"#)),
        };
        for value in allowed {
            let refused = refusal(&with(value), &card, NOON);
            assert_eq!(refused, None, "{name}: {value}");
        }
        for value in others {
            let refused = refusal(&with(value), &card, NOON);
            // A number where a text is wanted is told as one.
            let wants_text = says.starts_with("one of") || says.starts_with("text of");
            let number = wants_text && value.parse::<i64>().is_ok();
            let kind = if number { "the number " } else { "" };
            let want = schema(&format!("{name}: found {kind}{value}, allowed {says}"));
            assert_eq!(refused, Some(want), "{name}: {value}");
        }
    }
}

#[test]
fn an_argument_that_is_missing_or_that_nobody_knows_is_named() {
    let card = card(&[(STAGE, OPTIONAL)]);
    let missing = "stage: found nothing, allowed one of new, qualified";
    let long = format!(r#"{{"stage":"new","note":"{}"}}"#, "x".repeat(99));
    let cut = format!(
        "note: found \"{}, allowed text of 1 to 5 characters",
        "x".repeat(59)
    );
    let unknown = "found an argument the card does not name, allowed amount, close_date, done, \
                   due, note, score, seller, share, stage, tags";
    for (args, want) in [
        (r#"{"stage":"new"}"#, String::new()),
        ("{}", missing.to_owned()),
        (r#"{"note":"a"}"#, missing.to_owned()),
        (r#"{"stage":"new","price":1}"#, format!("price: {unknown}")),
        (
            r#"{"stage":"new","Stage":"new"}"#,
            format!("Stage: {unknown}"),
        ),
        (r#"{"stage":"new","tags":["b","b"]}"#, String::new()),
        (
            r#"{"stage":"new","tags":["a","c"]}"#,
            "tags[1]: found \"c\", allowed one of a, b".to_owned(),
        ),
        (long.as_str(), cut),
    ] {
        let refused = refusal(&asked(args), &card, NOON).map(|refusal| refusal.detail);
        assert_eq!(refused.unwrap_or_default(), want, "{args}");
    }
}

#[test]
fn today_is_the_utc_day_of_the_call() {
    let card = card(&[(STAGE, OPTIONAL)]);
    for (now, day, fits) in [
        ("2026-11-20T00:00:00Z", "2026-11-20", true),
        ("2026-11-20T23:59:59Z", "2026-11-20", true),
        ("2026-11-21T00:00:00Z", "2026-11-20", false),
        ("2026-11-20T23:59:59Z", "2026-11-30", false),
        ("2026-11-21T00:00:00Z", "2026-11-30", true),
    ] {
        let call = asked(&format!(r#"{{"stage":"new","close_date":"{day}"}}"#));
        let said = "allowed a day YYYY-MM-DD from today to today+9d";
        let want = schema(&format!("close_date: found \"{day}\", {said}"));
        let refused = refusal(&call, &card, now);
        assert_eq!(refused, (!fits).then_some(want), "{now} {day}");
    }
}
