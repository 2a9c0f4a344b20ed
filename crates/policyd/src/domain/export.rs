//! The export of a log, one JSON line a record, and its verification with public keys alone.
//!
//! Line one names the log, one line follows for each record, the last one holds the signed
//! checkpoint. Every byte is covered: verification renders each line again from the leaf bytes
//! and compares, follows the hash of each record to the next, and rebuilds the root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};

use super::checkpoint::Checkpoint;
use super::merkle::{Frontier, Hash, leaf_hash};
use super::record::{Projection, project};

/// Version of the format of the lines.
const FORMAT: &str = "writ.export.v1";
const LINE_BYTES_MAX: usize = 256 * 1_024;
const FINDINGS_MAX: usize = 100;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    format: String,
    origin: String,
}

#[derive(Serialize)]
struct RecordLine<'a> {
    seq: u64,
    leaf_hash: String,
    leaf_b64: String,
    record: &'a Projection,
}

#[derive(Deserialize)]
struct RecordLineRead {
    seq: u64,
    leaf_b64: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The first line.
#[must_use]
pub fn header_line(origin: &str) -> String {
    line(&HeaderLine {
        format: FORMAT.to_owned(),
        origin: origin.to_owned(),
    })
}

/// The line of one leaf; none when the bytes are no leaf.
#[must_use]
pub fn record_line(leaf: &[u8]) -> Option<String> {
    let record = project(leaf).ok()?;
    Some(line(&RecordLine {
        seq: record.seq,
        leaf_hash: hex::encode(leaf_hash(leaf)),
        leaf_b64: STANDARD.encode(leaf),
        record: &record,
    }))
}

/// The last line.
#[must_use]
pub fn checkpoint_line(note: &str) -> String {
    line(&CheckpointLine {
        checkpoint: note.to_owned(),
    })
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Log origin.
    pub origin: String,
    /// Records read.
    pub records: u64,
    /// Key that signed the checkpoint, hex.
    pub signed_by: String,
    /// What does not hold, each with where; empty means verified.
    pub findings: Vec<String>,
    /// The bytes are no export at all.
    pub unreadable: bool,
}

impl Report {
    fn add(&mut self, place: &str, what: &str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{place}: {what}"));
        }
    }

    /// Whether everything holds.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.findings.is_empty() && !self.unreadable
    }
}

/// Verifies an export with trusted public keys. No clock, no network: historic keys count.
#[must_use]
pub fn verify(bytes: &[u8], keys: &KeySet) -> Report {
    let mut report = Report::default();
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let header = lines
        .next()
        .and_then(|line| serde_json::from_slice::<HeaderLine>(line).ok());
    let Some(header) = header.filter(|header| header.format == FORMAT) else {
        report.unreadable = true;
        report.add("header", "this is not an export");
        return report;
    };
    if !bytes.starts_with(header_line(&header.origin).as_bytes()) {
        report.add("header", "it is not as the exporter writes it");
    }
    report.origin.clone_from(&header.origin);
    let mut lines: Vec<&[u8]> = lines.collect();
    let last = lines.pop().unwrap_or_default();
    let mut log = Log {
        frontier: Frontier::default(),
        last: None,
    };
    for line in lines {
        log.take(line, &mut report);
    }
    report.records = log.frontier.size();
    checkpoint(last, keys, &log, &mut report);
    report
}

struct Log {
    frontier: Frontier,
    last: Option<Hash>,
}

impl Log {
    fn take(&mut self, line: &[u8], report: &mut Report) {
        let place = format!("#{}", self.frontier.size());
        let read = (line.len() <= LINE_BYTES_MAX)
            .then(|| serde_json::from_slice::<RecordLineRead>(line).ok())
            .flatten();
        let leaf = read
            .as_ref()
            .and_then(|read| STANDARD.decode(&read.leaf_b64).ok());
        let Some((read, leaf)) = read.zip(leaf) else {
            report.add(&place, "the line is not a record");
            self.frontier.push([0; 32]);
            self.last = None;
            return;
        };
        let hash = leaf_hash(&leaf);
        match project(&leaf) {
            Err(error) => report.add(&place, &error.to_string()),
            Ok(record) => {
                let expected = record_line(&leaf).unwrap_or_default();
                if expected.as_bytes() != line {
                    report.add(&place, "the line says something else than its leaf");
                }
                if record.seq != self.frontier.size() || read.seq != record.seq {
                    report.add(&place, &format!("it says it is #{}", record.seq));
                }
                if record.origin != report.origin {
                    report.add(&place, "it is of another log");
                }
                // The link blames the record whose bytes changed, which is the one before.
                if record.prev_hash() != self.last {
                    let before = self.frontier.size().saturating_sub(1);
                    report.add(
                        &format!("#{before}"),
                        "its hash is not the one the next names",
                    );
                }
            }
        }
        self.frontier.push(hash);
        self.last = Some(hash);
    }
}

fn checkpoint(line: &[u8], keys: &KeySet, log: &Log, report: &mut Report) {
    let Ok(read) = serde_json::from_slice::<CheckpointLine>(line) else {
        report.add("checkpoint", "the last line is not a checkpoint");
        return;
    };
    if checkpoint_line(&read.checkpoint).as_bytes() != line {
        report.add("checkpoint", "the line is not as the exporter writes it");
    }
    // A key that was revoked may be in other hands: what it signed proves nothing.
    let trusted =
        |entry: &&KeyEntry| entry.usage == KeyUse::Checkpoint && entry.status != KeyStatus::Revoked;
    let usable = keys.entries().iter().filter(trusted);
    let signed = usable
        .map(|entry| (entry, Checkpoint::verify(&read.checkpoint, &entry.key)))
        .find(|(_, result)| result.is_ok());
    let Some((entry, Ok(checkpoint))) = signed else {
        report.add("checkpoint", "no trusted checkpoint key signed it");
        return;
    };
    report.signed_by = hex::encode(entry.kid);
    if checkpoint.origin != report.origin {
        report.add("header", "the signed checkpoint is of another log");
    }
    if checkpoint.size != log.frontier.size() {
        let what = format!(
            "it counts {} records, here are {}",
            checkpoint.size,
            log.frontier.size()
        );
        report.add("checkpoint", &what);
    } else if checkpoint.root != log.frontier.root() {
        let last = log.frontier.size().saturating_sub(1);
        report.add(
            &format!("#{last}"),
            "the root is not the signed one: a record was changed",
        );
    }
}

#[cfg(test)]
mod tests;
