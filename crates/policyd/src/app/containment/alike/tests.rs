//! Each counter that is full is a kind of its own.

use writ_proto::ids::AgentId;

use super::*;
use crate::domain::policy::tests::shipped;

#[test]
fn each_counter_that_is_full_is_a_kind_of_its_own() {
    let policies = TenantPolicies::build(&shipped("acme")).unwrap();
    let agent = AgentId::parse("triage").unwrap();
    let denied = Denied {
        policies: &policies,
        agent: &agent,
        action: "refund",
        reason: Reason::BudgetExceeded,
        at_ms: 0,
    };
    let kind = |counter: &str| DenialKind::of(&denied, counter);
    assert_eq!(
        kind("chain|run:triage:a|run"),
        kind("chain|run:triage:a|run")
    );
    assert_ne!(
        kind("chain|run:triage:a|run"),
        kind("chain|run:triage:b|run")
    );
}
