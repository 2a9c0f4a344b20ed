//! Which rules concern an action, and which of them can ever apply to one agent.

use std::collections::BTreeSet;

use cedar_policy::{EntityId, EntityUid, Policy, PrincipalConstraint};
use chrono::{DateTime, Utc};
use writ_proto::ids::ActionName;

use crate::domain::policy::{Rule, TenantPolicies};

const AGENT: &str = "Agent";
/// How deep roles within roles are followed.
const ROLES_DEEP: usize = 16;

impl TenantPolicies {
    /// The rules in force for an action, by id; of an agent only those whose principal it can be. What stands in a
    /// `when` is not looked at: a rule that is named may still not apply.
    #[must_use]
    pub fn concerning(
        &self,
        action: &ActionName,
        agent: Option<&str>,
        now: DateTime<Utc>,
    ) -> Vec<(&str, &Rule)> {
        let who = agent.map(|agent| self.roles_of(agent));
        let may = |policy: &&Policy| who.as_ref().is_none_or(|who| applies(policy, who));
        let policies = self.in_force(action, now).filter(may);
        let ids: BTreeSet<String> = policies.map(|policy| policy.id().to_string()).collect();
        self.rules().filter(|(id, _)| ids.contains(*id)).collect()
    }

    /// The agent itself and every role it is in; nothing but itself for one that entities.json does not name.
    pub(super) fn roles_of(&self, agent: &str) -> BTreeSet<EntityUid> {
        let mut found = BTreeSet::new();
        let Ok(kind) = AGENT.parse() else {
            return found;
        };
        let mut next = vec![EntityUid::from_type_name_and_id(kind, EntityId::new(agent))];
        for _ in 0..ROLES_DEEP {
            let fresh: Vec<EntityUid> = next
                .into_iter()
                .filter(|uid| found.insert(uid.clone()))
                .collect();
            let entities = fresh.iter().filter_map(|uid| self.entity(uid));
            next = entities
                .flat_map(|entity| entity.clone().into_inner().2)
                .collect();
        }
        found
    }
}

pub(super) fn applies(policy: &Policy, who: &BTreeSet<EntityUid>) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) => who.contains(&uid),
        PrincipalConstraint::Is(kind) => kind.basename() == AGENT,
        PrincipalConstraint::IsIn(kind, uid) => kind.basename() == AGENT && who.contains(&uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests::shipped;

    #[test]
    fn an_agent_has_the_rules_of_its_roles_and_of_everybody() {
        let set = TenantPolicies::build(&shipped("acme")).unwrap();
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let named = |action: &str, agent: Option<&str>| -> Vec<String> {
            let action = ActionName::parse(action).unwrap();
            let rules = set.concerning(&action, agent, now);
            rules.into_iter().map(|(id, _)| id.to_owned()).collect()
        };
        let all = named("refund", None);
        let triage = named("refund", Some("triage"));
        assert!(triage.contains(&"refund-small".to_owned()), "{triage:?}");
        assert!(named("refund", Some("seller")).len() < all.len());
        let nobody = named("refund", Some("nobody"));
        assert!(!nobody.contains(&"refund-small".to_owned()), "{nobody:?}");
        assert!(
            nobody.contains(&"refund-over-total".to_owned()),
            "a forbid over everybody"
        );
    }
}
