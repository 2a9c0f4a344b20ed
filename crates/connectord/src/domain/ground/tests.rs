//! What stands where, and everything that only looks as if it did.

use writ_proto::card::{ArgKind, Card};
use writ_proto::value::args_from_json;

use super::*;

const CARD: &str = r#"
name = "x"
sentence = "Test."
connection = "crm/main"
verb = "update_fields"
target = "deal"
owner = "x@acme.example"
risk = "low"
tier = "compensable"
undo = "puts back"
rollback_minutes = 1
approver = "role:x"
rollback_window = "24h"
[caps]
records_per_day = 5
[args.amount]
type = "money"
currencies = ["EUR", "USD", "JPY", "BHD"]
min = "1"
max = "100000"
[args.day]
type = "date"
min = "2020-01-01"
max = "2035-01-01"
[args.stage]
type = "choice"
values = ["won", "closed_won", "lost", "in-review"]
[args.count]
type = "integer"
min = 0
max = 10000
[args.price]
type = "decimal"
decimals = 2
min = "0"
max = "100"
[args.name]
type = "text"
max_chars = 50
"#;

fn shown(
    extractor: Extractor,
    quote: &str,
    argument: &str,
    json: &str,
) -> Result<(), &'static str> {
    let card = Card::parse(CARD).unwrap();
    let args = args_from_json(&format!("{{\"v\":{json}}}")).unwrap();
    let kind: &ArgKind = &card.args[argument].kind;
    shows(extractor, (quote, quote), (kind, args.get("v").unwrap()))
}

/// What connectord does: the quote is looked for, and read with the words around it.
fn cut(extractor: Extractor, (text, quote): (&str, &str), argument: &str, json: &str) -> bool {
    let card = Card::parse(CARD).unwrap();
    let args = args_from_json(&format!("{{\"v\":{json}}}")).unwrap();
    let kind: &ArgKind = &card.args[argument].kind;
    let value = args.get("v").unwrap();
    let mut places = standing(text, quote).into_iter();
    places.any(|around| shows(extractor, (quote, &around), (kind, value)).is_ok())
}

#[test]
fn a_quote_stands_in_a_line_of_a_text_word_for_word() {
    let text =
        "Hello,\nplease   refund EUR 49.50 for order 1,234 on 21 December 2026.\nIt was \"-7\" C.";
    for (quote, there) in [
        ("please refund EUR 49.50", true),
        ("please refund EUR", true),
        ("Hello, please", false),
        ("Hello\nplease", false),
        ("refund EUR 49", false),
        ("fund EUR 49.50", false),
        ("order 1", false),
        ("order 1,234", true),
        ("1 December 2026", false),
        ("21 December 2026", true),
        ("21 December 202", false),
        ("7 C", false),
        ("-7 C", true),
        ("", false),
        (" ", false),
        (".", false),
        ("EUR 49.50 for order 1,235", false),
    ] {
        assert_eq!(!standing(text, quote).is_empty(), there, "{quote}");
    }
    let around = standing(text, "EUR 49.50");
    assert_eq!(around, ["Hello, please refund EUR 49.50 for order 1,234"]);
}

