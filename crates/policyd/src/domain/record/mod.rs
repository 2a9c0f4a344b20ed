//! A record of the log: the exact bytes of its leaf, and what is kept beside it.
//!
//! A leaf holds nothing personal or guessable, only salted commitments to it, so
//! that a value can be erased and every proof stays valid. Labels and kinds never change meaning.

mod disclosure;
mod kind;
mod project;
mod stamp;
mod trace;
mod values;

use uuid::Uuid;
use writ_proto::context;
use writ_proto::value::Value;

pub use disclosure::{Disclosure, Opened, encode_disclosed, read_disclosed, readable, unread};
pub use kind::Kind;
pub use project::{ProjectError, Projection, commitments, project};
pub use stamp::{
    BudgetStamp, ExecutionStamp, HaltStamp, IncidentStamp, PolicyStamp, TokenStamp, engine, listed,
};
pub use trace::{Step, trace_value};
pub use values::request_values;

use stamp::{texts, whole};

use crate::domain::log::merkle::Hash;

/// A record before it has its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Log origin.
    pub origin: String,
    /// What it is about.
    pub kind: Kind,
    /// Shared by all versions.
    pub record_id: Uuid,
    /// Whether it is a later version of a record that is there.
    pub later: bool,
    /// Milliseconds of Unix time.
    pub time_ms: i64,
    /// Which process wrote it.
    pub writer: String,
    /// Tenant.
    pub tenant: String,
    /// Agent, empty where none acted.
    pub agent: String,
    /// Connection id, empty where none is named.
    pub connection: String,
    /// Action, empty where none is named.
    pub action: String,
    /// Object type, empty where none is named.
    pub target_type: String,
    /// 0 DENY, 1 ALLOW, 2 REQUIRE_APPROVAL.
    pub verdict: Option<u8>,
    /// Reason codes.
    pub reasons: Vec<String>,
    /// Policy set.
    pub policy: Option<PolicyStamp>,
    /// 0 dry run, 1 execute.
    pub mode: Option<u8>,
    /// ISO 4217 code and exact number.
    pub money: Option<(String, Value)>,
    /// Token.
    pub token: Option<TokenStamp>,
    /// Execution.
    pub execution: Option<ExecutionStamp>,
    /// Budget.
    pub budget: Option<BudgetStamp>,
    /// Halt epoch.
    pub epoch: Option<u64>,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
    /// Incident.
    pub incident: Option<IncidentStamp>,
    /// A halt.
    pub halt: Option<HaltStamp>,
    /// What is kept beside the log.
    pub disclosures: Vec<Disclosure>,
}

/// The place of a record in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Number of records before it.
    pub seq: u64,
    /// Leaf hash of the record before it.
    pub prev: Option<&'a Hash>,
    /// 1, 2, 3.
    pub version: u32,
    /// Leaf hash of the version before it.
    pub previous: Option<&'a Hash>,
}

/// Writes `label => value` pairs in ascending order of labels.
struct Leaf(Vec<(i64, Value)>);

impl Leaf {
    fn add(&mut self, label: i64, value: Value) {
        self.0.push((label, value));
    }

    fn text(&mut self, label: i64, text: &str) {
        if !text.is_empty() {
            self.add(label, Value::Text(text.to_owned()));
        }
    }

    fn number(&mut self, label: i64, number: Option<impl Into<i64>>) {
        if let Some(number) = number {
            self.add(label, Value::Int(number.into()));
        }
    }
}

impl Draft {
    /// The exact leaf bytes at a place in the log.
    #[must_use]
    pub fn leaf(&self, place: &Place<'_>) -> Vec<u8> {
        let mut leaf = Leaf(Vec::with_capacity(24));
        leaf.text(0, context::RECORD);
        leaf.text(1, &self.origin);
        leaf.add(2, whole(place.seq));
        if let Some(prev) = place.prev {
            leaf.add(3, Value::Bytes(prev.to_vec()));
        }
        leaf.add(4, whole(self.kind.number()));
        leaf.add(5, Value::Bytes(self.record_id.as_bytes().to_vec()));
        leaf.add(6, Value::Int(i64::from(place.version)));
        if let Some(previous) = place.previous {
            leaf.add(7, Value::Bytes(previous.to_vec()));
        }
        leaf.add(8, Value::Int(self.time_ms));
        leaf.text(9, &self.writer);
        leaf.text(10, &self.tenant);
        leaf.text(11, &self.agent);
        leaf.text(12, &self.connection);
        leaf.text(13, &self.action);
        leaf.text(14, &self.target_type);
        leaf.number(15, self.verdict);
        if !self.reasons.is_empty() {
            leaf.add(16, texts(&self.reasons));
        }
        if let Some(policy) = &self.policy {
            leaf.add(17, policy.value());
        }
        leaf.number(18, self.mode);
        if let Some((currency, amount)) = &self.money {
            leaf.add(
                19,
                Value::List(vec![Value::Text(currency.clone()), amount.clone()]),
            );
        }
        if let Some(token) = &self.token {
            leaf.add(20, token.value());
        }
        if let Some(execution) = &self.execution {
            leaf.add(21, execution.value());
        }
        if let Some(budget) = &self.budget {
            leaf.add(23, budget.value());
        }
        if let Some(epoch) = self.epoch {
            leaf.add(24, whole(epoch));
        }
        if let Some(trace) = &self.trace_id {
            leaf.add(25, Value::Bytes(trace.to_vec()));
        }
        if !self.disclosures.is_empty() {
            let mut commitments = writ_proto::value::Map::new();
            for disclosure in &self.disclosures {
                let commitment = Value::Bytes(disclosure.commitment().to_vec());
                commitments.set(disclosure.name, commitment);
            }
            leaf.add(27, Value::Map(commitments));
        }
        if let Some(halt) = &self.halt {
            leaf.add(29, halt.value());
        }
        if let Some(incident) = &self.incident {
            leaf.add(30, incident.value());
        }
        project::encode_labels(&leaf.0)
    }

    /// The values kept beside the log.
    #[must_use]
    pub fn disclosed(&self) -> Vec<u8> {
        encode_disclosed(&self.disclosures)
    }
}

#[cfg(test)]
mod tests;
