//! A record of the log: the exact bytes of its leaf, and what is kept beside it.
//!
//! A leaf holds nothing personal or guessable, only salted commitments to it, so
//! that a value can be erased and every proof stays valid. Labels and kinds never change meaning.

mod project;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;
use writ_proto::context;
use writ_proto::value::Value;

pub use project::{HaltLine, ProjectError, Projection, project};

use super::merkle::Hash;

/// What a record is about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request was decided.
    Evaluated,
    /// A token was presented and refused.
    TokenRefused,
    /// An execution reached a state.
    Result,
    /// An execution was undone, or the undo was refused.
    Undo,
    /// An execution in doubt was settled.
    Reconciliation,
    /// A halt was set.
    HaltSet,
    /// A halt was cleared.
    HaltCleared,
    /// A policy set came into force.
    PolicyPublished,
    /// A key was added.
    KeyAdded,
    /// A key stopped signing.
    KeyRetired,
    /// A budget was raised, usage was reported, or what a decision had reserved was given back.
    BudgetChanged,
    /// An action was promoted or demoted.
    RolloutChanged,
    /// Repeated denials became an incident.
    IncidentOpened,
    /// A person closed an incident.
    IncidentClosed,
    /// A decision that waited for a person was taken back by its agent.
    Cancelled,
    /// A decision waited for a person until its time was up.
    ApprovalExpired,
}

const KINDS: [(Kind, u64, &str); 16] = [
    (Kind::Evaluated, 1, "evaluated"),
    (Kind::TokenRefused, 5, "token_refused"),
    (Kind::Result, 7, "result"),
    (Kind::Undo, 8, "undo"),
    (Kind::Reconciliation, 9, "reconciliation"),
    (Kind::HaltSet, 10, "halt_set"),
    (Kind::HaltCleared, 11, "halt_cleared"),
    (Kind::PolicyPublished, 13, "policy_published"),
    (Kind::KeyAdded, 15, "key_added"),
    (Kind::KeyRetired, 16, "key_retired"),
    (Kind::BudgetChanged, 18, "budget_changed"),
    (Kind::RolloutChanged, 19, "rollout_changed"),
    (Kind::IncidentOpened, 24, "incident_opened"),
    (Kind::IncidentClosed, 25, "incident_closed"),
    (Kind::Cancelled, 26, "decision_cancelled"),
    (Kind::ApprovalExpired, 27, "approval_expired"),
];

impl Kind {
    fn number(self) -> u64 {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(0, |(_, number, _)| *number)
    }

    fn name_of(number: i64) -> Option<&'static str> {
        let number = u64::try_from(number).ok()?;
        KINDS
            .iter()
            .find(|(_, known, _)| *known == number)
            .map(|(.., name)| *name)
    }
}

/// A value that is kept beside the log, with the salt of its commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// Name of the value, such as `target_id`.
    pub name: &'static str,
    /// 32 random bytes.
    pub salt: [u8; 32],
    /// The value.
    pub value: Value,
}

impl Disclosure {
    /// `HMAC-SHA256(salt, "writ.commit.v1" 00 name 00 canonical-CBOR(value))`.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        let mut message = Vec::with_capacity(128);
        message.extend_from_slice(context::COMMIT.as_bytes());
        message.push(0);
        message.extend_from_slice(self.name.as_bytes());
        message.push(0);
        message.extend_from_slice(&self.value.encode());
        match Hmac::<Sha256>::new_from_slice(&self.salt) {
            Ok(mac) => mac.chain_update(&message).finalize().into_bytes().into(),
            // INVARIANT: HMAC takes keys of every length, so this arm is never reached.
            Err(_) => [0; 32],
        }
    }
}

/// The policy set behind a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStamp {
    /// Digest of the set.
    pub digest: [u8; 32],
    /// Its name.
    pub label: String,
    /// Rules that decided.
    pub determining: Vec<String>,
    /// Rules that failed.
    pub errors: Vec<String>,
    /// Digest of the schema.
    pub schema_digest: [u8; 32],
}

/// The token that a decision was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStamp {
    /// Token id.
    pub cti: Uuid,
    /// Key id; absent in reports of connectord, which spends tokens and does not sign them.
    pub kid: Option<[u8; 16]>,
    /// Unix seconds.
    pub issued: u32,
    /// Unix seconds.
    pub expires: u32,
}

/// What was halted or resumed, by whom and why. It stands in the leaf for everybody to read, so the
/// name of a customer does not: its scope is cut there and committed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltStamp {
    /// What it covers.
    pub scope: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// How an execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionStamp {
    /// `DONE`, `FAILED`, `IN_DOUBT`, `UNDONE` and so on.
    pub status: String,
    /// Which attempt.
    pub attempt: u32,
    /// Duration in milliseconds.
    pub milliseconds: u64,
    /// Id of the execution.
    pub execution: Option<Uuid>,
}

