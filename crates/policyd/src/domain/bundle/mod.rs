//! The export of a log, one JSON line a record, and its verification with public keys alone.
//!
//! Line one names the log, one line follows for each record, the last one holds the signed
//! checkpoint. An export with values carries, on the line of each record, the values that its leaf
//! commits to, and behind the record of each policy set a line with the set. Every byte is covered:
//! verification renders each line again from the leaf bytes and compares, follows the hash of each
//! record to the next and of each version to the next, opens the commitments, and rebuilds the root.

mod lines;
mod replay;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};

use crate::domain::decide::Verdict;
use crate::domain::log::checkpoint::Checkpoint;
use crate::domain::log::merkle::{Frontier, Hash, leaf_hash};
use crate::domain::policy::{Sources, TenantPolicies};
use crate::domain::record::{Opened, Projection, commitments, project, read_disclosed};
use lines::{
    CheckpointLine, FORMAT, HeaderLine, LINE_BYTES_MAX, POLICY_LINE_BYTES_MAX, POLICY_START,
    PolicyLine, RecordLineRead,
};
use versions::Versions;

pub use lines::{checkpoint_line, header_line, policy_line, record_line};

const FINDINGS_MAX: usize = 100;
/// Policy sets that are kept built while decisions are made again.
const BUILT_MAX: usize = 8;

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
    /// Findings that are not listed, because there are too many.
    pub more_findings: u64,
    /// Values that were compared with their commitments.
    pub values: u64,
    /// Values that are committed to and not in this export.
    pub values_absent: u64,
    /// Policy sets that were compared with their digests.
    pub policy_sets: u64,
    /// Decisions that were made again with the same result.
    pub replayed: u64,
    /// Denials of requests that could not be read: nothing can be derived from them.
    pub not_derivable: u64,
    /// Decisions that cannot be made again because a value of them is absent.
    pub erased: u64,
    /// Decisions by a set of policies that this version refuses, each set once.
    pub refused_sets: Vec<String>,
}

impl Report {
    fn add(&mut self, place: &str, what: &str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{place}: {what}"));
        } else {
            self.more_findings = self.more_findings.saturating_add(1);
        }
    }

    /// Whether everything holds.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.findings.is_empty() && !self.unreadable
    }
}

/// Verifies an export with trusted public keys. No clock, no network: historic keys count. With
/// `again`, every decision is made again and compared.
#[must_use]
pub fn verify(bytes: &[u8], keys: &KeySet, again: bool) -> Report {
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
    if !bytes.starts_with(header_line(&header.origin, header.values).as_bytes()) {
        report.add("header", "it is not as the exporter writes it");
    }
    if again && !header.values {
        let what = "nothing can be decided again: the export is without values";
        report.add("header", what);
    }
    report.origin.clone_from(&header.origin);
    let mut lines: Vec<&[u8]> = lines.collect();
    let last = lines.pop().unwrap_or_default();
    let mut log = Log {
        values: header.values,
        again: again && header.values,
        ..Log::default()
    };
    for line in lines {
        if line.starts_with(POLICY_START) {
            log.take_policy(line, &mut report);
        } else {
            log.take(line, &mut report);
        }
    }
    log.nothing_pending(&mut report);
    report.records = log.frontier.size();
    checkpoint(last, keys, &log, &mut report);
    report
}

#[derive(Default)]
struct Log {
    frontier: Frontier,
    /// Records that the file left out so far.
    missing: u64,
    last: Option<Hash>,
    versions: Versions,
    /// Whether the export has the values.
    values: bool,
    /// Whether decisions are made again.
    again: bool,
    /// The record and the digest of a set whose line has to follow.
    pending: Option<(String, String)>,
    sets: BTreeMap<String, Arc<Sources>>,
    /// Digests of sets that a missing record may have named.
    unknown: BTreeSet<String>,
    built: VecDeque<(String, Arc<TenantPolicies>)>,
}

impl Log {
    /// The number that the next record should have.
    fn next(&self) -> u64 {
        self.frontier.size().saturating_add(self.missing)
    }

