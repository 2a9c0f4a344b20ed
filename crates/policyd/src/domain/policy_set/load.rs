//! From texts to a checked set. Every finding is reported at once; one finding refuses the set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Schema,
    ValidationMode, Validator,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::digest::sha256;
use writ_proto::ids::ActionName;

use super::finding::{Finding, Place, PolicyErrors};
use super::lint::lint;
use super::sources::Sources;
use super::{Rule, Slice, TenantPolicies};
use super::{bounds, rule};
use crate::domain::budget::{BUDGETS_MAX, Budget, BudgetText, Ground};
use crate::domain::counter_offer::{CounterOfferText, CounterOffers};
use crate::domain::escalation::{INCIDENT_RULES_MAX, IncidentRule, IncidentText};
use crate::domain::schema::{FactTypes, facts_flaw, groups, schema_text};
use crate::domain::waiting::{ApprovalsText, WAITING_DEFAULT, waiting_max};

const POLICIES_MAX: usize = 20_000;
/// What is told of one set; whoever has more mends these first.
const FINDINGS_MAX: usize = 500;
const ENTITIES_MAX: usize = 1_000_000;
/// Each moment is a prepared set of its own.
const MOMENTS_MAX: usize = 65;
/// How far a policy may follow references: `resource.customer.tier` is two steps. The entities of
/// a request reach as far and no further; beyond them `has` is false and a forbid would not fire.
const STEPS_MAX: u32 = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetText {
    id: String,
    zone: String,
    environment: String,
    #[serde(default)]
    facts: FactTypes,
    #[serde(default)]
    budget: Vec<toml::Spanned<BudgetText>>,
    #[serde(default)]
    incident: Vec<IncidentText>,
    counter_offer: Option<CounterOfferText>,
    approvals: Option<ApprovalsText>,
}

struct Findings(Vec<Finding>);

impl Findings {
    /// What is wrong with `set.toml`.
    fn of_set(&mut self, message: impl Display) {
        self.add(Reason::PolicyInvalid, "set.toml", message);
    }

    fn add(&mut self, reason: Reason, file: &str, message: impl Display) {
        self.add_at(reason, file, message, None);
    }

    fn add_at(&mut self, reason: Reason, file: &str, message: impl Display, at: Option<Place>) {
        if self.0.len() >= FINDINGS_MAX {
            return;
        }
        let (file, message) = (file.to_owned(), format!("{message}"));
        self.0.push(Finding {
            reason,
            file,
            message,
            at,
        });
    }

    /// What `set.toml` has wrong as TOML.
    fn of_toml(&mut self, text: &str, error: &toml::de::Error) {
        let at = error.span().map(|span| Place::at(text, span.start));
        self.add_at(Reason::PolicyInvalid, "set.toml", error.message(), at);
    }
}

/// Where in a text of rules an error of Cedar stands.
fn place_in(text: &str, error: &dyn miette::Diagnostic) -> Option<Place> {
    let label = error.labels()?.next()?;
    Some(Place::at(text, label.offset()))
}

/// Where in a text the first thing stands that a message quotes.
fn place_of_quoted(text: &str, message: &str) -> Option<Place> {
    let quoted = message.split('`').nth(1)?;
    Place::of(text, quoted)
}

/// `set.toml` of a set whose files are the listed ones.
fn set_text(sources: &Sources, findings: &mut Findings) -> Result<SetText, PolicyErrors> {
    for (file, why) in sources.unlike_lock() {
        findings.add(Reason::PolicyInvalid, &file, why);
    }
    if !findings.0.is_empty() {
        return Err(PolicyErrors(findings.0.clone()));
    }
    let set: SetText = toml::from_str(&sources.set_toml).map_err(|error| {
        findings.of_toml(&sources.set_toml, &error);
        PolicyErrors(findings.0.clone())
    })?;
    if let Some(why) = facts_flaw(&set.facts) {
        findings.of_set(why);
        return Err(PolicyErrors(findings.0.clone()));
    }
    Ok(set)
}

