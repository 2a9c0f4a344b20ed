//! The vectors of `tests/vectors/args.json`, the limits, and a second implementation beside ours.

use proptest::prelude::*;

use super::*;
use crate::digest::{RequestParts, request_hash, sha256};
use crate::limits::*;

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/args.json")).unwrap()
}

fn text<'a>(case: &'a serde_json::Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

#[test]
fn every_accepted_vector_gives_its_bytes_and_hashes() {
    let vectors = vectors();
    let context = &vectors["context"];
    for case in vectors["accept"].as_array().unwrap() {
        let name = text(case, "name");
        let map = args_from_json(text(case, "json")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bytes = map.encode();
        assert_eq!(hex::encode(&bytes), text(case, "cbor_hex"), "{name}");
        assert_eq!(
            hex::encode(sha256(&bytes)),
            text(case, "sha256_hex"),
            "{name}"
        );
        assert_eq!(args_from_cbor(&bytes).as_ref(), Ok(&map), "{name}");
        let parts = RequestParts {
            tenant: text(context, "tenant"),
            connection: text(context, "connector"),
            action: text(context, "action"),
            target: Some((
                context["target"][0].as_str().unwrap(),
                context["target"][1].as_str().unwrap(),
            )),
            args_cbor: &bytes,
            precondition: Some(text(context, "precondition")),
        };
        assert_eq!(
            hex::encode(request_hash(&parts)),
            text(case, "request_sha256_hex"),
            "{name}"
        );
    }
}

#[test]
fn every_refused_json_gives_its_code() {
    for case in vectors()["reject_json"].as_array().unwrap() {
        let got = args_from_json(text(case, "json")).map_err(|error| error.reason.code());
        assert_eq!(got, Err(text(case, "error")), "{}", text(case, "name"));
    }
}

#[test]
fn every_refused_cbor_gives_its_code() {
    for case in vectors()["reject_cbor"].as_array().unwrap() {
        let bytes = hex::decode(text(case, "cbor_hex")).unwrap();
        let got = args_from_cbor(&bytes).map_err(|error| error.reason.code());
        assert_eq!(got, Err(text(case, "error")), "{}", text(case, "name"));
    }
}

fn nested(levels: usize) -> String {
    format!(
        "{{\"a\":{}{}}}",
        "[".repeat(levels - 1),
        "]".repeat(levels - 1)
    )
}

fn keys(count: usize) -> String {
    let entries: Vec<_> = (0..count).map(|index| format!("\"k{index}\":1")).collect();
    format!("{{{}}}", entries.join(","))
}

#[test]
fn every_limit_holds_at_one_below_at_and_one_above() {
    type Make = fn(usize) -> String;
    let table: [(&str, usize, Make, Reason); 5] = [
        ("depth", ARGS_DEPTH_MAX, nested, Reason::ArgsTooDeep),
        ("keys", KEYS_MAX, keys, Reason::ArgsTooLarge),
        (
            "items",
            LIST_ITEMS_MAX,
            |n| format!("{{\"a\":[{}1]}}", "1,".repeat(n - 1)),
            Reason::ArgsTooLarge,
        ),
        (
            "text",
            STRING_BYTES_MAX,
            |n| format!("{{\"a\":\"{}\"}}", "x".repeat(n)),
            Reason::ArgsTooLarge,
        ),
        (
            "key",
            KEY_BYTES_MAX,
            |n| format!("{{\"{}\":1}}", "k".repeat(n)),
            Reason::ArgsBadKey,
        ),
    ];
    for (name, limit, make, reason) in table {
        for size in [limit - 1, limit] {
            let map = args_from_json(&make(size)).unwrap_or_else(|e| panic!("{name} {size}: {e}"));
            assert_eq!(args_from_cbor(&map.encode()), Ok(map), "{name} {size}");
        }
        let above = args_from_json(&make(limit + 1)).map_err(|error| error.reason);
        assert_eq!(above, Err(reason), "{name}");
    }
    let number = |n: usize| format!("{{\"a\":0.5{}}}", "0".repeat(n - 3));
    assert!(args_from_json(&number(NUMBER_CHARS_MAX)).is_ok());
    assert!(args_from_json(&number(NUMBER_CHARS_MAX + 1)).is_err());
}

#[test]
fn the_size_and_the_count_of_values_are_bounded_in_cbor_too() {
    let list = |items: usize| Value::List(vec![Value::Int(0); items]);
    let mut map = Map::new();
    for index in 0..10 {
        map.set(&format!("k{index}"), list(998));
    }
    assert!(args_from_cbor(&map.encode()).is_ok(), "1 + 10 * 999 values");
    for index in 0..10 {
        map.set(&format!("k{index}"), list(1_000));
    }
    assert_eq!(
        args_from_cbor(&map.encode()).unwrap_err().reason,
        Reason::ArgsNotCanonical
    );
    let mut large = Map::new();
    for key in ["a", "b", "c"] {
        large.set(key, Value::Text("x".repeat(22_000)));
    }
    assert_eq!(
        args_from_cbor(&large.encode()).unwrap_err().reason,
        Reason::ArgsTooLarge
    );
    // A declared length of one gigabyte must not be allocated.
    assert!(value_from_cbor(&[0x5a, 0x40, 0, 0, 0]).is_err());
    assert!(value_from_cbor(&[0x9a, 0x40, 0, 0, 0]).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-18_i64..0, any::<i64>())
            .prop_filter_map("reduced", |(e, m)| Decimal::new(e, m).map(Value::Decimal)),
        "[^\u{0}]{0,12}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec(("[a-z]{1,9}", inner), 0..6).prop_map(|entries| {
                let mut map = Map::new();
                for (key, value) in entries {
                    map.set(&key, value);
                }
                Value::Map(map)
            }),
        ]
    })
}

