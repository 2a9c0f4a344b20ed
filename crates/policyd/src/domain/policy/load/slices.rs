//! The policies that concern each action, and the moments at which they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::{ActionConstraint, Entities, Entity, EntityUid, Policy, PolicySet, Schema};
use chrono::{DateTime, Utc};
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::ids::ActionName;

use crate::domain::policy::facts::{AskedKinds, names_of};
use crate::domain::policy::lint::attributes;
use crate::domain::policy::load::{Findings, MOMENTS_MAX, Rules};
use crate::domain::policy::schema::groups;
use crate::domain::policy::{Rule, Slice};

pub(crate) fn slices(
    cards: &BTreeMap<ActionName, Arc<Card>>,
    (rules, policies): (&Rules, &[(String, Policy)]),
    (schema, asked): (&Schema, &AskedKinds),
    findings: &mut Findings<'_>,
) -> BTreeMap<ActionName, Slice> {
    let mut slices = BTreeMap::new();
    let known = schema.action_entities().ok();
    let facts = names_of(asked);
    let mentioned: Vec<BTreeSet<String>> = policies
        .iter()
        .map(|(_, policy)| mentioned(policy, &facts))
        .collect();
    for (name, card) in cards {
        match slice(card, rules, policies, known.as_ref()) {
            Ok((mut slice, chosen)) => {
                slice.asks = chosen
                    .iter()
                    .filter_map(|at| mentioned.get(*at))
                    .flatten()
                    .cloned()
                    .collect();
                slices.insert(name.clone(), slice);
            }
            Err(message) => findings.add(Reason::PolicyInvalid, name.as_str(), message),
        }
    }
    slices
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = kind
        .parse()
        .map_err(|_| format!("`{kind}` is not an entity type"))?;
    Ok(EntityUid::from_type_name_and_id(
        kind,
        cedar_policy::EntityId::new(id),
    ))
}

fn slice(
    card: &Card,
    rules: &Rules,
    policies: &[(String, Policy)],
    known: Option<&Entities>,
) -> Result<(Slice, Vec<usize>), String> {
    let action = uid("Action", card.name.as_str())?;
    let mut own = BTreeSet::from([action.clone()]);
    for group in groups(card) {
        own.insert(uid("Action", &group)?);
    }
    // Without the action entities a forbid over a group of actions would not fire.
    let entity = |uid: &EntityUid| known.and_then(|known| known.get(uid)).cloned();
    let found: Vec<Entity> = own.iter().filter_map(entity).collect();
    if found.len() != own.len() {
        return Err(format!(
            "the action entities of `{}` are missing",
            card.name
        ));
    }
    let action_entities =
        Entities::from_entities(found, None).map_err(|error| error.to_string())?;
    let concerns = |policy: &Policy| match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(named) => named == action,
        ActionConstraint::In(named) => named.iter().any(|uid| own.contains(uid)),
    };
    let all = policies.iter().enumerate();
    let chosen = all.filter(|(_, (_, policy))| concerns(policy));
    let (places, chosen): (Vec<usize>, Vec<Policy>) =
        chosen.map(|(at, (_, policy))| (at, policy.clone())).unzip();
    let slice = Slice {
        phases: phases(&chosen, rules)?,
        asks: BTreeSet::new(),
        action,
        action_entities,
    };
    Ok((slice, places))
}

/// Which of these facts a policy reads or asks for with `has`. What cannot be looked through mentions all.
fn mentioned(policy: &Policy, facts: &BTreeSet<String>) -> BTreeSet<String> {
    if facts.is_empty() {
        return BTreeSet::new();
    }
    let Ok(json) = policy.to_json() else {
        return facts.clone();
    };
    let named = attributes(&json).into_iter();
    named.filter(|name| facts.contains(name)).collect()
}

/// The policies between each two moments at which one of them begins or ends.
fn phases(chosen: &[Policy], rules: &Rules) -> Result<Vec<(DateTime<Utc>, PolicySet)>, String> {
    let rule = |policy: &Policy| {
        let id: &str = policy.id().as_ref();
        rules.get(id)
    };
    let mut moments = BTreeSet::from([DateTime::<Utc>::MIN_UTC]);
    for policy in chosen {
        moments.extend(rule(policy).into_iter().flat_map(Rule::moments));
    }
    if moments.len() > MOMENTS_MAX {
        return Err(format!(
            "at most {MOMENTS_MAX} moments at which rules of one action begin or end"
        ));
    }
    let phase = |from: DateTime<Utc>| {
        let current = |policy: &&Policy| rule(policy).is_some_and(|rule| rule.is_in_force(from));
        let policies = PolicySet::from_policies(chosen.iter().filter(current).cloned());
        Ok((from, policies.map_err(|error| error.to_string())?))
    };
    moments.into_iter().map(phase).collect()
}
