//! From texts to a checked set. Every finding is reported at once; one finding refuses the set.

mod entities;
mod slices;
mod words;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{ParseErrors, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use chrono_tz::Tz;
use serde::Deserialize;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::digest::sha256;
use writ_proto::ids::ActionName;
use writ_proto::toml_flaw::{flaw, near, place_of};

use crate::domain::approval::{ApprovalsText, WAITING_DEFAULT, waiting_max};
use crate::domain::budget::{BUDGETS_MAX, Budget, BudgetText, Ground};
use crate::domain::decide::counter_offer::{CounterOfferText, CounterOffers};
use crate::domain::incident::{INCIDENT_RULES_MAX, IncidentRule, IncidentText};
use crate::domain::policy::facts::{self, AskedKinds, FactsText};
use crate::domain::policy::finding::{Finding, Place, PolicyErrors};
use crate::domain::policy::lint::{hint, lint};
use crate::domain::policy::schema::{FactTypes, facts_flaw, schema_text};
use crate::domain::policy::sources::Sources;
use crate::domain::policy::{Rule, TenantPolicies};
use crate::domain::policy::{bounds, rule};
use entities::entities;
use slices::slices;
use words::{of_argument, said};

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
    facts: FactsText,
    #[serde(default)]
    budget: Vec<toml::Spanned<BudgetText>>,
    #[serde(default)]
    incident: Vec<IncidentText>,
    counter_offer: Option<CounterOfferText>,
    approvals: Option<ApprovalsText>,
}

/// What was found so far, and the text that findings of the set point into.
struct Findings<'a>(Vec<Finding>, &'a str);

impl Findings<'_> {
    /// What is wrong with `set.toml`.
    fn of_set(&mut self, message: impl Display) {
        let message = message.to_string();
        let at = place_of(self.1, &message).map(|at| Place::at(self.1, at));
        self.add_at(Reason::PolicyInvalid, "set.toml", message, at);
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
        let flaw = flaw(error);
        let at = flaw.at.map(|at| Place::at(text, at));
        self.add_at(Reason::PolicyInvalid, "set.toml", flaw.message, at);
    }
}

/// Where in a text of rules an error of Cedar stands.
fn place_in(text: &str, error: &dyn miette::Diagnostic) -> Option<Place> {
    let label = error.labels()?.next()?;
    Some(Place::at(text, label.offset()))
}

/// Where in a text the first thing stands that a message quotes.
fn place_of_quoted(text: &str, message: &str) -> Option<Place> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    quoted.find_map(|word| Place::of(text, word))
}

/// `set.toml` of a set whose files are the listed ones.
fn set_text(
    sources: &Sources,
    findings: &mut Findings<'_>,
) -> Result<(SetText, FactTypes, AskedKinds), PolicyErrors> {
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
    let facts = facts::read(&set.facts);
    let facts = facts.and_then(|(types, asked)| match facts_flaw(&types) {
        Some(why) => Err(why),
        None => Ok((types, asked)),
    });
    match facts {
        Ok((types, asked)) => Ok((set, types, asked)),
        Err(why) => {
            findings.of_set(why);
            Err(PolicyErrors(findings.0.clone()))
        }
    }
}

/// Cedar names the type that it does not know, without quoting it.
fn unknown_type(said: &str) -> String {
    let word = said.rsplit(' ').next().unwrap_or_default();
    format!("`{word}`: {said} (in [facts], or the target of a card)")
}

fn unknown_zone(zone: &str) -> String {
    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    format!("unknown zone `{zone}`{}", hint(near(zone, known)))
}

/// The zone of a set, whose name is looked at too.
fn zone(set: &SetText, findings: &mut Findings<'_>) -> Option<Tz> {
    if !rule::is_short(&set.id) {
        findings.of_set("id: 1 to 500 bytes, and no control characters");
    }
    let zone = set.zone.parse().ok();
    if zone.is_none() {
        findings.of_set(unknown_zone(&set.zone));
    }
    zone
}

pub(crate) fn build(sources: &Sources) -> Result<TenantPolicies, PolicyErrors> {
    let mut findings = Findings(Vec::new(), &sources.set_toml);
    let (set, types, asked) = set_text(sources, &mut findings)?;
    let zone = zone(&set, &mut findings);
    let cards = cards(sources, &mut findings);
    let text = schema_text(cards.values().map(AsRef::as_ref), &types);
    let schema = Schema::from_cedarschema_str(&text);
    let (rules, policies) = policies(sources, &mut findings);
    let schema = match schema {
        Ok((schema, _)) if findings.0.is_empty() => schema,
        Ok(_) => return Err(PolicyErrors(findings.0)),
        Err(error) => {
            findings.of_set(unknown_type(&error.to_string()));
            return Err(PolicyErrors(findings.0));
        }
    };
    let all = validated((sources, &cards), &policies, &schema, &mut findings);
    let entities = entities(sources, (&schema, &types, &asked), &mut findings);
    let slices = slices(
        &cards,
        (&rules, &policies),
        (&schema, &asked),
        &mut findings,
    );
    let ground = Ground {
        cards: &cards,
        facts: &types,
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
    let zone = zone.ok_or(PolicyErrors(Vec::new()))?;
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
        asked,
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
    findings: &mut Findings<'_>,
) -> Vec<IncidentRule> {
    let mut rules: Vec<IncidentRule> = Vec::new();
    let mut wrong = |message: String| findings.of_set(message);
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
    findings: &mut Findings<'_>,
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
        // What is quoted behind the name of the budget, or its beginning.
        let own = file.get(text.span().start..).unwrap_or_default();
        let own = own
            .get(..own.find("\n[").unwrap_or(own.len()))
            .unwrap_or_default();
        let mut words = why.split('`').skip(1).step_by(2).skip(1);
        let inside = words.find_map(|word| own.find(&format!("\"{word}\"")));
        let at = text.span().start.saturating_add(inside.unwrap_or_default());
        let at = Some(Place::at(file, at));
        findings.add_at(Reason::PolicyInvalid, "set.toml", why, at);
    }
    budgets
}

