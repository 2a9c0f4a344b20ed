//! Parts of a leaf that consist of several values, each as an array whose places never change meaning.

use uuid::Uuid;
use writ_proto::value::Value;

/// Longest list in a leaf, and longest text in one; what is cut is counted, never hidden.
const LISTED_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 500;

/// A list as a leaf holds it.
#[must_use]
pub fn listed(items: &[String]) -> Vec<String> {
    let short = |text: &String| text.chars().take(TEXT_CHARS_MAX).collect();
    let mut list: Vec<String> = items.iter().take(LISTED_MAX).map(short).collect();
    let more = items.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        list.push(format!("and {more} more"));
    }
    list
}

pub(super) fn texts(items: &[String]) -> Value {
    Value::List(listed(items).into_iter().map(Value::Text).collect())
}

pub(super) fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The engine that evaluates policies, with the version of its language.
#[must_use]
pub fn engine() -> String {
    let (engine, language) = (
        cedar_policy::get_sdk_version(),
        cedar_policy::get_lang_version(),
    );
    format!("cedar {engine} (language {language})")
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
    /// Rules that failed, by their ids: what an engine says of a failure may quote a record.
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

/// What was halted or resumed. Who did it and why is committed to, and so is the name of a customer
/// or of a run: their scopes are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltStamp {
    /// What it covers.
    pub scope: String,
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

impl PolicyStamp {
    pub(super) fn value(&self) -> Value {
        // Members stand in the order of their labels, as an array.
        Value::List(vec![
            Value::Bytes(self.digest.to_vec()),
            Value::Text(self.label.clone()),
            texts(&self.determining),
            texts(&self.errors),
            Value::Text(engine()),
            Value::Bytes(self.schema_digest.to_vec()),
        ])
    }
}

impl IncidentStamp {
    pub(super) fn value(&self) -> Value {
        Value::List(vec![
            Value::Text(self.rule.clone()),
            Value::Int(i64::from(self.denials)),
            Value::Int(i64::from(self.window_seconds)),
            Value::Bool(self.halts_agent),
        ])
    }
}

impl TokenStamp {
    pub(super) fn value(&self) -> Value {
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
    pub(super) fn value(&self) -> Value {
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
    pub(super) fn value(&self) -> Value {
        Value::Text(self.scope.clone())
    }
}

impl ExecutionStamp {
    pub(super) fn value(&self) -> Value {
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