#[test]
fn what_stands_around_a_quote_counts() {
    let eur = "{\"currency\":\"EUR\",\"value\":5}";
    for (text, quote, good) in [
        ("please pay EUR 5 million now", "pay EUR 5", false),
        ("please pay EUR 5 EUR million", "pay EUR 5", false),
        ("EUR 5 or EUR 60", "EUR 5", false),
        ("between 4 and 5 EUR", "5 EUR", false),
        ("refund - 5 EUR", "5 EUR", false),
        ("refund - EUR 5", "EUR 5", false),
        ("invoice 7 5 EUR", "5 EUR", false),
        (
            "please pay back EUR 5\nmillion of it",
            "please pay back EUR 5",
            false,
        ),
        ("your order 7\n5 EUR", "5 EUR", false),
        ("5 EUR bzw. 59 EUR", "5 EUR", false),
        ("> please pay EUR 5\n> million of it", "pay EUR 5", false),
        ("> order 7\n> 5 EUR", "5 EUR", false),
        ("EUR 5 through 49", "EUR 5", false),
        ("EUR 5 ... 49", "EUR 5", false),
        ("EUR 5 ... EUR 49", "EUR 5", false),
        ("5 EUR minus 3", "5 EUR", false),
        ("5 EUR plus shipping", "5 EUR", false),
        ("Please refund EUR 5 for order 1,234.", "refund EUR 5", true),
        ("Pay EUR 5 and keep the rest", "Pay EUR 5", true),
        ("2 mugs at EUR 5 each", "EUR 5 each", true),
        ("5 EUR \u{2013} thanks", "5 EUR", true),
        ("3 x EUR 5", "EUR 5", false),
        ("EUR 5 (Mio.)", "EUR 5", false),
        ("minus 5 EUR", "5 EUR", false),
        ("> please pay EUR 5\n> thank you", "pay EUR 5", true),
        ("EUR 5 Tausend", "EUR 5", false),
        ("EUR 5 thousands", "EUR 5", false),
        (
            "For order 1,234: please pay back EUR 5, it arrived broken on 21 November.",
            "please pay back EUR 5",
            true,
        ),
        // Another sentence is another matter.
        (
            "You paid EUR 60 before. Pay back EUR 5. It was EUR 65 then.",
            "Pay back EUR 5",
            true,
        ),
        (
            "You paid EUR 60 before. Pay back EUR 5. It was EUR 65 then.",
            "60 before. Pay back EUR 5",
            false,
        ),
    ] {
        assert_eq!(
            cut(Extractor::Money, (text, quote), "amount", eur),
            good,
            "{text}: {quote}"
        );
    }
}

#[test]
fn what_stands_around_a_word_a_day_and_another_dollar_counts() {
    let usd = "{\"currency\":\"USD\",\"value\":50}";
    for (text, quote) in [
        ("pay CAD $50", "$50"),
        ("pay $50 (CAD)", "pay $50"),
        ("pay C $50", "$50"),
        ("pay A$50", "$50"),
    ] {
        assert!(
            !cut(Extractor::Money, (text, quote), "amount", usd),
            "{text}: {quote}"
        );
    }
    for (text, good) in [
        ("it is closed won", false),
        ("it is not won", false),
        ("none of these won", false),
        ("(not) won", false),
        ("wir haben keinen won", false),
        ("we have not\nwon", false),
        ("we have not\n\nwon", true),
    ] {
        assert_eq!(
            cut(Extractor::Enum, (text, "won"), "stage", "\"won\""),
            good,
            "{text}"
        );
    }
    for days in [
        ("from 2026-11-30 to 2026-12-01", "2026-12-01"),
        ("open from 24 Nov. to 1 Dec. 2026", "1 Dec. 2026"),
        ("24 Nov. ... 1 Dec. 2026", "1 Dec. 2026"),
        ("24 Nov. & 1 Dec. 2026", "1 Dec. 2026"),
        (
            "from 24 November through 1 December 2026",
            "1 December 2026",
        ),
    ] {
        assert!(
            !cut(Extractor::Date, days, "day", "\"2026-12-01\""),
            "{days:?}"
        );
    }
    // One page of the same word, and a quote of it.
    let (page, quote) = ("a ".repeat(500_000), "a ".repeat(100));
    assert_eq!(standing(&page, &quote).len(), PLACES_MAX);
    assert!(standing(&page, &"a ".repeat(200)).is_empty());
}

