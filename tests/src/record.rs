//! Lines of an export, as tests look at them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use writ_proto::value::{Value, first_from_cbor};

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
        let (item, after) = first_from_cbor(rest).unwrap();
        let Value::List(parts) = item else {
            panic!("a value of a record is a list");
        };
        let name = parts[0].as_text().unwrap().to_owned();
        values.insert(name, serde_json::from_str(&parts[2].to_json()).unwrap());
        rest = after;
    }
    record["values"] = Json::Object(values);
    Some(record)
}
