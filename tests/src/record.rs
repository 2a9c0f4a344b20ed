//! Executions and lines of an export, as tests look at them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use writ_proto::pb;
use writ_proto::value::first_from_cbor;

use crate::Actor;

/// Of the tenant acme.
impl Actor {
    pub async fn executions(&mut self) -> Vec<pb::Execution> {
        let request = pb::ListExecutionsRequest {
            parent: "tenants/acme".into(),
            page_size: 1_000,
            ..pb::ListExecutionsRequest::default()
        };
        let listed = self.execute.list_executions(request).await.unwrap();
        listed.into_inner().executions
    }

    /// All export lines.
    pub async fn exported(&mut self, with_values: bool) -> Vec<u8> {
        let request = pb::ExportRecordsRequest {
            parent: "tenants/acme".into(),
            from_seq: 0,
            with_values,
        };
        let stream = self.records.export_records(request).await;
        let mut stream = stream.unwrap().into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await.unwrap() {
            bytes.extend_from_slice(&part.chunk);
        }
        bytes
    }

    /// See [`crate::World::records`].
    pub async fn all_records(&mut self) -> Vec<Json> {
        let bytes = self.exported(true).await;
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.filter_map(read).collect()
    }
}

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
