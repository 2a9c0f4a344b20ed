//! Lines of an export, as tests look at them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use writ_proto::value::first_from_cbor;

/// The record of a line with its values; none for other lines and for policies that come into force.
pub fn read(line: &[u8]) -> Option<Json> {
    let line: Json = serde_json::from_slice(line).ok()?;
    let mut record = line.get("record")?.clone();
    if record["kind"] == "policy_published" {
        return None;
    }
    let bytes = STANDARD
        .decode(line["values_b64"].as_str().unwrap())
        .unwrap();
    let (mut rest, mut values) = (bytes.as_slice(), Map::new());
    while !rest.is_empty() {
        let (name, after) = first_from_cbor(rest).unwrap();
        let (_salt, after) = first_from_cbor(after).unwrap();
        let (value, after) = first_from_cbor(after).unwrap();
        let name = name.as_text().unwrap().to_owned();
        values.insert(name, serde_json::from_str(&value.to_json()).unwrap());
        rest = after;
    }
    record["values"] = Json::Object(values);
    Some(record)
}