/// Reads with ciborium and writes again with our encoder: a sound second opinion on canonical.
fn second_opinion(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes;
    let value: ciborium::Value = ciborium::from_reader(&mut rest).ok()?;
    if !rest.is_empty() {
        return None;
    }
    convert(&value).map(|value| value.encode())
}

fn convert(value: &ciborium::Value) -> Option<Value> {
    use ciborium::Value as Cbor;
    Some(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(truth) => Value::Bool(*truth),
        Cbor::Integer(number) => Value::Int(i64::try_from(*number).ok()?),
        Cbor::Text(text) if !text.contains('\0') => Value::Text(text.clone()),
        Cbor::Bytes(bytes) => Value::Bytes(bytes.clone()),
        Cbor::Array(items) => Value::List(items.iter().map(convert).collect::<Option<_>>()?),
        Cbor::Tag(4, inner) => {
            let pair = inner.as_array().filter(|pair| pair.len() == 2)?;
            let part = |at: usize| i64::try_from(pair[at].as_integer()?).ok();
            Value::Decimal(Decimal::new(part(0)?, part(1)?)?)
        }
        Cbor::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = key.as_text().filter(|key| key_is_allowed(key))?;
                map.insert(key.to_owned(), convert(value)?).ok()?;
            }
            Value::Map(map)
        }
        _ => return None,
    })
}

proptest! {
    #[test]
    fn encoding_and_decoding_are_inverse(value in any_value()) {
        let bytes = value.encode();
        prop_assert_eq!(value_from_cbor(&bytes).unwrap(), value);
        prop_assert_eq!(second_opinion(&bytes), Some(bytes));
    }

    #[test]
    fn different_values_have_different_bytes(a in any_value(), b in any_value()) {
        prop_assert_eq!(a == b, a.encode() == b.encode());
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_another_value(
        value in any_value(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let mut bytes = value.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match value_from_cbor(&bytes) {
            Ok(read) => {
                prop_assert_ne!(&read, &value);
                prop_assert_eq!(read.encode(), bytes);
            }
            Err(_) => prop_assert_ne!(second_opinion(&bytes), Some(bytes)),
        }
    }

    #[test]
    fn random_bytes_are_canonical_only_if_they_come_back_unchanged(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        if let Ok(value) = value_from_cbor(&bytes) {
            prop_assert_eq!(value.encode(), bytes);
        } else {
            prop_assert_ne!(second_opinion(&bytes), Some(bytes));
        }
    }

    #[test]
    fn json_text_of_a_value_reads_as_the_same_value(value in any_value()) {
        fn has_bytes(value: &Value) -> bool {
            match value {
                Value::Bytes(_) => true,
                Value::List(items) => items.iter().any(has_bytes),
                Value::Map(map) => map.iter().any(|(_, value)| has_bytes(value)),
                _ => false,
            }
        }
        prop_assume!(!has_bytes(&value));
        prop_assert_eq!(value_from_json(&value.to_json()).unwrap(), value);
    }
}

#[test]
fn keys_and_depth_are_checked_in_cbor_too() {
    for key in ["", "a\u{1}b", "e\u{301}", &"k".repeat(KEY_BYTES_MAX + 1)] {
        let mut map = Map::new();
        map.set(key, Value::Null);
        let refused = args_from_cbor(&map.encode()).map_err(|error| error.reason);
        assert_eq!(refused, Err(Reason::ArgsNotCanonical), "{key:?}");
    }
    let within = |levels: usize| {
        let inner = (1..levels).fold(Map::new(), |inner, _| {
            let mut outer = Map::new();
            outer.set("a", Value::Map(inner));
            outer
        });
        args_from_cbor(&inner.encode()).is_ok()
    };
    assert!(within(ARGS_DEPTH_MAX) && !within(ARGS_DEPTH_MAX + 1));
}

#[test]
fn the_count_and_the_encoded_size_of_json_values_are_bounded() {
    let lists = |lists: usize, items: usize, item: &str| {
        let list = format!("[{}{item}]", format!("{item},").repeat(items - 1));
        let all = format!("{list},").repeat(lists - 1) + &list;
        args_from_json(&format!("{{\"a\":[{all}]}}")).map_err(|error| error.reason)
    };
    assert!(lists(9, 1_000, "0").is_ok());
    assert_eq!(lists(11, 1_000, "0"), Err(Reason::ArgsTooLarge));
    // Seven bytes of text with the comma, eight when encoded.
    assert_eq!(lists(10, 900, "6553.6"), Err(Reason::ArgsTooLarge));
}

#[test]
fn half_a_surrogate_pair_and_another_letter_are_no_text() {
    let read = args_from_json(r#"{"a":"\ud800\u0041"}"#).map_err(|error| error.reason);
    assert_eq!(read, Err(Reason::ArgsBadUnicode));
}