fn cards(sources: &Sources, findings: &mut Findings<'_>) -> BTreeMap<ActionName, Arc<Card>> {
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
                let at = error.at.map(|at| Place::at(text, at));
                findings.add_at(error.reason, &path, error, at);
            }
        }
    }
    cards
}

type Rules = BTreeMap<String, Rule>;

fn policies(sources: &Sources, findings: &mut Findings<'_>) -> (Rules, Vec<(String, Policy)>) {
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
                unparsed((file, text), &errors, findings);
                continue;
            }
        };
        if parsed.templates().next().is_some() {
            let message =
                "templates (?principal, ?resource) are not supported: write a rule for each case";
            let at = Place::of(text, "?principal").or_else(|| Place::of(text, "?resource"));
            findings.add_at(Reason::PolicyInvalid, file, message, at);
        }
        let starts = bounds::starts(text);
        let mut own: Vec<&Policy> = parsed.policies().collect();
        own.sort_by_key(|policy| number_of(policy));
        for policy in own {
            let number = number_of(policy);
            let start = starts.get(number).copied().unwrap_or_default();
            let end = starts.get(number.saturating_add(1)).copied();
            match Rule::read(policy) {
                Ok((id, _)) if rules.contains_key(&id) => {
                    let at = Some(Place::at(text, start));
                    let first = first_place(sources, &policies, &id);
                    let message = format!("rule `{id}` is there twice, first in {first}");
                    findings.add_at(Reason::PolicyInvalid, file, message, at);
                }
                Ok((id, rule)) => {
                    policies.push((file.clone(), policy.new_id(PolicyId::new(&id))));
                    rules.insert(id, rule);
                }
                Err(message) => {
                    let at = Some(Place::at(
                        text,
                        quoted_within(text, start..end.unwrap_or(text.len()), &message),
                    ));
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

/// Why a file is no set of rules.
fn unparsed((file, text): (&str, &str), errors: &ParseErrors, findings: &mut Findings<'_>) {
    // Most likely the quote is forgotten, and Cedar complains of whatever comes later.
    if let Some(at) = bounds::open_text(text) {
        let at = Some(Place::at(text, at));
        let message = "a text begins here and is not closed in its line";
        findings.add_at(Reason::PolicyInvalid, file, message, at);
    }
    for error in errors.iter() {
        let at = place_in(text, error);
        findings.add_at(Reason::PolicyInvalid, file, said(error), at);
    }
}

/// The place of a rule in its file: Cedar numbers those that it reads.
fn number_of(policy: &Policy) -> usize {
    let id: &str = policy.id().as_ref();
    let number = id
        .strip_prefix("policy")
        .and_then(|number| number.parse().ok());
    number.unwrap_or_default()
}

/// File and line of the first rule of a name.
fn first_place(sources: &Sources, policies: &[(String, Policy)], id: &str) -> String {
    let file = file_of(policies, id);
    let text = sources.policies.iter().find(|(name, _)| name == file);
    let place = text.and_then(|(_, text)| Place::of(text, &format!("@id(\"{id}\")")));
    format!("{file}:{}", place.map_or(0, |place| place.line))
}

/// Where the first thing stands that a message quotes, within a rule. The name of the rule says which one
/// it is, not what is wrong with it.
fn quoted_within(text: &str, rule: Range<usize>, message: &str) -> usize {
    let start = rule.start;
    let own = text.get(rule).unwrap_or_default();
    let named = usize::from(message.starts_with("rule `"));
    let mut words = message.split('`').skip(1).step_by(2).skip(named);
    let found = words.find_map(|word| own.find(word));
    start.saturating_add(found.unwrap_or_default())
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
    (sources, cards): (&Sources, &BTreeMap<ActionName, Arc<Card>>),
    policies: &[(String, Policy)],
    schema: &Schema,
    findings: &mut Findings<'_>,
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
        let said = of_argument(said(error), cards);
        findings.add_at(Reason::PolicyInvalid, file, said, at);
    }
    all
}
