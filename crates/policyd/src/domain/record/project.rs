//! From leaf bytes back to what a person reads. Strict: bytes that the writer would not have
//! written are refused, so a projection can be compared byte for byte.

use std::collections::BTreeMap;

use serde::Serialize;
use writ_proto::context;
use writ_proto::value::Value;

use super::Kind;
use crate::domain::log::merkle::Hash;

const NO_RECORD: &str = "its signed bytes are no record of policyd";

/// Why bytes are not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProjectError(pub String);

/// The readable fields of a leaf, in the order of the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Projection {
    /// Place in the log.
    pub seq: u64,
    /// Leaf hash of the record before it, hex.
    pub prev: Option<String>,
    /// Kind by name.
    pub kind: String,
    /// Shared by all versions.
    pub record_id: String,
    /// 1, 2, 3.
    pub version: u32,
    /// Leaf hash of the version before it, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// RFC 3339, milliseconds, UTC.
    pub time: String,
    /// Log origin.
    pub origin: String,
    /// Tenant.
    pub tenant: String,
    /// Agent.
    pub agent: String,
    /// Connection.
    pub connection: String,
    /// Action.
    pub action: String,
    /// Object type.
    pub target_type: String,
    /// ALLOW, DENY, REQUIRE_APPROVAL or empty.
    pub verdict: String,
    /// Reason codes.
    pub reasons: Vec<String>,
    /// Rules that decided.
    pub rules: Vec<String>,
    /// Rules that failed.
    pub errors: Vec<String>,
    /// Name of the policy set.
    pub policy: String,
    /// The engine that evaluates it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// Its digest, hex.
    pub policy_digest: String,
    /// dry_run, execute or empty.
    pub mode: String,
    /// Amount and currency, or empty.
    pub money: String,
    /// Token id, or empty.
    pub token_id: String,
    /// Status of the execution, or empty.
    pub status: String,
    /// Id of the execution, or empty.
    pub execution_id: String,
    /// What became of a budget: the change, its id, what is used and what may be; or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub budget: String,
    /// Names of the values committed to.
    pub committed: Vec<String>,
    /// What made an incident; only in the records of one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub incident: String,
    /// Scope of a halt, where the record is about one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub halt: String,
}

const LABELS_MAX: usize = 64;

/// A map with integer labels is not an argument value, so it is written here: head, then pairs.
pub(super) fn encode_labels(pairs: &[(i64, Value)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let count = u8::try_from(pairs.len()).unwrap_or(u8::MAX);
    // Labels are at most 63 and pairs at most 24 or so: one or two bytes of head.
    if count < 24 {
        out.push(0xa0 | count);
    } else {
        out.extend_from_slice(&[0xb8, count]);
    }
    for (label, value) in pairs {
        out.extend_from_slice(&Value::Int(*label).encode());
        out.extend_from_slice(&value.encode());
    }
    out
}

/// Splits a leaf into labels and values, and proves it is what the encoder writes.
fn decode_labels(leaf: &[u8]) -> Result<Vec<(i64, Value)>, ProjectError> {
    let refuse = |why: &str| ProjectError(format!("{NO_RECORD}: {why}"));
    let (count, mut rest) = match leaf {
        [head @ 0xa0..=0xb7, rest @ ..] => (usize::from(head & 0x1f), rest),
        [0xb8, count, rest @ ..] => (usize::from(*count), rest),
        _ => return Err(refuse("not a map")),
    };
    if count > LABELS_MAX {
        return Err(refuse("too many labels"));
    }
    let mut pairs: Vec<(i64, Value)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (label, after) =
            writ_proto::value::first_from_cbor(rest).map_err(|error| refuse(&error.to_string()))?;
        let Value::Int(label) = label else {
            return Err(refuse("a label that is no number"));
        };
        let (value, after) = writ_proto::value::first_from_cbor(after)
            .map_err(|error| refuse(&error.to_string()))?;
        if pairs.last().is_some_and(|(last, _)| *last >= label) {
            return Err(refuse("labels out of order"));
        }
        pairs.push((label, value));
        rest = after;
    }
    if !rest.is_empty() || encode_labels(&pairs) != leaf {
        return Err(refuse("trailing or overlong bytes"));
    }
    Ok(pairs)
}

struct Fields(Vec<(i64, Value)>);

impl Fields {
    fn get(&self, label: i64) -> Option<&Value> {
        self.0
            .iter()
            .find(|(found, _)| *found == label)
            .map(|(_, value)| value)
    }

    fn text(&self, label: i64) -> String {
        self.get(label)
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned()
    }

    fn number(&self, label: i64) -> Option<i64> {
        match self.get(label) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    fn bytes<const N: usize>(&self, label: i64) -> Option<[u8; N]> {
        match self.get(label) {
            Some(Value::Bytes(bytes)) => bytes.as_slice().try_into().ok(),
            _ => None,
        }
    }

    fn list(&self, label: i64) -> &[Value] {
        match self.get(label) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::List(items)) => items
            .iter()
            .filter_map(Value::as_text)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

fn uuid_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Bytes(bytes)) => uuid::Uuid::from_slice(bytes)
            .map(|uuid| uuid.to_string())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn hex_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Bytes(bytes)) => hex::encode(bytes),
        _ => String::new(),
    }
}

