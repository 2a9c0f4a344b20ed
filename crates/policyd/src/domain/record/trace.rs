//! The ordered trace of a decision: what was looked at, one after the other, and what came of each.
//! It is kept beside the log like every value, and committed to. With the request and the policy set
//! it is enough to decide again and to compare every step.

use writ_proto::Reason;
use writ_proto::value::Value;

use super::stamp::texts;
use crate::domain::budget::Hold;
use crate::domain::decide::grounds::Ground;
use crate::domain::decide::known::Reading;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The halts as last heard; the scope that covers the request, if one does.
    Halts {
        /// Halt epoch.
        epoch: u64,
        /// When they were asked for, Unix milliseconds; 0 if they were not. Records of before do not say.
        heard_ms: Option<i64>,
        /// The scope.
        scope: Option<String>,
    },
    /// The card, by its digest, and what it refuses.
    Card {
        /// Digest; none where no card has the name.
        digest: Option<[u8; 32]>,
        /// Why it refuses the request.
        refused: Option<Reason>,
    },
    /// What the system of record said of the target, and of what it names.
    Facts(Vec<Reading>),
    /// It could not be read.
    Unread {
        /// Why.
        reason: Reason,
    },
    /// What was found of the evidence.
    Evidence(Vec<Ground>),
    /// It could not be looked at.
    Unlooked {
        /// Why.
        reason: Reason,
    },
    /// The policies, as their engine answered.
    Policies {
        /// The engine's decision.
        allowed: bool,
        /// Ids of the policies that decided.
        determining: Vec<String>,
        /// What failed, in the engine's words.
        errors: Vec<String>,
    },
    /// A person decides.
    Approval {
        /// Who.
        role: String,
        /// How many.
        quorum: u32,
        /// How soon, in seconds.
        ttl_seconds: u32,
    },
    /// A counter that has to have room for the decision.
    Counter {
        /// Its key.
        key: String,
        /// What the decision takes of it.
        amount: i64,
    },
    /// A counter that has none.
    Full {
        /// Its key.
        key: String,
        /// Which limit fired.
        fired: String,
        /// What is used.
        used: i64,
        /// What may be used.
        limit: i64,
    },
    /// What a budget cannot count is denied.
    Uncounted {
        /// Why.
        reason: Reason,
    },
}

fn code(reason: Option<Reason>) -> Value {
    reason.map_or(Value::Null, |reason| Value::Text(reason.code().to_owned()))
}

/// Kind, id, object, what was asked for, when, whether it is there, and its fields.
fn reading(reading: &Reading) -> Value {
    Value::List(vec![
        Value::Text(reading.kind.clone()),
        Value::Text(reading.id.clone()),
        Value::Text(reading.object.clone()),
        Value::List(reading.names.iter().cloned().map(Value::Text).collect()),
        Value::Int(reading.asked_ms),
        Value::Bool(reading.exists),
        Value::Map(reading.fields.clone()),
    ])
}

/// The argument, whether its value stands there, and the digest of the text.
fn ground(ground: &Ground) -> Value {
    let digest = ground
        .sha256
        .map_or(Value::Null, |digest| Value::Bytes(digest.to_vec()));
    Value::List(vec![
        Value::Text(ground.argument.clone()),
        Value::Bool(ground.grounded),
        digest,
    ])
}

impl Step {
    /// What a hold asks of its counter.
    #[must_use]
    pub fn counter(hold: &Hold) -> Self {
        Self::Counter {
            key: hold.key.as_str().to_owned(),
            amount: hold.amount,
        }
    }

    /// The name of the step and what came of it.
    fn value(&self) -> Value {
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let text = |text: &String| Value::Text(text.clone());
        let named = |name: &str, rest: Vec<Value>| {
            let mut all = vec![Value::Text(name.to_owned())];
            all.extend(rest);
            Value::List(all)
        };
        match self {
            Self::Halts {
                epoch,
                heard_ms,
                scope,
            } => {
                let scope = scope.as_ref().map_or(Value::Null, text);
                let heard = heard_ms.map(Value::Int);
                let parts = [Some(number(*epoch)), heard, Some(scope)];
                named("halts", parts.into_iter().flatten().collect())
            }
            Self::Card { digest, refused } => {
                let digest = digest.map_or(Value::Null, |digest| Value::Bytes(digest.to_vec()));
                named("card", vec![digest, code(*refused)])
            }
            Self::Facts(readings) => named("facts", readings.iter().map(reading).collect()),
            Self::Evidence(found) => named("evidence", found.iter().map(ground).collect()),
            Self::Unlooked { reason } => named("evidence", vec![code(Some(*reason))]),
            Self::Unread { reason } => named("facts", vec![code(Some(*reason))]),
            Self::Policies {
                allowed,
                determining,
                errors,
            } => {
                let lists = [texts(determining), texts(errors)];
                let mut parts = vec![Value::Bool(*allowed)];
                parts.extend(lists);
                named("policies", parts)
            }
            Self::Approval {
                role,
                quorum,
                ttl_seconds,
            } => {
                let numbers = [quorum, ttl_seconds].map(|part| Value::Int(i64::from(*part)));
                let mut parts = vec![text(role)];
                parts.extend(numbers);
                named("approval", parts)
            }
            Self::Counter { key, amount } => named("counter", vec![text(key), Value::Int(*amount)]),
            Self::Full {
                key,
                fired,
                used,
                limit,
            } => {
                let figures = [Value::Int(*used), Value::Int(*limit)];
                let mut parts = vec![text(key), text(fired)];
                parts.extend(figures);
                named("full", parts)
            }
            Self::Uncounted { reason } => named("uncounted", vec![code(Some(*reason))]),
        }
    }
}

/// The trace as it is kept.
#[must_use]
pub fn trace_value(steps: &[Step]) -> Value {
    Value::List(steps.iter().map(Step::value).collect())
}