/// What became of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStamp {
    /// `exceeded`, `raised`, `usage`.
    pub change: &'static str,
    /// Id of the budget; empty where several are meant.
    pub budget: String,
    /// What is used of it, in its smallest unit.
    pub used: Option<i64>,
    /// What may be used.
    pub cap: Option<i64>,
}

/// What made an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentStamp {
    /// The rule that counted.
    pub rule: String,
    /// How many denials.
    pub denials: u32,
    /// Within how many seconds.
    pub window_seconds: u32,
    /// Whether the agent is to be halted.
    pub halts_agent: bool,
}

/// A record before it has its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Log origin.
    pub origin: String,
    /// What it is about.
    pub kind: Kind,
    /// Shared by all versions.
    pub record_id: Uuid,
    /// 1, 2, 3.
    pub version: u32,
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

/// Longest list in a leaf, and longest text in one; what is cut is counted, never hidden.
const LISTED_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 500;

fn texts(items: &[String]) -> Value {
    let short = |text: &String| Value::Text(text.chars().take(TEXT_CHARS_MAX).collect());
    let mut list: Vec<Value> = items.iter().take(LISTED_MAX).map(short).collect();
    let more = items.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        list.push(Value::Text(format!("and {more} more")));
    }
    Value::List(list)
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Draft {
    /// The exact leaf bytes at a place in the log.
    #[must_use]
    pub fn leaf(&self, seq: u64, prev: Option<&Hash>) -> Vec<u8> {
        let mut leaf = Leaf(Vec::with_capacity(24));
        leaf.text(0, context::RECORD);
        leaf.text(1, &self.origin);
        leaf.add(2, whole(seq));
        if let Some(prev) = prev {
            leaf.add(3, Value::Bytes(prev.to_vec()));
        }
        leaf.add(4, whole(self.kind.number()));
        leaf.add(5, Value::Bytes(self.record_id.as_bytes().to_vec()));
        leaf.add(6, Value::Int(i64::from(self.version)));
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

    /// The values kept beside the log, as one canonical item.
    #[must_use]
    pub fn disclosed(&self) -> Vec<u8> {
        let items = self.disclosures.iter().map(|item| {
            let name = Value::Text(item.name.to_owned());
            Value::List(vec![
                name,
                Value::Bytes(item.salt.to_vec()),
                item.value.clone(),
            ])
        });
        Value::List(items.collect()).encode()
    }
}

impl PolicyStamp {
    fn value(&self) -> Value {
        // Members stand in the order of their labels, as an array.
        Value::List(vec![
            Value::Bytes(self.digest.to_vec()),
            Value::Text(self.label.clone()),
            texts(&self.determining),
            texts(&self.errors),
            Value::Text(format!("cedar {}", cedar_policy::get_lang_version())),
            Value::Bytes(self.schema_digest.to_vec()),
        ])
    }
}

impl IncidentStamp {
    fn value(&self) -> Value {
        Value::List(vec![
            Value::Text(self.rule.clone()),
            Value::Int(i64::from(self.denials)),
            Value::Int(i64::from(self.window_seconds)),
            Value::Bool(self.halts_agent),
        ])
    }
}

impl TokenStamp {
    fn value(&self) -> Value {
        let kid = self
            .kid
            .map_or(Value::Null, |kid| Value::Bytes(kid.to_vec()));
        Value::List(vec![
            Value::Bytes(self.cti.as_bytes().to_vec()),
            kid,
            Value::Int(i64::from(self.issued)),
            Value::Int(i64::from(self.expires)),
        ])
    }
}

impl BudgetStamp {
    fn value(&self) -> Value {
        let figure = |figure: Option<i64>| figure.map_or(Value::Null, Value::Int);
        Value::List(vec![
            Value::Text(self.budget.clone()),
            figure(self.used),
            figure(self.cap),
            Value::Text(self.change.to_owned()),
        ])
    }
}

impl HaltStamp {
    fn value(&self) -> Value {
        texts(&[self.scope.clone(), self.by.clone(), self.reason.clone()])
    }
}

impl ExecutionStamp {
    fn value(&self) -> Value {
        let id = self
            .execution
            .map_or(Value::Null, |id| Value::Bytes(id.as_bytes().to_vec()));
        Value::List(vec![
            Value::Text(self.status.clone()),
            Value::Int(i64::from(self.attempt)),
            whole(self.milliseconds),
            id,
        ])
    }
}

#[cfg(test)]
mod tests;
