//! `decode(encode(x)) = x` for every codec, and what lies outside is an error that shows it.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn codec(name: &str) -> Codec {
    Codec::named(name).unwrap()
}

fn statuses() -> Codec {
    let names = [
        ("open".to_owned(), json!("1")),
        ("done".to_owned(), json!(8)),
    ];
    Codec::Choice(names.into_iter().collect())
}

/// Codec, what the system holds, and the value as JSON.
fn table() -> Vec<(Codec, Json, &'static str)> {
    vec![
        (codec("text"), json!(" a "), "\" a \""),
        (Codec::Text { trim: true }, json!(" a "), "\"a\""),
        (codec("choice"), json!("won"), "\"won\""),
        (statuses(), json!("1"), "\"open\""),
        (statuses(), json!(8), "\"done\""),
        (statuses(), json!("9"), "\"9\""),
        (codec("integer"), json!(5), "5"),
        (codec("decimal"), json!(5.25), "5.25"),
        (codec("decimal_text"), json!("1234.50"), "1234.5"),
        (Codec::DecimalText(Some(2)), json!("5.00"), "5"),
        (
            Codec::Minor("EUR".into()),
            json!(150),
            r#"{"value":1.5,"currency":"EUR"}"#,
        ),
        (
            Codec::Minor("JPY".into()),
            json!(150),
            r#"{"value":150,"currency":"JPY"}"#,
        ),
        (
            codec("money"),
            json!({"currency": "EUR", "value": 9.5}),
            r#"{"value":9.5,"currency":"EUR"}"#,
        ),
        (codec("boolean"), json!(true), "true"),
        (
            Codec::Boolean(Some((json!("yes"), json!("no")))),
            json!("no"),
            "false",
        ),
        (codec("date"), json!("2026-11-28"), "\"2026-11-28\""),
        (
            codec("datetime"),
            json!("2026-11-28T01:00:00+01:00"),
            "\"2026-11-28T00:00:00Z\"",
        ),
        (codec("epoch_s"), json!(0), "\"1970-01-01T00:00:00Z\""),
        (
            codec("epoch_ms"),
            json!(1_500),
            "\"1970-01-01T00:00:01.500Z\"",
        ),
        (codec("set"), json!(["b", "a", "b"]), r#"["a","b"]"#),
        (codec("list"), json!(["b", 1]), r#"["b",1]"#),
        (codec("lines"), json!("a\nb"), r#"["a","b"]"#),
    ]
}

#[test]
fn what_is_read_means_what_the_table_says_and_is_written_back_to_mean_the_same() {
    for (codec, stored, want) in table() {
        let value = codec.decode(&stored).unwrap();
        assert_eq!(value.to_json(), want, "{codec:?}");
        let again = codec.decode(&codec.encode(&value).unwrap()).unwrap();
        assert_eq!(again, value, "{codec:?}");
        assert_eq!(codec.canonical(&value).unwrap(), value, "{codec:?}");
    }
}

#[test]
fn what_means_nothing_here_is_an_error_that_shows_it() {
    for (codec, stored) in [
        (codec("text"), json!(5)),
        (statuses(), json!("open")),
        (statuses(), json!([])),
        (codec("integer"), json!("5")),
        (codec("decimal_text"), json!("five")),
        (Codec::Minor("EUR".into()), json!(1.5)),
        (Codec::Minor("XXX".into()), json!(1)),
        (codec("money"), json!({"currency": "EUR"})),
        (codec("boolean"), json!(1)),
        (codec("date"), json!("28-11-2026")),
        (codec("datetime"), json!("2026-11-28 00:00")),
        (codec("set"), json!([1])),
        (codec("lines"), json!([])),
    ] {
        let error = codec.decode(&stored).unwrap_err();
        assert!(error.starts_with("holds "), "{codec:?}: {error}");
    }
    let long = json!("x".repeat(STRING_BYTES_MAX + 1));
    assert!(codec("text").decode(&long).unwrap_err().contains("at most"));
}

#[test]
fn a_number_that_no_argument_could_be_is_carried_and_put_back_as_it_is() {
    for spelling in [
        "0.30000000000000004",
        "18446744073709551615",
        "1e30",
        "-1e400",
        "0.1e-30",
    ] {
        let stored: Json = serde_json::from_str(spelling).unwrap();
        for name in ["integer", "decimal", "opaque"] {
            let value = codec(name).decode(&stored).unwrap();
            if name != "opaque" {
                let again = codec(name).encode(&value).unwrap();
                assert_eq!(
                    codec(name).decode(&again).unwrap(),
                    value,
                    "{name} {spelling}"
                );
            }
        }
    }
    assert!(
        codec("decimal")
            .encode(&Value::Text("much".into()))
            .is_err()
    );
}

#[test]
fn what_is_only_read_is_always_readable() {
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    for text in [
        deep.as_str(),
        r#""a\u0000b""#,
        "[1e30]",
        r#"{"é":1}"#,
        "null",
        "false",
    ] {
        let stored: Json = serde_json::from_str(text).unwrap();
        let value = codec("opaque").decode(&stored).unwrap();
        assert!(value.to_json().len() <= STRING_BYTES_MAX, "{text}");
    }
    let long = opaque(&json!("x".repeat(50_000)));
    assert!(long.as_text().unwrap().starts_with("sha256:"), "{long:?}");
    assert!(
        codec("opaque").encode(&long).is_err(),
        "nothing is written through it"
    );
}

proptest! {
    #[test]
    fn every_text_and_number_survives(text in ".{0,60}", whole in any::<i64>(), cents in 0_i64..1_000_000_000) {
        let plain = Value::Text(text.replace('\0', ""));
        let text = codec("text");
        prop_assert_eq!(text.decode(&text.encode(&plain).unwrap()).unwrap(), plain);
        for name in ["integer", "decimal", "decimal_text"] {
            let (codec, value) = (codec(name), Value::Int(whole));
            prop_assert_eq!(codec.decode(&codec.encode(&value).unwrap()).unwrap(), value);
        }
        let minor = Codec::Minor("EUR".into());
        let value = minor.decode(&Json::from(cents)).unwrap();
        prop_assert_eq!(minor.encode(&value).unwrap(), Json::from(cents));
    }
}
