//! The lines of an export: how they are written, and their shapes when they are read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::log::merkle::leaf_hash;
use crate::domain::record::{Projection, project};

/// Version of the format of the lines.
pub(crate) const FORMAT: &str = "writ.export.v2";
/// Longest line of a record.
pub(crate) const LINE_BYTES_MAX: usize = 1_024 * 1_024;
/// Longest line of a policy set; most of it may be its entities, escaped.
pub(crate) const POLICY_LINE_BYTES_MAX: usize = 192 * 1_024 * 1_024;
/// How the line of a policy set begins.
pub(crate) const POLICY_START: &[u8] = b"{\"policy_digest\":";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderLine {
    pub(crate) format: String,
    pub(crate) origin: String,
    /// Whether the values and the policy sets are there.
    pub(crate) values: bool,
}

#[derive(Serialize)]
struct RecordLine<'a> {
    seq: u64,
    leaf_hash: String,
    leaf_b64: String,
    record: &'a Projection,
    #[serde(skip_serializing_if = "Option::is_none")]
    values_b64: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct RecordLineRead {
    pub(crate) seq: u64,
    pub(crate) leaf_b64: String,
    pub(crate) values_b64: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyLine {
    pub(crate) policy_digest: String,
    /// The texts of the set as one JSON document.
    pub(crate) published: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointLine {
    pub(crate) checkpoint: String,
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The first line. `values` says whether the values and the policy sets come too.
#[must_use]
pub fn header_line(origin: &str, values: bool) -> String {
    line(&HeaderLine {
        format: FORMAT.to_owned(),
        origin: origin.to_owned(),
        values,
    })
}

/// The line of one leaf, with its values where they are given; none when the bytes are no leaf.
#[must_use]
pub fn record_line(leaf: &[u8], values: Option<&[u8]>) -> Option<String> {
    let record = project(leaf).ok()?;
    Some(line(&RecordLine {
        seq: record.seq,
        leaf_hash: hex::encode(leaf_hash(leaf)),
        leaf_b64: STANDARD.encode(leaf),
        record: &record,
        values_b64: values.map(|values| STANDARD.encode(values)),
    }))
}

/// The line of a policy set, behind the first record that says it is in force.
#[must_use]
pub fn policy_line(digest: &[u8; 32], published: &str) -> String {
    line(&PolicyLine {
        policy_digest: hex::encode(digest),
        published: published.to_owned(),
    })
}

/// The last line.
#[must_use]
pub fn checkpoint_line(note: &str) -> String {
    line(&CheckpointLine {
        checkpoint: note.to_owned(),
    })
}