pub(super) fn build(sources: &Sources) -> Result<TenantPolicies, PolicyErrors> {
    let mut findings = Findings(Vec::new());
    let set = set_text(sources, &mut findings)?;
    if !rule::is_short(&set.id) {
        findings.of_set("id: 1 to 500 bytes, and no control characters");
    }
    let zone = set.zone.parse();
    if zone.is_err() {
        findings.of_set(format!("unknown zone `{}`", set.zone));
    }
    let cards = cards(sources, &mut findings);
    let text = schema_text(cards.values().map(AsRef::as_ref), &set.facts);
    let schema = Schema::from_cedarschema_str(&text);
    let (rules, policies) = policies(sources, &mut findings);
    let schema = match schema {
        Ok((schema, _)) if findings.0.is_empty() => schema,
        Ok(_) => return Err(PolicyErrors(findings.0)),
        Err(error) => {
            findings.of_set(format!("generated schema: {error}"));
            return Err(PolicyErrors(findings.0));
        }
    };
    let all = validated(sources, &policies, &schema, &mut findings);
    let entities = entities(sources, &schema, &mut findings);
    let slices = slices(&cards, &rules, &policies, &schema, &mut findings);
    let ground = Ground {
        cards: &cards,
        facts: &set.facts,
    };
    let budgets = budgets(&set.budget, &sources.set_toml, &ground, &mut findings);
    let incident_rules = incident_rules(set.incident, &cards, &mut findings);
    let is_card = |name: &ActionName| cards.contains_key(name);
    let waiting_max = waiting_max(set.approvals.as_ref()).unwrap_or_else(|why| {
        findings.of_set(why);
        WAITING_DEFAULT
    });
    let counter_offers = CounterOffers::check(set.counter_offer, is_card).unwrap_or_else(|why| {
        findings.of_set(why);
        CounterOffers::default()
    });
    if !findings.0.is_empty() {
        return Err(PolicyErrors(findings.0));
    }
    let digest = sources.digest();
    let zone = zone.map_err(|_| PolicyErrors(Vec::new()))?;
    let mut set = TenantPolicies {
        tenant: sources.tenant.clone(),
        label: set.id,
        digest,
        schema_digest: sha256(text.as_bytes()),
        schema_text: text,
        environment: set.environment,
        zone,
        schema,
        all,
        slices,
        cards,
        rules,
        entities,
        budgets,
        incident_rules,
        counter_offers,
        waiting_max,
        warnings: Vec::new(),
        sources: Arc::new(sources.clone()),
    };
    set.warnings = lint(&set, sources);
    Ok(set)
}

fn incident_rules(
    texts: Vec<IncidentText>,
    cards: &BTreeMap<ActionName, Arc<Card>>,
    findings: &mut Findings,
) -> Vec<IncidentRule> {
    let mut rules: Vec<IncidentRule> = Vec::new();
    let mut wrong = |message: String| findings.add(Reason::PolicyInvalid, "set.toml", message);
    if texts.len() > INCIDENT_RULES_MAX {
        wrong(format!("at most {INCIDENT_RULES_MAX} incidents"));
        return rules;
    }
    for text in texts {
        match IncidentRule::check(text, |name| cards.contains_key(name)) {
            Ok(rule) if rules.iter().any(|other| other.id == rule.id) => {
                wrong(format!("two incidents are named `{}`", rule.id));
            }
            Ok(rule) => rules.push(rule),
            Err(message) => wrong(message),
        }
    }
    rules
}

fn budgets(
    texts: &[toml::Spanned<BudgetText>],
    file: &str,
    ground: &Ground<'_>,
    findings: &mut Findings,
) -> Vec<Budget> {
    let mut budgets: Vec<Budget> = Vec::new();
    if texts.len() > BUDGETS_MAX {
        let message = format!("at most {BUDGETS_MAX} budgets");
        findings.add(Reason::PolicyInvalid, "set.toml", message);
        return budgets;
    }
    for text in texts {
        let why = match Budget::check(text.get_ref(), ground) {
            Ok(budget) if budgets.iter().any(|other| other.id == budget.id) => {
                format!("two budgets are named `{}`", budget.id)
            }
            Ok(budget) => {
                budgets.push(budget);
                continue;
            }
            Err(why) => why,
        };
        let at = Some(Place::at(file, text.span().start));
        findings.add_at(Reason::PolicyInvalid, "set.toml", why, at);
    }
    budgets
}

fn cards(sources: &Sources, findings: &mut Findings) -> BTreeMap<ActionName, Arc<Card>> {
    let mut cards = BTreeMap::new();
    for (file, text) in &sources.cards {
        let path = format!("actions/{file}");
        match Card::parse(text) {
            Ok(card) if file.strip_suffix(".toml") != Some(card.name.as_str()) => {
                let message = format!("the card is named `{}`; its file must be too", card.name);
                let at = place_of_quoted(text, &message);
                findings.add_at(Reason::CardInvalid, &path, message, at);
            }
            Ok(card) => {
                cards.insert(card.name.clone(), Arc::new(card));
            }
            Err(error) => {
                let at = place_of_quoted(text, &error.to_string());
                findings.add_at(error.reason, &path, error, at);
            }
        }
    }
    cards
}

type Rules = BTreeMap<String, Rule>;

