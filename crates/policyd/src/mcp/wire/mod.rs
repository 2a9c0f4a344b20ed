//! What a line or a body must be before it is taken for a message: one JSON object within limits,
//! each key once, of exactly the members of JSON-RPC. The parser is the strict one of arguments, so
//! that nothing is read in two ways.

use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, NumberOrString, RequestId,
    ServerJsonRpcMessage,
};
use writ_proto::Reason;
use writ_proto::limits::{ARGS_BYTES_MAX, ARGS_DEPTH_MAX, STRING_BYTES_MAX};
use writ_proto::value::{Map, Value, ValueError, value_from_json};

use find_id::find_id;

mod find_id;
pub(crate) mod guard;
pub mod http;
pub(crate) mod stdio;

/// Longest message in bytes; the depth and the counts are those of arguments.
pub(super) const MESSAGE_BYTES_MAX: usize = ARGS_BYTES_MAX;
const MEMBERS: [&str; 4] = ["jsonrpc", "id", "method", "params"];
/// The requests that are served here.
const SERVED: [&str; 5] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
];
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
    // Without its id the answer to a request reaches nobody: the client would wait for ever.
    if bytes.len() > MESSAGE_BYTES_MAX {
        let why = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
        return refuse(ErrorCode::INVALID_REQUEST, why, find_id(bytes));
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        let why = "the message is not UTF-8".to_owned();
        return refuse(ErrorCode::PARSE_ERROR, why, find_id(bytes));
    };
    let map = match value_from_json(text) {
        Ok(Value::Map(map)) => map,
        Ok(Value::List(_)) => {
            let why = "batches are not served; send one message at a time".to_owned();
            return refuse(ErrorCode::INVALID_REQUEST, why, find_id(bytes));
        }
        Ok(_) => {
            let why = "a message is a JSON object".to_owned();
            return refuse(ErrorCode::INVALID_REQUEST, why, None);
        }
        Err(error) => {
            return refuse(ErrorCode::PARSE_ERROR, in_words(&error), find_id(bytes));
        }
    };
    let id = id(&map);
    if map.get("method").is_none() && (map.get("result").is_some() || map.get("error").is_some()) {
        // We ask a client for nothing, so there is nothing it could answer.
        return Received::Nothing;
    }
    if let Err(why) = members(&map) {
        return refuse(ErrorCode::INVALID_REQUEST, why, id);
    }
    let unfit = || {
        let why = "the params do not fit the method".to_owned();
        refuse(ErrorCode::INVALID_PARAMS, why, id.clone())
    };
    match serde_json::from_str(text) {
        Ok(message) if is_unfit(&message) => unfit(),
        Ok(message) => Received::Message(Box::new(message)),
        Err(error) if map.get("id").is_none() => {
            tracing::debug!(%error, "a notification that cannot be read");
            Received::Nothing
        }
        // What is wrong is said without the words of the library, which name its own types.
        Err(_) => unfit(),
    }
}

/// Why a message is not taken, in a sentence with its code.
fn in_words(error: &ValueError) -> String {
    let code = error.reason.code();
    let why = match error.reason {
        Reason::ArgsTooLarge => format!(
            "it is too large: a text of it is longer than {STRING_BYTES_MAX} bytes, or it has too many values"
        ),
        Reason::ArgsDuplicateKey => "a key stands in it twice".to_owned(),
        Reason::ArgsTooDeep => format!("it is nested more than {ARGS_DEPTH_MAX} deep"),
        _ => format!("it is not valid JSON ({error})"),
    };
    format!("the message is refused, {why} ({code})")
}

/// The library takes a request that it cannot read for one of a method that it does not know.
fn is_unfit(message: &ClientJsonRpcMessage) -> bool {
    match message {
        ClientJsonRpcMessage::Request(request) => match &request.request {
            ClientRequest::CustomRequest(custom) => SERVED.contains(&custom.method.as_str()),
            _ => false,
        },
        _ => false,
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
mod tests;
