//! One execution as it is journaled: what was asked, what was seen, what was done.

use serde::{Deserialize, Serialize};
use writ_proto::token::Mode;
use writ_proto::value::{Value, value_from_json};

use super::caps::Count;
use super::gate::Call;

/// Where an execution stands. Nothing ever goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The token is spent, nothing is sent.
    Claimed,
    /// The one call may be on the wire.
    Sending,
    /// Known to be done (or planned, in a dry run).
    Done,
    /// Known not to have happened.
    Failed,
    /// Sent, and nobody knows.
    InDoubt,
    /// Was in doubt; it happened.
    ReconciledApplied,
    /// Was in doubt; it did not happen.
    ReconciledNotApplied,
    /// Was in doubt; a person has to look.
    Human,
}

impl State {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "CLAIMED",
            Self::Sending => "SENDING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::InDoubt => "IN_DOUBT",
            Self::ReconciledApplied => "RECONCILED_APPLIED",
            Self::ReconciledNotApplied => "RECONCILED_NOT_APPLIED",
            Self::Human => "HUMAN",
        }
    }

    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Sending,
        Self::Done,
        Self::Failed,
        Self::InDoubt,
        Self::ReconciledApplied,
        Self::ReconciledNotApplied,
        Self::Human,
    ];

    /// The state of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Claimed | Self::Sending | Self::InDoubt)
    }
}

/// One field, before and after, as canonical JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Name in the system of record.
    pub field: String,
    /// Before; none where nothing was there.
    pub before_json: Option<String>,
    /// After.
    pub after_json: Option<String>,
}

impl Change {
    /// The value before.
    #[must_use]
    pub fn before_value(&self) -> Option<Value> {
        self.before_json
            .as_deref()
            .and_then(|text| value_from_json(text).ok())
    }

    /// The value after.
    #[must_use]
    pub fn after_value(&self) -> Option<Value> {
        self.after_json
            .as_deref()
            .and_then(|text| value_from_json(text).ok())
    }
}

/// What was seen of a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Nothing.
    #[default]
    None,
    /// The answer held what the system file expects.
    Answered,
    /// So it did, and right afterwards the record showed another value or version than was written.
    SeenOther,
}

/// One count that an execution made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Name of the action, or `*`.
    pub action: String,
    /// What is counted together.
    pub bucket: String,
    /// How much.
    pub add: i64,
}

impl Execution {
    /// The number of the next attempt to undo it; the oldest of many attempts are forgotten, their numbers are not.
    #[must_use]
    pub fn next_attempt(&self) -> u32 {
        let kept = u32::try_from(self.undo_attempts.len()).unwrap_or(u32::MAX);
        kept.max(self.undo_count).saturating_add(1)
    }

    /// Keeps an attempt to undo it.
    pub fn begin_attempt(&mut self, attempt: Attempt) {
        self.undo_count = self.next_attempt();
        if self.undo_attempts.len() >= ATTEMPTS_MAX {
            self.undo_attempts.remove(0);
        }
        self.undo_attempts.push(attempt);
    }

    /// Remembers what it counts of money, to take it back if nothing is executed.
    pub fn remember(&mut self, counts: &[Count]) {
        let amounts = counts.iter().filter(|count| count.is_amount);
        self.counted.extend(amounts.map(|count| Counted {
            action: count.action.clone(),
            bucket: count.bucket.clone(),
            add: count.add,
        }));
    }

    /// What takes its counts back; they are forgotten.
    pub fn take_back(&mut self) -> Vec<Count> {
        let back = self.counted.drain(..).map(|counted| {
            let count = Count {
                action: counted.action,
                bucket: counted.bucket,
                add: counted.add,
                is_amount: true,
                cap: 0,
                what: String::new(),
            };
            count.back()
        });
        back.collect()
    }
}

/// One call that wanted an execution undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The caller's id of the call, hyphenated; empty where it gave none.
    pub request: String,
    /// Who called.
    pub by: String,
    /// The execution that it made.
    pub execution: String,
}

/// Most attempts that are kept of one execution; older ones that failed are forgotten.
pub const ATTEMPTS_MAX: usize = 32;

