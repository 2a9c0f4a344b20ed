//! Lines that are messages, and lines that are none.

use super::*;

/// The code of the refusal and its id, or nothing.
fn refused(line: &str) -> Option<(i32, Option<String>)> {
    match read(line.as_bytes()) {
        Received::Refused(message) => {
            let json = serde_json::to_value(&message).unwrap();
            let code = json["error"]["code"].as_i64().unwrap();
            let id = json.get("id").map(ToString::to_string);
            Some((i32::try_from(code).unwrap(), id))
        }
        _ => None,
    }
}

#[test]
fn one_object_with_each_key_once_is_a_message() {
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{"amount":{"currency":"EUR","value":49.00}}}}"#;
    let Received::Message(message) = read(call.as_bytes()) else {
        panic!("a good call is refused");
    };
    let json = serde_json::to_string(&message).unwrap();
    assert!(
        json.contains("49.00"),
        "the number stays as it was written: {json}"
    );
    for quiet in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#,
    ] {
        let wants_answer = matches!(read(quiet.as_bytes()), Received::Refused(_));
        assert!(!wants_answer, "{quiet}");
    }
}

#[test]
fn everything_else_is_a_clean_error() {
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{}{}}}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#,
        "a".repeat(MESSAGE_BYTES_MAX)
    );
    let (parse, invalid, params) = (-32700, -32600, -32602);
    let table = [
        ("{", parse, None),
        ("hello", parse, None),
        (&deep, parse, Some("1")),
        (&long, invalid, Some("1")),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            parse,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
            parse,
            Some("1"),
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            invalid,
            Some("1"),
        ),
        ("3", invalid, None),
        (r#"{"id":1,"method":"ping"}"#, invalid, Some("1")),
        (
            r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#,
            invalid,
            Some("\"a\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"ping"}"#,
            invalid,
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            invalid,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            invalid,
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"$serde_json::private::Number":"1"}}"#,
            invalid,
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}"#,
            params,
            Some("1"),
        ),
    ];
    for (line, code, id) in table {
        let expected = Some((code, id.map(str::to_owned)));
        let start: String = line.chars().take(90).collect();
        assert_eq!(refused(line), expected, "{start}");
    }
}
