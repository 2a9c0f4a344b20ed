//! What connectord tells policyd, made in the same transaction as the fact it tells.

use crate::domain::execution::Execution;
use crate::domain::gate::{Call, Refusal};
pub use crate::domain::outcome::{Kind, Outcome};
use crate::store::Report;
use crate::{clock, ids};

impl Outcome {
    /// An outcome with nothing in it but its tenant and status.
    #[must_use]
    pub fn new(kind: Kind, tenant: &str, status: &str) -> Self {
        Self {
            id: ids::new_id(),
            kind,
            tenant: tenant.to_owned(),
            time_ms: clock::now().timestamp_millis(),
            decision: String::new(),
            execution: String::new(),
            agent: String::new(),
            connection: String::new(),
            action: String::new(),
            target: None,
            execute: None,
            status: status.to_owned(),
            reason_code: String::new(),
            milliseconds: 0,
            changes: Vec::new(),
            collateral: Vec::new(),
            by: String::new(),
            note: String::new(),
            scope: String::new(),
        }
    }

    /// The outcome of an execution.
    #[must_use]
    pub fn of_execution(kind: Kind, execution: &Execution, status: &str) -> Self {
        let now = clock::now().timestamp_millis();
        Self {
            decision: execution.decision.clone(),
            execution: execution.id.clone(),
            agent: execution.agent.clone(),
            connection: execution.connection.clone(),
            action: execution.action.clone(),
            target: Some((execution.object.clone(), execution.target.clone())),
            execute: Some(execution.execute),
            reason_code: execution.reason_code.clone(),
            milliseconds: u64::try_from(now.saturating_sub(execution.created_ms)).unwrap_or(0),
            changes: execution.changes.clone(),
            collateral: execution.collateral.clone(),
            note: match execution.message.as_str() {
                "" => execution.sentence.clone(),
                message => format!("{message}; {}", execution.sentence),
            },
            by: execution.settled_by.clone(),
            ..Self::new(kind, &execution.tenant, status)
        }
    }

    /// The outcome of a refused call, for the log of the caller's own tenant: what an agent says
    /// of another tenant must not write there.
    #[must_use]
    pub fn of_refusal(call: &Call, refusal: &Refusal) -> Self {
        Self {
            agent: call.agent.clone(),
            connection: call.connection.clone(),
            action: call.action.clone(),
            target: call.target.clone(),
            execute: Some(call.mode == writ_proto::token::Mode::Execute),
            reason_code: refusal.reason.code().to_owned(),
            note: if call.tenant == call.caller_tenant {
                refusal.detail.clone()
            } else {
                format!("{} (asked of tenant {})", refusal.detail, call.tenant)
            },
            ..Self::new(Kind::Refused, &call.caller_tenant, "REFUSED")
        }
    }

    /// The outcome of a preview: that a record was looked at is a record.
    #[must_use]
    pub fn of_preview(call: &Call) -> Self {
        Self {
            agent: call.agent.clone(),
            connection: call.connection.clone(),
            action: call.action.clone(),
            target: call.target.clone(),
            execute: Some(false),
            ..Self::new(Kind::Result, &call.tenant, "PREVIEWED")
        }
    }

    /// The report that goes into the outbox.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            id: self.id,
            body: crate::wire::outcome::encode(self),
        }
    }
}
