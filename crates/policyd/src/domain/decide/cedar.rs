//! Request and facts to Cedar's terms, and Cedar's answer back. Nothing is read as JSON here and
//! no store is cloned: the few entities of one request come from prepared parts.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, EvalResult, PolicySet, Request as CedarRequest, RestrictedExpression,
};
use chrono::{Datelike as _, Timelike as _};
use writ_proto::card::{ArgKind, Card};
use writ_proto::ids::RunId;
use writ_proto::money::Money;
use writ_proto::value::{Value, minor_units};

use crate::domain::decide::facts::Facts;
use crate::domain::decide::known::Told;
use crate::domain::policy::facts::linked;
use crate::domain::policy::schema::entity_type;
use crate::domain::policy::{Slice, TenantPolicies};
use crate::domain::request::Request;

/// What Cedar said. `allowed` counts only if `errors` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Cedar's decision.
    pub allowed: bool,
    /// Ids of the satisfied policies that decided, sorted.
    pub determining: Vec<String>,
    /// What failed, in the engine's words, or why there was no evaluation at all; sorted.
    pub errors: Vec<String>,
    /// Ids of the policies that failed, sorted.
    pub failed: Vec<String>,
}

impl Answer {
    fn failed(error: impl Into<String>) -> Self {
        Self {
            allowed: false,
            determining: Vec::new(),
            errors: vec![error.into()],
            failed: Vec::new(),
        }
    }
}

/// Evaluates a card-checked request against the slice of its action.
#[must_use]
pub fn evaluate(request: &Request, card: &Card, (facts, told): (&Facts, &Told)) -> Answer {
    let Some(slice) = facts.policies.slice(&request.action) else {
        return Answer::failed("no policies were prepared for the action");
    };
    let Some(policies) = slice.in_force(facts.now) else {
        return Answer::failed("no policies were prepared for this time");
    };
    answer(request, card, (facts, told), (slice, policies)).unwrap_or_else(Answer::failed)
}

/// Evaluates against every policy of the set; the reference that slices are tested against.
#[must_use]
pub fn evaluate_unsliced(request: &Request, card: &Card, (facts, told): (&Facts, &Told)) -> Answer {
    let (set, now) = (&facts.policies, facts.now);
    let Some(slice) = set.slice(&request.action) else {
        return Answer::failed("no policies were prepared for the action");
    };
    let in_force = |id: &str| set.rule(id).is_some_and(|rule| rule.is_in_force(now));
    let kept = set
        .all
        .policies()
        .filter(|policy| in_force(policy.id().as_ref()))
        .cloned();
    let policies = PolicySet::from_policies(kept).map_err(|error| error.to_string());
    policies
        .and_then(|policies| answer(request, card, (facts, told), (slice, &policies)))
        .unwrap_or_else(Answer::failed)
}

fn answer(
    request: &Request,
    card: &Card,
    (facts, told): (&Facts, &Told),
    (slice, policies): (&Slice, &PolicySet),
) -> Result<Answer, String> {
    let set: &TenantPolicies = &facts.policies;
    let principal = uid("Agent", request.agent.as_str())?;
    let (kind, id) = request.target.as_ref().ok_or("the request has no target")?;
    let resource = uid(&entity_type(kind), id)?;
    let entities = entities(request, (set, told), slice, (&principal, &resource))?;
    let context = context(request, card, facts)?;
    let query = CedarRequest::new(
        principal,
        slice.action.clone(),
        resource,
        context,
        Some(&set.schema),
    );
    let query = query.map_err(|error| error.to_string())?;
    let response = Authorizer::new().is_authorized(&query, policies, &entities);
    let diagnostics = response.diagnostics();
    let mut determining: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
    let mut errors: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
    let named = |AuthorizationError::PolicyEvaluationError(error): &AuthorizationError| {
        error.policy_id().to_string()
    };
    let mut failed: Vec<String> = diagnostics.errors().map(named).collect();
    determining.sort();
    errors.sort();
    failed.sort();
    Ok(Answer {
        allowed: response.decision() == Decision::Allow,
        determining,
        errors,
        failed,
    })
}

