//! All state that one decision may look at.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use writ_proto::ids::RunId;
use writ_proto::scope::{Customer, Part, Scope, Subject};

use crate::domain::decide::grounds::Grounds;
use crate::domain::decide::known::Known;
use crate::domain::policy::TenantPolicies;
use crate::domain::request::Request;

/// What policyd last heard about halts from connectord.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HaltView {
    /// Halt epoch; goes into every writ.
    pub epoch: u64,
    /// Scopes that are halted.
    pub scopes: Vec<Scope>,
    /// When connectord was asked for what is known here, Unix milliseconds of policyd's clock; 0 if it was not. A halt
    /// that was set later is one that the decision had not heard of. None where a record of before does not say.
    pub heard_ms: Option<i64>,
}

/// The state of one decision.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The moment of the decision.
    pub now: DateTime<Utc>,
    /// Policies, cards and entities of the caller's tenant, in force now.
    pub policies: Arc<TenantPolicies>,
    /// Halts as last heard; connectord's own word is final.
    pub halts: HaltView,
    /// What the system of record said of the target.
    pub known: Known,
    /// What was found of the evidence of the request.
    pub grounds: Grounds,
}

impl Facts {
    /// The scope that halts a request, if one is known to. Of a record whose customer is no fact
    /// here only connectord can tell.
    #[must_use]
    pub fn halted(&self, request: &Request) -> Option<&Scope> {
        let by_customer = |scope: &Scope| matches!(scope.part(), Part::Customer(_));
        let customer = if self.halts.scopes.iter().any(by_customer) {
            self.customer_of(request)
        } else {
            None
        };
        let subject = Subject {
            // The caller's own: whether another tenant is halted is not for this caller to learn.
            tenant: request.caller_tenant.as_str(),
            connection: &request.connection,
            action: request.action.as_str(),
            agent: request.agent.as_str(),
            run: request.run.as_ref().map_or("", RunId::as_str),
            customer: customer.as_deref().map_or(Customer::NotYet, Customer::Is),
        };
        let mut scopes = self.halts.scopes.iter();
        scopes.find(|scope| scope.covers(&subject))
    }
}
