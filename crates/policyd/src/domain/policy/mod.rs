//! The policies, cards and entities of one tenant, checked as a whole and prepared for speed.
//!
//! A set is loaded to the side and swapped in whole. Policies are indexed by action, because
//! Cedar costs about a microsecond for each policy it is shown; the entities of one request are
//! put together from prepared parts.

pub mod bounds;
pub mod case;
mod concern;
pub mod facts;
mod finding;
mod lint;
mod load;
pub mod review;
mod rule;
pub mod schema;
mod seal;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::budget::Budget;
use crate::domain::decide::counter_offer::CounterOffers;
use crate::domain::incident::IncidentRule;
use crate::domain::policy::schema::entity_type;
use crate::domain::request::Request;
use cedar_policy::{Entities, Entity, EntityId, EntityUid, EvalResult, PolicySet, Schema};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use writ_proto::card::Card;
use writ_proto::ids::{ActionName, AgentId, TenantId};

pub use finding::{Finding, Place, PolicyErrors};
pub use lint::Gap;
pub(in crate::domain) use lint::{hint, near};
pub use rule::{ApprovalNeed, Rule};
pub use seal::LOCK;
pub use sources::Sources;

/// What is prepared for one action.
#[derive(Debug)]
pub(super) struct Slice {
    /// The policies in force from a moment on until that of the next phase, in order of time.
    /// Without effective dates there is one phase.
    pub(super) phases: Vec<(DateTime<Utc>, PolicySet)>,
    /// Facts that systems are asked for and that some policy mentions.
    pub(super) asks: BTreeSet<String>,
    pub(super) action: EntityUid,
    /// The action and its groups: without them a forbid over a group would not fire.
    pub(super) action_entities: Entities,
}

impl Slice {
    /// The policies in force at a moment.
    pub(super) fn in_force(&self, now: DateTime<Utc>) -> Option<&PolicySet> {
        let later = self.phases.partition_point(|(from, _)| *from <= now);
        let phase = self.phases.get(later.checked_sub(1)?);
        phase.map(|(_, policies)| policies)
    }
}

const CUSTOMER: &str = "Customer";

/// The customer of a record: itself, or what its fact `customer` names.
pub(super) fn customer_in(known: &Entity) -> Option<String> {
    let is_customer = |uid: &EntityUid| uid.type_name().basename() == CUSTOMER;
    let own = known.uid();
    if is_customer(&own) {
        return Some(own.id().unescaped().to_owned());
    }
    match known.attr("customer")?.ok()? {
        EvalResult::EntityUid(uid) if is_customer(&uid) => Some(uid.id().unescaped().to_owned()),
        EvalResult::String(text) => Some(text),
        _ => None,
    }
}

/// Everything policyd knows about one tenant, immutable.
#[derive(Debug)]
pub struct TenantPolicies {
    /// The tenant.
    pub tenant: TenantId,
    /// Name of the set, for people.
    pub label: String,
    /// SHA-256 over every source of the set.
    pub digest: [u8; 32],
    /// SHA-256 of the generated schema.
    pub schema_digest: [u8; 32],
    /// The generated schema.
    pub schema_text: String,
    /// `production`, `staging` and the like; policies see it.
    pub environment: String,
    /// Zone of hours and weekdays in policies.
    pub zone: Tz,
    pub(super) schema: Schema,
    pub(super) all: PolicySet,
    pub(super) slices: BTreeMap<ActionName, Slice>,
    cards: BTreeMap<ActionName, Arc<Card>>,
    rules: BTreeMap<String, Rule>,
    entities: BTreeMap<EntityUid, Entity>,
    asked: facts::AskedKinds,
    /// What may be used up in a time.
    pub budgets: Vec<Budget>,
    /// When repeated denials become an incident.
    pub incident_rules: Vec<IncidentRule>,
    /// Which actions get counter-offers.
    pub counter_offers: CounterOffers,
    /// How many decisions of one agent may wait for a person.
    pub waiting_max: i64,
    /// What is accepted and looks like a mistake.
    pub warnings: Vec<Finding>,
    /// The texts that it was made of.
    pub sources: Arc<Sources>,
}

impl TenantPolicies {
    /// Reads and checks all sources of a tenant.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn build(sources: &Sources) -> Result<Self, PolicyErrors> {
        load::build(sources)
    }

    /// The card of an action.
    #[must_use]
    pub fn card(&self, action: &ActionName) -> Option<&Arc<Card>> {
        self.cards.get(action)
    }

    /// All cards by name.
    pub fn cards(&self) -> impl Iterator<Item = &Arc<Card>> {
        self.cards.values()
    }

    /// All rules by id.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.rules.iter().map(|(id, rule)| (id.as_str(), rule))
    }

    /// A rule by id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.get(id)
    }

    /// The agents that entities.json names.
    pub fn agents(&self) -> impl Iterator<Item = String> {
        let agents = self
            .entities
            .keys()
            .filter(|uid| uid.type_name().basename() == "Agent");
        agents.map(|uid| uid.id().unescaped().to_owned())
    }

    /// Whether an agent is declared; one that is not has no role.
    pub(super) fn has_agent(&self, agent: &AgentId) -> bool {
        let name = EntityId::new(agent.as_str());
        let kind = "Agent".parse();
        kind.is_ok_and(|kind| {
            self.entities
                .contains_key(&EntityUid::from_type_name_and_id(kind, name))
        })
    }

    /// The customer of a request's target: the target itself, or what its fact `customer` names.
    /// A record of another tenant has no facts here.
    #[must_use]
    pub fn customer_of(&self, request: &Request) -> Option<String> {
        let (kind, id) = request.target.as_ref()?;
        let kind = entity_type(kind).parse().ok()?;
        let target = EntityUid::from_type_name_and_id(kind, EntityId::new(id));
        let own = request.tenant == request.caller_tenant;
        customer_in(self.entity(&target).filter(|_| own)?)
    }

    /// Whether a system of record is asked whose customer's a record of this kind is.
    pub(super) fn is_customer_asked(&self, kind: &str) -> bool {
        let asked = self.asked.get(kind);
        asked.is_some_and(|asked| asked.fields.contains_key("customer"))
    }

    /// A budget by id.
    #[must_use]
    pub fn budget(&self, id: &str) -> Option<&Budget> {
        self.budgets.iter().find(|budget| budget.id == id)
    }

    pub(super) fn entity(&self, uid: &EntityUid) -> Option<&Entity> {
        self.entities.get(uid)
    }

    /// The policies in force for an action at a moment.
    pub(super) fn in_force(
        &self,
        action: &ActionName,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &cedar_policy::Policy> {
        let slice = self.slices.get(action);
        let policies = slice.and_then(|slice| slice.in_force(now));
        policies.into_iter().flat_map(PolicySet::policies)
    }

    pub(super) fn slice(&self, action: &ActionName) -> Option<&Slice> {
        self.slices.get(action)
    }
}

#[cfg(test)]
pub(crate) mod tests;
