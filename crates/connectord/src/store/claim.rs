//! What spends a token, and what became of it.

use uuid::Uuid;

use crate::domain::caps::{Count, Over};
use crate::domain::execution::Execution;

/// One token as one call presents it. Two that are equal are one call, asked twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Issuer of the token.
    pub issuer: String,
    /// Token id.
    pub cti: Uuid,
    /// The caller's id of the call.
    pub request_id: Uuid,
    /// Hash of the request.
    pub request_hash: [u8; 32],
    /// Tenant and agent.
    pub caller: String,
}

/// What spends a token.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The token and the call that presents it.
    pub presented: Presented,
    /// What it counts against the ceilings of the card.
    pub counts: Vec<Count>,
    /// The journal entry.
    pub execution: Execution,
}

impl Presented {
    /// Whether the call that spent the token is this one.
    pub(super) fn repeats(&self, request_id: Uuid, request_hash: &[u8], caller: &str) -> bool {
        self.request_id == request_id && self.request_hash == request_hash && self.caller == caller
    }
}

/// Tenant, action (or `*`) and bucket of a count.
pub(super) type Counter = (String, String, String);

pub(super) fn counter(tenant: &str, count: &Count) -> Counter {
    (
        tenant.to_owned(),
        count.action.clone(),
        count.bucket.clone(),
    )
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The token is spent for this call, and this is the intent.
    Fresh(Box<Execution>),
    /// This very call spent it earlier; here is how it stands.
    Repeated(Box<Execution>),
    /// Another call spent it: which execution, if it was of the same agent.
    Replayed(Option<String>),
    /// This ceiling of the card is reached; the token is not spent.
    OverCap(Over),
}
