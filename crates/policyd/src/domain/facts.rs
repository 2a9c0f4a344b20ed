//! All state that one decision may look at.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::policy_set::TenantPolicies;

/// What policyd last heard about halts from connectord.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HaltView {
    /// Halt epoch; goes into every writ.
    pub epoch: u64,
    /// Scopes that are halted, such as `global` or `tenant:acme`.
    pub scopes: Vec<String>,
}

impl HaltView {
    /// The scope that halts a request, if one does.
    #[must_use]
    pub fn covers(
        &self,
        tenant: &str,
        connection: &str,
        action: &str,
        agent: &str,
    ) -> Option<&str> {
        let scopes = [
            "global".to_owned(),
            format!("tenant:{tenant}"),
            format!("connection:{connection}"),
            format!("action:{action}"),
            format!("agent:{agent}"),
        ];
        self.scopes
            .iter()
            .map(String::as_str)
            .find(|scope| scopes.iter().any(|own| own == scope))
    }
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
}