    fn take(&mut self, line: &[u8], report: &mut Report) {
        self.nothing_pending(report);
        let place = format!("#{}", self.next());
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
                let values = read.values_b64.as_ref().map(|text| STANDARD.decode(text));
                let values = values.transpose().ok().flatten();
                let expected = record_line(&leaf, values.as_deref()).unwrap_or_default();
                self.check_place(&read, &record, report);
                // Behind a gap it is another one.
                let place = format!("#{}", self.next());
                if expected.as_bytes() != line || values.is_some() != self.values {
                    report.add(
                        &place,
                        "what it says in clear differs from its signed bytes",
                    );
                }
                if let Err(why) = self.versions.take(&record, hash) {
                    report.add(&place, &why);
                }
                if let Some(values) = values {
                    self.check_values((&leaf, &record), &values, report);
                }
                if record.kind == "policy_published" && self.values {
                    let known = self.sets.contains_key(&record.policy_digest);
                    self.pending = (!known).then_some((place, record.policy_digest));
                }
            }
        }
        self.frontier.push(hash);
        self.last = Some(hash);
    }

    /// Whether a record stands where it says it does.
    fn check_place(&mut self, read: &RecordLineRead, record: &Projection, report: &mut Report) {
        let (at, found) = (self.next(), record.seq);
        let gap = found.saturating_sub(at);
        if gap > 0 {
            let what = format!("record {at} is missing: the file jumps to {found}");
            report.add(&format!("#{at}"), &what);
            // One gap is one finding: those behind it stand where they should.
            self.missing = self.missing.saturating_add(gap);
        } else if found != at || read.seq != found {
            let what = format!("record {at} is expected here, and this one is {found}");
            report.add(&format!("#{at}"), &what);
        }
        if record.origin != report.origin {
            report.add(&format!("#{found}"), "it is of another log");
        }
        // The link blames the record whose bytes changed, which is the one before.
        if gap == 0 && record.prev_hash() != self.last {
            let before = at.saturating_sub(1);
            let what = "its hash is not the one the next names";
            report.add(&format!("#{before}"), what);
        }
    }

    /// Opens the commitments of a leaf, and decides again what is a decision.
    fn check_values(
        &mut self,
        (leaf, record): (&[u8], &Projection),
        values: &[u8],
        report: &mut Report,
    ) {
        let place = format!("#{}", record.seq);
        let Some(opened) = read_disclosed(values) else {
            report.add(&place, "its values are not as policyd keeps them");
            return;
        };
        let committed = commitments(leaf);
        let mut names = BTreeSet::new();
        for item in &opened {
            report.values = report.values.saturating_add(1);
            if committed.get(&item.name) != Some(&item.commitment()) {
                let what = format!("the value `{}` is not the one committed to", item.name);
                report.add(&place, &what);
            }
            if !names.insert(item.name.as_str()) {
                let what = format!("the value `{}` is there twice", item.name);
                report.add(&place, &what);
            }
        }
        let absent = committed
            .keys()
            .filter(|name| !names.contains(name.as_str()));
        let absent = absent.count();
        report.values_absent = report
            .values_absent
            .saturating_add(u64::try_from(absent).unwrap_or(u64::MAX));
        if !self.again || record.kind != "evaluated" {
            return;
        }
        // A request of which a value was erased cannot be made again.
        if absent > 0 {
            report.erased = report.erased.saturating_add(1);
        } else {
            self.decide_again(record, &opened, report);
        }
    }

    fn decide_again(&mut self, record: &Projection, opened: &[Opened], report: &mut Report) {
        let place = format!("#{}", record.seq);
        if record.policy_digest.is_empty() {
            // Of a request that could not be read nothing is kept; nothing else may say so little.
            let bare = opened.is_empty() && record.token_id.is_empty();
            if bare && record.verdict == Verdict::Deny.name() {
                report.not_derivable = report.not_derivable.saturating_add(1);
            } else {
                report.add(&place, "it names no policy set");
            }
            return;
        }
        let Some(sources) = self.sets.get(&record.policy_digest).cloned() else {
            let what = "its policy set was not in force by any record before it";
            if self.missing == 0 && !self.unknown.contains(&record.policy_digest) {
                report.add(&place, what);
            } else if self.unknown.insert(record.policy_digest.clone()) {
                let what =
                    format!("{what} that is here; of other decisions under it nothing is said");
                report.add(&place, &what);
            }
            return;
        };
        let policies = match self.built(&record.policy_digest, &sources) {
            Ok(policies) => policies,
            Err(errors) => {
                // A later version may refuse what an earlier one accepted: that proves nothing.
                report.erased = report.erased.saturating_add(1);
                let what = format!("{place}: this version refuses its policy set: {errors}");
                if report.refused_sets.len() < FINDINGS_MAX {
                    report.refused_sets.push(what);
                }
                return;
            }
        };
        match replay::replay(record, opened, &policies) {
            Ok(()) => report.replayed = report.replayed.saturating_add(1),
            Err(why) => report.add(&place, &why),
        }
    }

    /// A set, built when a decision needs it; the last few are kept.
    fn built(&mut self, digest: &str, sources: &Sources) -> Result<Arc<TenantPolicies>, String> {
        if let Some((_, set)) = self.built.iter().find(|(known, _)| known == digest) {
            return Ok(Arc::clone(set));
        }
        let set = TenantPolicies::build(sources).map_err(|errors| errors.to_string())?;
        let set = Arc::new(set);
        self.built.push_back((digest.to_owned(), Arc::clone(&set)));
        if self.built.len() > BUILT_MAX {
            self.built.pop_front();
        }
        Ok(set)
    }

    /// Takes the policy set that the record before it says is in force.
    fn take_policy(&mut self, line: &[u8], report: &mut Report) {
        let Some((place, digest)) = self.pending.take() else {
            let place = format!("#{}", self.next());
            report.add(&place, "a policy set that no record speaks of");
            return;
        };
        let read = (line.len() <= POLICY_LINE_BYTES_MAX)
            .then(|| serde_json::from_slice::<PolicyLine>(line).ok())
            .flatten();
        let sources = read
            .as_ref()
            .and_then(|read| Sources::read_published(&read.published));
        let Some((read, sources)) = read.zip(sources) else {
            self.say_once(
                digest,
                (&place, "the line of its policy set cannot be read"),
                report,
            );
            return;
        };
        let is = sources.digest();
        let exact = policy_line(&is, &sources.published());
        if hex::encode(is) != digest || read.policy_digest != digest || exact.as_bytes() != line {
            let what = "the policy files on the next line are not those that it names";
            self.say_once(digest, (&place, what), report);
            return;
        }
        report.policy_sets = report.policy_sets.saturating_add(1);
        self.sets.insert(digest, Arc::new(sources));
    }

    fn nothing_pending(&mut self, report: &mut Report) {
        if let Some((place, digest)) = self.pending.take() {
            let what = "the policy files that it names are missing on the next line: the file was cut or changed there";
            self.say_once(digest, (&place, what), report);
        }
    }

    /// A policy set that is not there is told here: every decision under it would say it again.
    fn say_once(&mut self, digest: String, (place, what): (&str, &str), report: &mut Report) {
        report.add(
            place,
            &format!("{what}; no decision under them is made again"),
        );
        self.unknown.insert(digest);
    }
}

fn checkpoint(line: &[u8], keys: &KeySet, log: &Log, report: &mut Report) {
    let Ok(read) = serde_json::from_slice::<CheckpointLine>(line) else {
        report.add(
            "checkpoint",
            "the last line is not a checkpoint: the file was cut, or its end changed",
        );
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
        report.add(
            "checkpoint",
            &unsigned(keys, &read.checkpoint, &report.origin),
        );
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

/// Why nothing that is trusted has signed a checkpoint: it may be from elsewhere rather than forged.
fn unsigned(keys: &KeySet, text: &str, origin: &str) -> String {
    let mut names = keys
        .entries()
        .iter()
        .filter(|entry| entry.usage == KeyUse::Checkpoint);
    let signs = |entry: &KeyEntry| Checkpoint::verify(text, &entry.key).is_ok();
    if names.any(signs) {
        return "the key that signed it is revoked, so it proves nothing".to_owned();
    }
    format!(
        "no key of this trust document signed it: either it is forged, or it is of another installation than the \
         document (--trust takes the one of the policyd that exported it; the export says it is of {origin})"
    )
}

#[cfg(test)]
mod tests;
