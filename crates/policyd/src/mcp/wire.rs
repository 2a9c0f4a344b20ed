//! What a line or a body must be before it is taken for a message: one JSON object within limits,
//! each key once, of exactly the members of JSON-RPC. The parser is the strict one of arguments, so
//! that nothing is read in two ways (threats.md R13).

use rmcp::model::{
    ClientJsonRpcMessage, ErrorCode, ErrorData, NumberOrString, RequestId, ServerJsonRpcMessage,
};
use writ_proto::limits::ARGS_BYTES_MAX;
use writ_proto::value::{Map, Value, value_from_json};

/// Longest message in bytes; the depth and the counts are those of arguments.
pub(super) const MESSAGE_BYTES_MAX: usize = ARGS_BYTES_MAX;
const MEMBERS: [&str; 4] = ["jsonrpc", "id", "method", "params"];
/// Names that the JSON library keeps for itself; a message must not speak its private language.
const PRIVATE: &str = "$serde_json";

/// What came in.
#[derive(Debug)]
pub(super) enum Received {
    /// A request or a notification.
    Message(Box<ClientJsonRpcMessage>),
    /// Something that wants no answer and means nothing here.
    Nothing,
    /// What to answer instead.
    Refused(Box<ServerJsonRpcMessage>),
}

fn refuse(code: ErrorCode, why: String, id: Option<RequestId>) -> Received {
    let error = ErrorData::new(code, why, None);
    Received::Refused(Box::new(ServerJsonRpcMessage::error(error, id)))
}

/// Reads one message.
pub(super) fn read(bytes: &[u8]) -> Received {
    if bytes.len() > MESSAGE_BYTES_MAX {
        let why = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
        return refuse(ErrorCode::INVALID_REQUEST, why, None);
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return refuse(ErrorCode::PARSE_ERROR, "not UTF-8".to_owned(), None);
    };
    let map = match value_from_json(text) {
        Ok(Value::Map(map)) => map,
        Ok(Value::List(_)) => {
            let why = "batches are not served; send one message at a time".to_owned();
            return refuse(ErrorCode::INVALID_REQUEST, why, None);
        }
        Ok(_) => {
            let why = "a message is a JSON object".to_owned();
            return refuse(ErrorCode::INVALID_REQUEST, why, None);
        }
        Err(error) => return refuse(ErrorCode::PARSE_ERROR, error.to_string(), None),
    };
    let id = id(&map);
    if map.get("method").is_none() && (map.get("result").is_some() || map.get("error").is_some()) {
        // We ask a client for nothing, so there is nothing it could answer.
        return Received::Nothing;
    }
    if let Err(why) = members(&map) {
        return refuse(ErrorCode::INVALID_REQUEST, why, id);
    }
    match serde_json::from_str(text) {
        Ok(message) => Received::Message(Box::new(message)),
        Err(error) if map.get("id").is_none() => {
            tracing::debug!(%error, "a notification that cannot be read");
            Received::Nothing
        }
        // What is wrong is said without the words of the library, which name its own types.
        Err(_) => refuse(
            ErrorCode::INVALID_PARAMS,
            "the params do not fit the method".to_owned(),
            id,
        ),
    }
}

fn id(map: &Map) -> Option<RequestId> {
    match map.get("id") {
        Some(Value::Text(text)) => Some(NumberOrString::String(text.as_str().into())),
        Some(Value::Int(number)) => Some(NumberOrString::Number(*number)),
        _ => None,
    }
}

fn members(map: &Map) -> Result<(), String> {
    if let Some((name, _)) = map.iter().find(|(name, _)| !MEMBERS.contains(name)) {
        return Err(format!("a message has no member `{name}`"));
    }
    if map.get("jsonrpc").and_then(Value::as_text) != Some("2.0") {
        return Err("jsonrpc is \"2.0\"".to_owned());
    }
    if map.get("method").and_then(Value::as_text).is_none() {
        return Err("method is missing".to_owned());
    }
    if map.get("id").is_some() && id(map).is_none() {
        return Err("id is a text or a whole number".to_owned());
    }
    match map.get("params") {
        None => Ok(()),
        Some(params @ Value::Map(_)) if !names_private(params) => Ok(()),
        Some(_) => Err("params is an object".to_owned()),
    }
}

fn names_private(value: &Value) -> bool {
    match value {
        Value::Map(map) => map
            .iter()
            .any(|(name, value)| name.starts_with(PRIVATE) || names_private(value)),
        Value::List(items) => items.iter().any(names_private),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
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
            assert!(
                matches!(read(quiet.as_bytes()), Received::Nothing),
                "{quiet}"
            );
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
            (&deep, parse, None),
            (&long, invalid, None),
            (
                r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
                parse,
                None,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
                parse,
                None,
            ),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
                invalid,
                None,
            ),
            ("3", invalid, None),
            (r#"{"id":1,"method":"ping"}"#, invalid, Some("1")),
            (
                r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#,
                invalid,
                Some("\"a\""),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#,
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
            assert_eq!(refused(line), expected, "{}", &line[..line.len().min(90)]);
        }
    }
}