/// The journal entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Execution id, hyphenated.
    pub id: String,
    /// Tenant.
    pub tenant: String,
    /// Decision that authorised it.
    pub decision: String,
    /// Token id, hyphenated; empty for an undo, which an operator authorises.
    pub cti: String,
    /// Agent, or operator for an undo.
    pub agent: String,
    /// Connection.
    pub connection: String,
    /// Action.
    pub action: String,
    /// Verb of its card.
    pub verb: String,
    /// Object type of the target.
    pub object: String,
    /// Id of the target.
    pub target: String,
    /// Run, or empty.
    pub run: String,
    /// Whether it was to write.
    pub execute: bool,
    /// Where it stands.
    pub state: State,
    /// Whether a write is known to have happened.
    pub wrote: bool,
    /// What was or would have been done.
    pub sentence: String,
    /// Declared fields, before and after.
    pub changes: Vec<Change>,
    /// What changed beside them.
    pub collateral: Vec<Change>,
    /// Arguments as canonical JSON text, for recovery.
    pub args_json: String,
    /// Version the write was conditional on.
    pub version: Option<String>,
    /// Idempotency key of the one call.
    pub key: String,
    /// Reason code, or empty.
    pub reason_code: String,
    /// One sentence about it.
    pub message: String,
    /// Id that the system of record gave to a created record.
    pub created_id: String,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds at which it was marked as being sent; 0 before.
    #[serde(default)]
    pub sent_ms: i64,
    /// Unix milliseconds until which it can be undone.
    pub undo_until_ms: i64,
    /// Execution that undid this one.
    pub undone_by: String,
    /// Execution that this one undoes.
    pub undo_of: String,
    /// Why an operator marked it as a surprise, or empty.
    #[serde(default)]
    pub surprise: String,
    /// Calls that wanted it undone, oldest first.
    #[serde(default)]
    pub undo_attempts: Vec<Attempt>,
    /// How many attempts there were, also those that are forgotten; 0 where an earlier version counted none.
    #[serde(default)]
    pub undo_count: u32,
    /// What was seen of the write.
    #[serde(default)]
    pub proof: Proof,
    /// Version of the record after the write, if the answer told it.
    #[serde(default)]
    pub version_written: Option<String>,
    /// Where the system refuses no old version: milliseconds from the last look to the end of the write.
    #[serde(default)]
    pub unprotected_ms: u32,
    /// How often a look after the time of late commits found nothing.
    #[serde(default)]
    pub looked: u32,
    /// Unix milliseconds of the last such look; 0 before.
    #[serde(default)]
    pub looked_ms: i64,
    /// The operator who said what became of it, or empty.
    #[serde(default)]
    pub settled_by: String,
    /// What it counts against ceilings of amounts; taken back if nothing was executed for certain.
    #[serde(default)]
    pub counted: Vec<Counted>,
    /// The requests that a dry run would have sent, without the credential.
    #[serde(default)]
    pub requests: Vec<String>,
    /// Digests of the card and of what the system file says of the verb, hex.
    #[serde(default)]
    pub card_digest: String,
    /// As above.
    #[serde(default)]
    pub system_digest: String,
    /// Hash of where the system was, hex; empty where an earlier version wrote it.
    #[serde(default)]
    pub place: String,
    /// Which credential was shown, in hex: what another one does not find may be there all the same. Empty where an
    /// earlier version wrote it, or none is shown.
    #[serde(default)]
    pub account: String,
    /// How often it was written; 0 before the first time. Kept beside the entry.
    #[serde(skip)]
    pub revision: i64,
}

impl Execution {
    /// The entry of a call whose token is spent, with nothing done yet.
    #[must_use]
    pub fn claimed(id: uuid::Uuid, call: &Call, now_ms: i64) -> Self {
        Self {
            id: id.to_string(),
            tenant: call.tenant.clone(),
            decision: String::new(),
            cti: String::new(),
            agent: call.agent.clone(),
            connection: call.connection.clone(),
            action: call.action.clone(),
            verb: String::new(),
            object: String::new(),
            target: String::new(),
            run: call.run_id.clone(),
            execute: call.mode == Mode::Execute,
            state: State::Claimed,
            wrote: false,
            sentence: String::new(),
            changes: Vec::new(),
            collateral: Vec::new(),
            args_json: "{}".to_owned(),
            version: None,
            key: String::new(),
            reason_code: String::new(),
            message: String::new(),
            created_id: String::new(),
            created_ms: now_ms,
            sent_ms: 0,
            undo_until_ms: 0,
            undone_by: String::new(),
            undo_of: String::new(),
            surprise: String::new(),
            undo_attempts: Vec::new(),
            undo_count: 0,
            proof: Proof::default(),
            version_written: None,
            unprotected_ms: 0,
            looked: 0,
            looked_ms: 0,
            settled_by: String::new(),
            counted: Vec::new(),
            requests: Vec::new(),
            card_digest: String::new(),
            system_digest: String::new(),
            place: String::new(),
            account: String::new(),
            revision: 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An execution that has just been claimed.
    pub(crate) fn execution(id: u128) -> Execution {
        let call = Call {
            tenant: "acme".into(),
            caller_tenant: "acme".into(),
            agent: "triage".into(),
            connection: "crm/main".into(),
            action: "refund".into(),
            target: None,
            args_cbor: vec![],
            precondition: None,
            mode: Mode::Execute,
            request_id: uuid::Uuid::nil(),
            run_id: String::new(),
        };
        let id = uuid::Uuid::from_u128(id);
        let created = i64::try_from(id.as_u128()).unwrap();
        Execution {
            decision: id.to_string(),
            verb: "refund".into(),
            object: "order".into(),
            target: "O-7".into(),
            ..Execution::claimed(id, &call, created)
        }
    }
}
