//! Tables and properties of scrubbing.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Values such as CRMs hold.
const REALISTIC: [&str; 15] = [
    "Marjolein Verhoeven",
    "Acme  Renewal ",
    "Łukasz Świątek",
    "Δημήτρης Παππάς",
    "山田太郎商店",
    "+31 6 48291735",
    "0031-20-7654321",
    "12 Lindengracht, 1015KB Amsterdam",
    "marjolein.verhoeven@windmolenbouw.nl",
    "NL91ABNA0417164300",
    "https://windmolenbouw.nl/klant?nr=88231",
    "prefers mornings; call Pieter on 0648291735",
    "2026-13-45",
    "31-12-2026",
    "٠١٢٣٤٥",
];

fn scrubber(key: u8) -> Scrubber {
    Scrubber::new(&[key; KEY_BYTES]).unwrap()
}

/// Four letters or digits in a row, as they are read by somebody who does not mind case.
fn runs(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.to_lowercase().chars().collect();
    let runs = letters.windows(4);
    runs.filter(|run| run.iter().all(|letter| letter.is_alphanumeric()))
        .map(|run| run.iter().collect())
        .collect()
}

/// What stays of a letter.
fn shape(letter: char) -> char {
    match letter {
        _ if letter.is_uppercase() && letter.is_alphabetic() => 'A',
        _ if letter.is_alphabetic() => 'a',
        _ if letter.is_numeric() => '1',
        _ => letter,
    }
}

fn shapes(text: &str) -> String {
    text.chars().map(shape).collect()
}

#[test]
fn nothing_of_a_value_can_be_read_in_its_copy() {
    let scrubber = scrubber(7);
    for value in REALISTIC {
        let copy = scrubber.text(value);
        assert!(copy.is_ascii(), "{value}: {copy}");
        for run in runs(value) {
            assert!(!copy.to_lowercase().contains(&run), "{value}: {copy}");
        }
        if !value.contains('@') {
            assert_eq!(shapes(&copy), shapes(value));
        }
    }
}

#[test]
fn what_says_nothing_stays() {
    let scrubber = scrubber(7);
    for value in [
        json!(null),
        json!(true),
        json!(false),
        json!(""),
        json!("  "),
        json!("\t\n"),
        json!("- / -"),
        json!(0),
        json!([]),
        json!({}),
    ] {
        assert_eq!(scrubber.value(&value), value);
    }
}

#[test]
fn an_address_keeps_its_domain_apart_and_can_reach_nobody() {
    let scrubber = scrubber(7);
    let domain = |text: &str| scrubber.text(text).split_once('@').unwrap().1.to_owned();
    let local = |text: &str| scrubber.text(text).split_once('@').unwrap().0.to_owned();
    assert_eq!(domain("ada@firm.nl"), domain("benjamin@firm.nl"));
    assert_ne!(domain("ada@firm.nl"), domain("ada@shop.nl"));
    assert_ne!(local("marjolein@firm.nl"), local("marjolein@shop.nl"));
    assert!(domain("ada@firm.nl").ends_with(".example"));
    // Blanks around one, and several in one field.
    let one = scrubber.text("ada@firm.nl");
    assert_eq!(scrubber.text(" ada@firm.nl "), format!(" {one} "));
    let other = scrubber.text("ben@shop.nl");
    let both = scrubber.text("ada@firm.nl; ben@shop.nl,");
    assert_eq!(both, format!("{one}; {other},"));
    assert_eq!(scrubber.text(&"@,".repeat(30_000)), "@,".repeat(30_000));
    // None of these is an address; all of them are scrubbed as texts.
    for text in ["@ada", "ada@", "a@b@c", "Ada ada@firm.nl"] {
        let copy = scrubber.text(text);
        assert_eq!(shapes(&copy), shapes(text));
    }
}