#[test]
fn a_number_that_goes_on_beside_a_quote_is_another_one() {
    for (text, quote, good) in [
        ("take 12 of them, order 1,234", "take 12", true),
        ("take 12 000 of them", "take 12", false),
        ("change - 12", "12", false),
        ("change by minus 12", "12", false),
        ("between 12 and 90", "between 12", false),
        ("we need 12 million units", "need 12", false),
        (
            "we need 12 million units",
            "we need 12 million units",
            false,
        ),
    ] {
        assert_eq!(
            cut(Extractor::Literal, (text, quote), "count", "12"),
            good,
            "{text}: {quote}"
        );
    }
    assert!(!cut(
        Extractor::Literal,
        ("order 12 345", "order 12"),
        "name",
        "\"12\""
    ));
    assert!(cut(
        Extractor::Literal,
        ("order 12, please", "order 12"),
        "name",
        "\"12\""
    ));
}

#[test]
fn an_amount_is_one_amount_with_its_currency_or_nothing() {
    let eur = |value: &str| format!("{{\"currency\":\"EUR\",\"value\":{value}}}");
    for (quote, value, good) in [
        ("EUR 49.50", "49.50", true),
        ("please refund 49,50 EUR today", "49.5", true),
        ("€49.50", "49.50", true),
        ("49.50€", "49.50", true),
        ("49.50 €.", "49.50", true),
        ("EUR49.50", "49.50", true),
        ("EUR 1,234.50", "1234.50", true),
        ("1.234,50 €", "1234.50", true),
        ("1'234.50 EUR", "1234.50", true),
        ("EUR 1,234,567", "1234567", true),
        ("EUR 49.50, that is 49,50 €", "49.50", true),
        ("order 7: EUR 49.50", "49.50", true),
        ("order 7, EUR 49.50", "49.50", false),
        ("order: EUR 49.50", "49.50", true),
        ("EUR: 49.50", "49.50", false),
        ("EUR 49.50", "49.49", false),
        ("49.50", "49.50", false),
        ("USD 49.50", "49.50", false),
        ("$49.50", "49.50", false),
        ("EUR 1.234", "1234", false),
        ("EUR 1.234", "1.23", false),
        ("1 234 EUR", "1234", false),
        ("1 234 EUR", "234", false),
        ("1\u{a0}234 EUR", "234", false),
        ("1, 500 EUR", "500", false),
        ("1\u{b4}500 EUR", "500", false),
        ("1_500 EUR", "500", false),
        ("1\u{b7}500 EUR", "500", false),
        ("EUR 49\u{200b}000", "49", false),
        (".50 EUR", "50", false),
        ("EUR 2\u{bd}", "2", false),
        ("EUR 4\u{669}", "4", false),
        ("1/2 EUR", "2", false),
        ("EUR 1e3", "1", false),
        ("EUR 40-49.00", "40", false),
        ("EUR 40 - 49", "40", false),
        ("40\u{2013}49 EUR", "49", false),
        ("40 or 49 EUR", "49", false),
        ("EUR 49.50 or EUR 50", "49.50", false),
        ("EUR 49 USD", "49", false),
        ("-49.50 EUR", "49.50", false),
        ("-EUR 49.50", "49.50", false),
        ("-€49.50", "49.50", false),
        ("(EUR 49.50)", "49.50", false),
        ("EUR 49-", "49", false),
        ("EUR 49k", "49", false),
        ("EUR 1.5 million", "1.5", false),
        ("EUR 5 Mrd", "5", false),
        ("5 EUR million", "5", false),
        ("12,34.50 EUR", "1234.50", false),
        ("EUR 1,23,456", "123456", false),
        ("", "1", false),
    ] {
        let shown = shown(Extractor::Money, quote, "amount", &eur(value));
        assert_eq!(shown.is_ok(), good, "{quote}: {shown:?}");
    }
    let dollar = "{\"currency\":\"USD\",\"value\":5}";
    assert!(shown(Extractor::Money, "$5", "amount", dollar).is_ok());
    assert!(shown(Extractor::Money, "US$5", "amount", dollar).is_ok());
    assert!(shown(Extractor::Money, "A$5", "amount", dollar).is_err());
    let yen = "{\"currency\":\"JPY\",\"value\":5}";
    assert!(shown(Extractor::Money, "JPY 5.50", "amount", yen).is_err());
}