fn policies(sources: &Sources, findings: &mut Findings) -> (Rules, Vec<(String, Policy)>) {
    let (mut rules, mut policies) = (Rules::new(), Vec::new());
    for (file, text) in &sources.policies {
        if let Err(deep) = bounds::check(text) {
            let at = Some(Place::at(text, deep.at));
            findings.add_at(Reason::PolicyInvalid, file, deep.message, at);
            continue;
        }
        let parsed = match PolicySet::from_str(text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                for error in errors.iter() {
                    let at = place_in(text, error);
                    findings.add_at(Reason::PolicyInvalid, file, error, at);
                }
                continue;
            }
        };
        if parsed.templates().next().is_some() {
            let message =
                "templates (?principal, ?resource) are not supported: write a rule for each case";
            let at = Place::of(text, "?principal").or_else(|| Place::of(text, "?resource"));
            findings.add_at(Reason::PolicyInvalid, file, message, at);
        }
        for policy in parsed.policies() {
            match Rule::read(policy) {
                Ok((id, _)) if rules.contains_key(&id) => {
                    let at = Place::of(text, &format!("@id(\"{id}\")"));
                    let first = file_of(&policies, &id);
                    let message = format!("rule `{id}` is there twice, first in {first}");
                    findings.add_at(Reason::PolicyInvalid, file, message, at);
                }
                Ok((id, rule)) => {
                    policies.push((file.clone(), policy.new_id(PolicyId::new(&id))));
                    rules.insert(id, rule);
                }
                Err(message) => {
                    let at = place_of_quoted(text, &message);
                    findings.add_at(Reason::PolicyInvalid, file, message, at);
                }
            }
        }
    }
    if rules.is_empty() {
        findings.add(
            Reason::PolicyEmpty,
            sources.tenant.as_str(),
            Reason::PolicyEmpty.sentence(),
        );
    }
    if rules.len() > POLICIES_MAX {
        let message = format!("{} rules, at most {POLICIES_MAX}", rules.len());
        findings.add(Reason::PolicyInvalid, sources.tenant.as_str(), message);
    }
    (rules, policies)
}

/// The file that a rule was read from.
fn file_of<'a>(policies: &'a [(String, Policy)], id: &str) -> &'a str {
    let found = policies.iter().find(|(_, policy)| {
        let known: &str = policy.id().as_ref();
        known == id
    });
    found.map_or("policies", |(file, _)| file.as_str())
}

fn validated(
    sources: &Sources,
    policies: &[(String, Policy)],
    schema: &Schema,
    findings: &mut Findings,
) -> PolicySet {
    let all = PolicySet::from_policies(policies.iter().map(|(_, policy)| policy.clone()));
    let all = all.unwrap_or_else(|error| {
        findings.add(Reason::PolicyInvalid, "policies", error);
        PolicySet::new()
    });
    let validator = Validator::new(schema.clone());
    let result = validator.validate_with_level(&all, ValidationMode::Strict, STEPS_MAX);
    for error in result.validation_errors() {
        let file = file_of(policies, error.policy_id().as_ref());
        let text = sources.policies.iter().find(|(name, _)| name == file);
        let at = text.and_then(|(_, text)| place_in(text, error));
        findings.add_at(Reason::PolicyInvalid, file, error, at);
    }
    all
}

fn entities(
    sources: &Sources,
    schema: &Schema,
    findings: &mut Findings,
) -> BTreeMap<EntityUid, Entity> {
    let parsed = match Entities::from_json_str(&sources.entities_json, Some(schema)) {
        Ok(parsed) => parsed,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                message = format!("{message}: {inner}");
                source = inner.source();
            }
            let at = place_of_quoted(&sources.entities_json, &message);
            findings.add_at(Reason::PolicyInvalid, "entities.json", message, at);
            return BTreeMap::new();
        }
    };
    let mut entities = BTreeMap::new();
    for entity in parsed.iter() {
        if entity.uid().type_name().basename() == "Action" {
            continue;
        }
        let tenant = entity.attr("tenant").and_then(Result::ok);
        let own = cedar_policy::EvalResult::String(sources.tenant.as_str().to_owned());
        if tenant.is_some_and(|tenant| tenant != own) {
            let message = format!("{} is of another tenant", entity.uid());
            findings.add(Reason::PolicyInvalid, "entities.json", message);
        }
        entities.insert(entity.uid(), entity.clone());
    }
    if entities.len() > ENTITIES_MAX {
        let message = format!("{} entities, at most {ENTITIES_MAX}", entities.len());
        findings.add(Reason::PolicyInvalid, "entities.json", message);
    }
    entities
}

fn slices(
    cards: &BTreeMap<ActionName, Arc<Card>>,
    rules: &Rules,
    policies: &[(String, Policy)],
    schema: &Schema,
    findings: &mut Findings,
) -> BTreeMap<ActionName, Slice> {
    let mut slices = BTreeMap::new();
    let known = schema.action_entities().ok();
    for (name, card) in cards {
        match slice(card, rules, policies, known.as_ref()) {
            Ok(slice) => {
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
) -> Result<Slice, String> {
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
    let chosen: Vec<Policy> = policies
        .iter()
        .map(|(_, policy)| policy)
        .filter(|p| concerns(p))
        .cloned()
        .collect();
    Ok(Slice {
        phases: phases(&chosen, rules)?,
        action,
        action_entities,
    })
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