#[test]
fn dates_move_together_and_times_stay() {
    let scrubber = scrubber(7);
    let moved = |text: &str| {
        let copy = scrubber.text(text);
        let (date, time) = copy.split_at_checked(DATE_BYTES).unwrap();
        (
            NaiveDate::parse_from_str(date, DATE).unwrap(),
            time.to_owned(),
        )
    };
    let (plain, none) = moved("2024-02-29");
    assert_eq!(none, "");
    for time in ["T10:00", "T23:59:59.999999999+02:00", "T08:00:00Z"] {
        let (date, rest) = moved(&format!("2024-02-29{time}"));
        assert_eq!((date, rest.as_str()), (plain, time));
    }
    let days = NaiveDate::from_ymd_opt(2024, 2, 29)
        .unwrap()
        .signed_duration_since(plain)
        .num_days();
    assert!((1..=i64::from(DAYS_MAX)).contains(&days), "{days}");
    // What only begins like a date could hold anything behind it.
    for text in [
        "2024-02-29TMarjolein",
        "2024-02-29T0648291735",
        "2024-02-29T06:48291735",
        "2024-02-29 by Pieter",
        "2024-02-30",
        "0000-01-01",
    ] {
        let copy = scrubber.text(text);
        assert_eq!(shapes(&copy), shapes(text));
        assert_ne!(copy, text);
    }
}

#[test]
fn everything_below_an_object_or_a_list_is_scrubbed() {
    let copy = scrubber(7).value(&json!({
        "amount": {"currency": "EUR", "value": 950.5},
        "tags": ["regular", "", null, 7301]
    }));
    assert_eq!(copy["amount"].as_object().unwrap().len(), 2);
    assert_ne!(copy["amount"]["currency"], "EUR");
    let value = copy["amount"]["value"].to_string();
    assert_eq!(shapes(&value), "111.1");
    assert_ne!(copy["tags"][0], "regular");
    assert_eq!(copy["tags"][1], "");
    assert_eq!(copy["tags"][2], Json::Null);
    assert!(copy["tags"][3].is_number());
}

#[test]
fn the_system_file_takes_every_new_id() {
    let file = include_str!("../../../../../../deploy/systems/sandbox.toml");
    let file: toml::Table = toml::from_str(file).unwrap();
    let scrubber = scrubber(7);
    for (object, kind) in [
        ("contact", Kind::Contacts),
        ("deal", Kind::Deals),
        ("order", Kind::Orders),
        ("ticket", Kind::Tickets),
    ] {
        let pattern = file["object"][object]["id"].as_str().unwrap();
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for old in 0..100 {
            let id = scrubber.id(kind, &old.to_string());
            assert!(pattern.is_match(&id), "{id}");
        }
    }
}

#[test]
fn an_id_is_of_its_kind_its_old_id_and_its_key() {
    let id = scrubber(7).id(Kind::Contacts, "77");
    assert_eq!(id, scrubber(7).id(Kind::Contacts, "77"));
    assert_ne!(id, scrubber(7).id(Kind::Contacts, "78"));
    assert_ne!(id, scrubber(8).id(Kind::Contacts, "77"));
    let deal = scrubber(7).id(Kind::Deals, "77");
    assert_ne!(id.trim_start_matches('C'), deal.trim_start_matches('D'));
}

proptest! {
    #[test]
    fn the_shape_of_a_text_stays(text in "[^@]{0,60}") {
        let copy = scrubber(7).text(&text);
        prop_assert_eq!(shapes(&copy), shapes(&text));
    }

    #[test]
    fn equal_texts_stay_equal_under_one_key_only(text in "[A-Za-z ]{0,9}[a-z]{20}") {
        prop_assert_eq!(scrubber(7).text(&text), scrubber(7).text(&text));
        prop_assert_ne!(scrubber(7).text(&text), scrubber(8).text(&text));
    }

    #[test]
    fn an_address_ends_where_nobody_is(text in "[^@,;\\s]{1,20}@[^@,;\\s]{1,20}") {
        let copy = scrubber(7).text(&text);
        prop_assert!(copy.ends_with(".example"));
        prop_assert_eq!(copy.matches('@').count(), 1);
    }

    #[test]
    fn the_gap_between_two_dates_stays(first in 0_i64..60_000, second in 0_i64..60_000) {
        let from = NaiveDate::from_ymd_opt(1950, 1, 1).unwrap();
        let copy = |days: i64| {
            let date = from.checked_add_signed(TimeDelta::days(days)).unwrap();
            let copy = scrubber(7).text(&date.to_string());
            NaiveDate::parse_from_str(&copy, DATE).unwrap()
        };
        let gap = copy(second).signed_duration_since(copy(first));
        prop_assert_eq!(gap.num_days(), second - first);
    }

    #[test]
    fn a_number_keeps_sign_places_and_exponent(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?(e-?[1-9])?") {
        let number: Json = serde_json::from_str(&text).unwrap();
        let copy = scrubber(7).value(&number);
        prop_assert!(copy.is_number());
        prop_assert_eq!(shapes(&copy.to_string()), shapes(&number.to_string()));
    }
}