/// The whole numbers that are known of the target of a request.
pub(crate) fn numbers_of_target(request: &Request, card: &Card, facts: &Facts) -> BTreeSet<i64> {
    let target = request.target.as_ref();
    let uid = target.and_then(|(kind, id)| uid(&entity_type(kind), id).ok());
    let told = facts.told(request, card).unwrap_or_default();
    let known = uid
        .as_ref()
        .and_then(|uid| told.entity(uid).or_else(|| facts.policies.entity(uid)));
    let mut found = BTreeSet::new();
    for (_, value) in known.into_iter().flat_map(Entity::attrs) {
        match value {
            Ok(EvalResult::Long(number)) => {
                found.insert(number);
            }
            // An amount, in minor units.
            Ok(EvalResult::Record(record)) => {
                let members = record.iter().filter_map(|(_, member)| match member {
                    EvalResult::Long(number) => Some(*number),
                    _ => None,
                });
                found.extend(members);
            }
            _ => {}
        }
    }
    found
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let name: EntityTypeName = kind
        .parse()
        .map_err(|_| format!("`{kind}` is no entity type"))?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

/// The entities one request can reach: principal with roles, resource with facts and what they
/// name, and the action with its groups.
fn entities(
    request: &Request,
    (set, told): (&TenantPolicies, &Told),
    slice: &Slice,
    (principal, resource): (&EntityUid, &EntityUid),
) -> Result<Entities, String> {
    let mut chosen = Vec::new();
    let bare = |uid: &EntityUid, tenant: &str| {
        let tenant = RestrictedExpression::new_string(tenant.to_owned());
        let attributes = [("tenant".to_owned(), tenant)];
        Entity::new(
            uid.clone(),
            attributes.into_iter().collect(),
            BTreeSet::new().into_iter().collect(),
        )
        .map_err(|error| error.to_string())
    };
    match set.entity(principal) {
        Some(known) => chosen.push(known.clone()),
        None => chosen.push(bare(principal, request.caller_tenant.as_str())?),
    }
    // A record of another tenant has no facts here, whatever its id is.
    let of = |uid: &EntityUid| told.entity(uid).or_else(|| set.entity(uid));
    let known = of(resource).filter(|_| request.tenant == request.caller_tenant);
    match known {
        Some(known) => {
            let mut named = BTreeSet::new();
            for (_, value) in known.attrs() {
                linked(value.map_err(|error| error.to_string())?, &mut named);
            }
            // An entity must not stand in the slice twice.
            named.remove(principal);
            named.remove(resource);
            chosen.extend(named.iter().filter_map(of).cloned());
            chosen.push(known.clone());
        }
        None => chosen.push(bare(resource, request.tenant.as_str())?),
    }
    let prepared = slice.action_entities.clone();
    let all = prepared.add_entities(chosen, None);
    all.map_err(|error| error.to_string())
}

fn context(request: &Request, card: &Card, facts: &Facts) -> Result<Context, String> {
    let set: &TenantPolicies = &facts.policies;
    let local = facts.now.with_timezone(&set.zone);
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let long = |number: u32| RestrictedExpression::new_long(i64::from(number));
    let mut effects = BTreeSet::new();
    let mut args = BTreeMap::new();
    for (name, value) in request.args.iter() {
        let arg = card
            .args
            .get(name)
            .ok_or("an argument the card does not name")?;
        effects.extend(arg.effects.iter().map(String::as_str));
        args.insert(name.to_owned(), expression(&arg.kind, value)?);
    }
    let mut pairs = vec![
        ("reason".to_owned(), text(&request.reason)),
        (
            "run".to_owned(),
            text(request.run.as_ref().map_or("", RunId::as_str)),
        ),
        ("environment".to_owned(), text(&set.environment)),
        ("mode".to_owned(), text(request.mode.name())),
        ("hour".to_owned(), long(local.hour())),
        (
            "weekday".to_owned(),
            long(local.weekday().number_from_monday()),
        ),
        (
            "effects".to_owned(),
            RestrictedExpression::new_set(effects.into_iter().map(text)),
        ),
    ];
    let uncertain: BTreeSet<&str> = request.uncertain().collect();
    pairs.push((
        "uncertain".to_owned(),
        RestrictedExpression::new_set(uncertain.into_iter().map(text)),
    ));
    let grounded = facts.grounded(request);
    pairs.push((
        "grounded".to_owned(),
        RestrictedExpression::new_set(grounded.into_iter().map(text)),
    ));
    if let Some(percent) = request.confidence {
        pairs.push(("confidence".to_owned(), long(u32::from(percent))));
    }
    let amount = card.args.get("amount").zip(request.args.get("amount"));
    if let Some((ArgKind::Money { .. }, value)) = amount.map(|(arg, value)| (&arg.kind, value)) {
        let money = Money::from_value(value).map_err(|error| error.to_string())?;
        let minor = RestrictedExpression::new_long(money.minor());
        pairs.push(("amount_minor".to_owned(), minor));
        pairs.push(("currency".to_owned(), text(money.currency())));
    }
    let args = RestrictedExpression::new_record(args).map_err(|error| error.to_string())?;
    pairs.push(("args".to_owned(), args));
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

fn expression(kind: &ArgKind, value: &Value) -> Result<RestrictedExpression, String> {
    let wrong = || format!("{} is not what the card says", value.to_json());
    match (kind, value) {
        (ArgKind::List { of, .. }, Value::List(items)) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| expression(of, item)).collect();
            Ok(RestrictedExpression::new_set(items?))
        }
        (ArgKind::Money { .. }, value) => {
            let money = Money::from_value(value).map_err(|error| error.to_string())?;
            let currency = RestrictedExpression::new_string(money.currency().to_owned());
            let minor = RestrictedExpression::new_long(money.minor());
            let pairs = [
                ("currency".to_owned(), currency),
                ("minor".to_owned(), minor),
            ];
            RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())
        }
        (ArgKind::Decimal { decimals, .. }, value) => minor_units(value, *decimals)
            .map(RestrictedExpression::new_long)
            .ok_or_else(wrong),
        (_, Value::Text(text)) => Ok(RestrictedExpression::new_string(text.clone())),
        (_, Value::Int(number)) => Ok(RestrictedExpression::new_long(*number)),
        (_, Value::Bool(truth)) => Ok(RestrictedExpression::new_bool(*truth)),
        _ => Err(wrong()),
    }
}
