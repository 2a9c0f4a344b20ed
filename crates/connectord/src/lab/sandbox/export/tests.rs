//! Each format, and each bound and fault of an export.

use serde_json::json;

use super::*;

/// What makes an export of a size, the most that may be, and what is said of one more.
type Bound<'a> = (&'a dyn Fn(usize) -> String, usize, &'a str);

fn read(text: &str, format: Format) -> Result<Vec<Json>, String> {
    let records = parse(text.as_bytes(), format)?;
    Ok(records
        .into_iter()
        .map(|record| Json::Object(record.fields))
        .collect())
}

#[test]
fn one_record_reads_the_same_from_each_format() {
    let record = json!({"id": "7", "name": "Acme, \"the\" firm"});
    for (format, text) in [
        (Format::Csv, "id,name\n7,\"Acme, \"\"the\"\" firm\"\n"),
        (
            Format::Csv,
            "\u{feff}id,name\r\n7,\"Acme, \"\"the\"\" firm\"\r\n",
        ),
        (
            Format::Json,
            r#"[{"id": "7", "name": "Acme, \"the\" firm"}]"#,
        ),
        (
            Format::Lines,
            "\n{\"id\": \"7\", \"name\": \"Acme, \\\"the\\\" firm\"}\n\n",
        ),
    ] {
        assert_eq!(read(text, format), Ok(vec![record.clone()]), "{text}");
    }
    let lines = "a,b\n\"two\nlines\", \n";
    let record = json!({"a": "two\nlines", "b": " "});
    assert_eq!(read(lines, Format::Csv), Ok(vec![record]));
}

#[test]
fn the_ending_of_a_file_names_its_format() {
    for (ending, format) in [
        ("csv", Some(Format::Csv)),
        ("CSV", Some(Format::Csv)),
        ("json", Some(Format::Json)),
        ("jsonl", Some(Format::Lines)),
        ("ndjson", Some(Format::Lines)),
        ("xlsx", None),
        ("", None),
    ] {
        assert_eq!(Format::of(ending), format);
    }
}

#[test]
fn what_is_wrong_is_told_by_its_place_and_not_by_its_value() {
    for (format, text, why) in [
        (Format::Csv, "", "there is no record"),
        (Format::Csv, "id,name\n", "there is no record"),
        (
            Format::Csv,
            "id,name\n7,secret\n8\n",
            "record 2: not as many values as names",
        ),
        (
            Format::Csv,
            "id,name\n7,secret,secret\n",
            "record 1: not as many values as names",
        ),
        (
            Format::Csv,
            "id,name\n7,\"secret\n8,secret\n",
            "a quote is opened and not closed",
        ),
        (
            Format::Csv,
            "id,id\n7,secret\n",
            "two columns have one name",
        ),
        (Format::Json, "[]", "there is no record"),
        (Format::Json, r#"{"id": "secret"}"#, "not a list of objects"),
        (
            Format::Json,
            r#"[{"id": 7}, "secret"]"#,
            "record 2: not an object",
        ),
        (
            Format::Json,
            "[{\"id\":\n\"secret]",
            "line 2 column 8: not JSON",
        ),
        (Format::Lines, " \n", "there is no record"),
        (
            Format::Lines,
            "{\"id\": 7}\n\n{\"id\": secret}",
            "line 3: not a JSON object",
        ),
        (Format::Lines, "\"secret\"", "line 1: not a JSON object"),
    ] {
        assert_eq!(read(text, format), Err(why.to_owned()), "{text}");
        assert!(!why.contains("secret"));
    }
    let bytes = [b"id\n7\n".as_slice(), &[0xff]].concat();
    let why = parse(&bytes, Format::Csv).unwrap_err();
    assert_eq!(why, "not UTF-8 at byte 5");
}

#[test]
fn each_bound_holds_to_the_last_and_refuses_one_more() {
    let records = |count: usize| "{\"id\":1}\n".repeat(count);
    let fields = |count: usize| {
        let fields = (0..count).map(|index| (format!("f{index}"), json!(1)));
        Json::Object(fields.collect()).to_string()
    };
    let value = |length: usize| json!({ "id": "x".repeat(length) }).to_string();
    let number = |length: usize| format!("{{\"id\":{}}}", "7".repeat(length));
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!("{{\"id\":{open}{close}}}")
    };
    let nesting = usize::from(NESTING_MAX);
    let table: [Bound<'_>; 5] = [
        (&records, RECORDS_MAX, "line 10001: more than 10000 records"),
        (&fields, FIELDS_MAX, "line 1: more than 128 fields"),
        (
            &value,
            VALUE_BYTES_MAX,
            "line 1: a value of more than 65536 bytes",
        ),
        (
            &number,
            VALUE_BYTES_MAX,
            "line 1: a value of more than 65536 bytes",
        ),
        (&nested, nesting, "line 1: nested deeper than 8"),
    ];
    for (text, most, why) in table {
        assert!(read(&text(most), Format::Lines).is_ok(), "{why}");
        let refused = read(&text(most + 1), Format::Lines);
        assert_eq!(refused, Err(why.to_owned()));
    }
    let long = vec![b' '; FILE_BYTES_MAX + 1];
    let why = parse(&long, Format::Lines).unwrap_err();
    assert_eq!(why, "more than 67108864 bytes");
}