#[test]
fn a_day_is_one_day_with_one_meaning() {
    for (quote, good) in [
        ("due 2026-12-01", true),
        ("on 1 December 2026", true),
        ("on the 1st of December 2026", true),
        ("Dec 1, 2026", true),
        ("December 1st 2026", true),
        ("am 01.12.2026", true),
        ("1. December 2026", true),
        ("2026-12-01, that is 1 Dec 2026", true),
        ("order 7: 1 December 2026", true),
        ("12/01/2026", false),
        ("01-12-2026", false),
        ("2026-12-01 or 12/01/2026", false),
        ("2026-12-02", false),
        ("between 2026-12-01 and 2026-12-05", false),
        ("30 November or 1 December 2026", false),
        ("moved to 1 December 2026", true),
        ("29 or 1 December 2026", false),
        ("29-1 December 2026", false),
        ("29\u{2013}1 December 2026", false),
        ("vom 01.12. bis 05.12.2026", false),
        ("from 1 December 2026 to 24 December", false),
        ("from 24 November to 1 December 2026", false),
        ("1 December 2026 to 5 January", false),
        ("2026-12-01 or 05", false),
        ("2026-12-01 to Ada", true),
        ("2026-12-011", false),
        ("31 February 2026", false),
        ("tomorrow", false),
    ] {
        let shown = shown(Extractor::Date, quote, "day", "\"2026-12-01\"");
        assert_eq!(shown.is_ok(), good, "{quote}: {shown:?}");
    }
}

#[test]
fn a_word_of_the_card_is_the_only_one_and_a_literal_is_whole() {
    for (quote, value, good) in [
        ("we WON it", "won", true),
        ("it is closed won now", "closed_won", true),
        ("it is closed-won now", "closed_won", true),
        ("it is closed won now", "won", false),
        ("won, not lost", "won", false),
        ("not won", "won", false),
        ("we won't sign", "won", false),
        ("we won\u{2019}t sign", "won", false),
        ("un-won", "won", false),
        ("wonderful", "won", false),
        ("in review", "in-review", true),
        ("nothing", "won", false),
    ] {
        let shown = shown(Extractor::Enum, quote, "stage", &format!("\"{value}\""));
        assert_eq!(shown.is_ok(), good, "{quote}: {shown:?}");
    }
    for (quote, argument, value, good) in [
        ("it is Ada  Berg here", "name", "\"Ada Berg\"", true),
        ("it is \"Ada Berg\".", "name", "\"Ada Berg\"", true),
        ("it is Ada Bergmann", "name", "\"Ada Berg\"", false),
        ("it is ada berg", "name", "\"Ada Berg\"", false),
        ("take 12 of them", "count", "12", true),
        ("take 12.50 of them", "price", "12.5", true),
        ("take 12 of 20", "count", "12", false),
        ("take 12.5 of them", "count", "12", false),
        ("take - 12 of them", "count", "12", false),
        ("take .12 of them", "count", "12", false),
        ("take 112 of them", "count", "12", false),
        ("take 1.000 of them", "count", "1", false),
        ("take 2.500 of them", "price", "2.5", false),
        ("a rate of 0.125", "price", "0.125", true),
        ("anything", "name", "\"\"", false),
        // Each type has its own extractor: the literal one knows no other words and no other days.
        ("we won", "stage", "\"won\"", false),
        ("2026-12-01", "day", "\"2026-12-01\"", false),
    ] {
        let shown = shown(Extractor::Literal, quote, argument, value);
        assert_eq!(shown.is_ok(), good, "{quote}: {shown:?}");
    }
    assert!(shown(Extractor::Money, "EUR 5", "name", "\"EUR 5\"").is_err());
    assert!(shown(Extractor::Enum, "Ada", "name", "\"Ada\"").is_err());
}