/// Reads a leaf.
///
/// # Errors
/// When the bytes are not exactly what the writer writes.
pub fn project(leaf: &[u8]) -> Result<Projection, ProjectError> {
    let fields = Fields(decode_labels(leaf)?);
    let missing = |what: &str| ProjectError(format!("{NO_RECORD}: {what} is missing or wrong"));
    if fields.text(0) != context::RECORD {
        return Err(missing("the version of the format"));
    }
    let seq = fields.number(2).and_then(|seq| u64::try_from(seq).ok());
    let kind = fields
        .number(4)
        .and_then(Kind::name_of)
        .ok_or_else(|| missing("the kind"))?;
    let time = fields
        .number(8)
        .and_then(chrono::DateTime::from_timestamp_millis);
    let time = time.ok_or_else(|| missing("the time"))?;
    let (policy, token, execution) = (fields.list(17), fields.list(20), fields.list(21));
    let money = match fields.list(19) {
        [Value::Text(currency), amount] => format!("{} {currency}", amount.to_json()),
        _ => String::new(),
    };
    let committed = fields.get(27).and_then(Value::as_map);
    Ok(Projection {
        seq: seq.ok_or_else(|| missing("the sequence number"))?,
        prev: fields.bytes::<32>(3).map(hex::encode),
        kind: kind.to_owned(),
        record_id: uuid_text(fields.get(5)),
        version: fields
            .number(6)
            .and_then(|v| u32::try_from(v).ok())
            .unwrap_or_default(),
        previous: fields.bytes::<32>(7).map(hex::encode),
        time: time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        origin: fields.text(1),
        tenant: fields.text(10),
        agent: fields.text(11),
        connection: fields.text(12),
        action: fields.text(13),
        target_type: fields.text(14),
        verdict: verdict(fields.number(15)).to_owned(),
        reasons: strings(fields.get(16)),
        rules: strings(policy.get(2)),
        errors: strings(policy.get(3)),
        policy: policy
            .get(1)
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned(),
        engine: policy
            .get(4)
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned(),
        policy_digest: hex_text(policy.first()),
        mode: mode(fields.number(18)).to_owned(),
        money,
        token_id: uuid_text(token.first()),
        status: execution
            .first()
            .and_then(Value::as_text)
            .unwrap_or_default()
            .to_owned(),
        execution_id: uuid_text(execution.get(3)),
        budget: budget(fields.list(23)),
        committed: committed
            .map(|map| map.iter().map(|(name, _)| name.to_owned()).collect())
            .unwrap_or_default(),
        incident: incident_line(fields.list(30)),
        halt: fields.text(29),
    })
}

/// The commitments of a leaf by name; none where the bytes are no leaf.
#[must_use]
pub fn commitments(leaf: &[u8]) -> BTreeMap<String, [u8; 32]> {
    let Ok(labels) = decode_labels(leaf) else {
        return BTreeMap::new();
    };
    let fields = Fields(labels);
    let map = fields.get(27).and_then(Value::as_map);
    let pairs = map.into_iter().flat_map(|map| map.iter());
    let read = |(name, value): (&str, &Value)| match value {
        Value::Bytes(bytes) => Some((name.to_owned(), bytes.as_slice().try_into().ok()?)),
        _ => None,
    };
    pairs.filter_map(read).collect()
}

fn verdict(number: Option<i64>) -> &'static str {
    match number {
        Some(0) => "DENY",
        Some(1) => "ALLOW",
        Some(2) => "REQUIRE_APPROVAL",
        _ => "",
    }
}

fn mode(number: Option<i64>) -> &'static str {
    match number {
        Some(0) => "dry_run",
        Some(1) => "execute",
        _ => "",
    }
}

/// What made an incident, in one line.
fn incident_line(values: &[Value]) -> String {
    match values {
        [
            Value::Text(rule),
            Value::Int(denials),
            Value::Int(window),
            Value::Bool(halts),
        ] => {
            let halts = if *halts {
                "the agent is halted"
            } else {
                "no halt"
            };
            format!("{rule}: {denials} denials in {window} s; {halts}")
        }
        _ => String::new(),
    }
}

fn budget(parts: &[Value]) -> String {
    let [Value::Text(id), used, cap, Value::Text(change)] = parts else {
        return String::new();
    };
    let figure = |value: &Value| match value {
        Value::Int(number) => number.to_string(),
        _ => "-".to_owned(),
    };
    format!("{change} {id} {}/{}", figure(used), figure(cap))
}

impl Projection {
    /// The hash of the record before this one.
    #[must_use]
    pub fn prev_hash(&self) -> Option<Hash> {
        hex::decode(self.prev.as_ref()?).ok()?.try_into().ok()
    }
}
