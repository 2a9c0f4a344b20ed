//! What a set says that Cedar accepts and that is most likely a slip: names that nothing has, values
//! that nothing can be, ranges that hold nothing. A warning never keeps a set out of force;
//! `policyd check --deny-warnings` refuses it.

mod bands;
mod expression;

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};
use serde_json::Value as Json;
use writ_proto::Reason;
use writ_proto::card::{ArgKind, Card};
use writ_proto::ids::ActionName;
use writ_proto::limits::TOOL_NAME_CHARS_MAX;

use crate::domain::policy::TenantPolicies;
use crate::domain::policy::finding::{Finding, Place};
use crate::domain::policy::sources::Sources;
use expression::{Comparison, Literal, asked_for, comparisons, conditions, entities};

pub use bands::Gap;
pub(in crate::domain::policy) use expression::attributes;

/// How many letters may differ in what is taken for a slip: one in short words.
const NEAR: usize = 2;
const SHORT: usize = 6;
const ROLE: &str = "Role";

/// A word that another one is the beginning of, or nearly is.
fn same_stem<'a>(word: &str, other: &'a str) -> Option<&'a str> {
    let (a, b) = (word.to_lowercase(), other.to_lowercase());
    let part = a.len() > NEAR && (b.starts_with(&a) || a.starts_with(&b));
    near(word, [other]).or(part.then_some(other))
}

/// The name that was most likely meant.
pub(in crate::domain) fn near<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |other: &&str| strsim::osa_distance(&word.to_lowercase(), &other.to_lowercase());
    let best = known
        .into_iter()
        .filter(|other| *other != word)
        .min_by_key(distance)?;
    let most = if word.chars().count() < SHORT {
        1
    } else {
        NEAR
    };
    (distance(&best) <= most).then_some(best)
}

pub(in crate::domain) fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(". Did you mean `{near}`?"))
}

struct Lint<'a> {
    sources: &'a Sources,
    set: &'a TenantPolicies,
    /// Names of entities by type, with the roles that they are in.
    known: BTreeMap<String, BTreeSet<String>>,
    /// Names that rules compare with, by type.
    named: BTreeMap<String, BTreeSet<String>>,
    /// The rules that concern each action.
    rules: BTreeMap<&'a ActionName, BTreeSet<String>>,
    out: Vec<Finding>,
}

/// Warnings of one set that are told.
const WARNINGS_MAX: usize = 200;
/// Most names that unknown parents are compared with.
const COMPARED_MAX: usize = 5_000_000;

fn known(set: &TenantPolicies) -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |uid: &EntityUid| {
        let names = known.entry(uid.type_name().to_string()).or_default();
        names.insert(uid.id().unescaped().to_owned());
    };
    for (uid, entity) in &set.entities {
        add(uid);
        entity.clone().into_inner().2.iter().for_each(&mut add);
    }
    known
}

fn rules_of(set: &TenantPolicies) -> BTreeMap<&ActionName, BTreeSet<String>> {
    let ids = |slice: &crate::domain::policy::Slice| {
        let phases = slice.phases.iter();
        let policies = phases.flat_map(|(_, policies)| policies.policies());
        policies.map(|policy| policy.id().to_string()).collect()
    };
    set.slices
        .iter()
        .map(|(action, slice)| (action, ids(slice)))
        .collect()
}

/// Everything that looks like a slip, in the order of the rules.
pub(crate) fn lint(set: &TenantPolicies, sources: &Sources) -> Vec<Finding> {
    let mut lint = Lint {
        sources,
        set,
        known: known(set),
        named: BTreeMap::new(),
        rules: rules_of(set),
        out: Vec::new(),
    };
    let mut rules: Vec<&Policy> = set.all.policies().collect();
    rules.sort_by(|a, b| a.id().cmp(b.id()));
    for policy in rules {
        lint.rule(policy);
    }
    lint.roles_of_approvers();
    lint.cards();
    lint.parents();
    lint.out
}

impl Lint<'_> {
    /// A warning about a rule, at the first place behind its id where a word stands.
    fn warn(&mut self, rule: &str, word: &str, message: &str) {
        if self.out.len() >= WARNINGS_MAX {
            return;
        }
        let id = format!("@id(\"{rule}\")");
        let policies = &self.sources.policies;
        let found = policies.iter().find_map(|(file, text)| {
            let start = text.find(&id)?;
            let rest = text.get(start..).unwrap_or_default();
            let at = start.saturating_add(rest.find(word).unwrap_or_default());
            Some((file.clone(), Place::at(text, at)))
        });
        let (file, at) = found.map_or(("policies".to_owned(), None), |(file, at)| (file, Some(at)));
        self.out.push(Finding {
            reason: Reason::PolicyInvalid,
            file,
            message: format!("rule `{rule}`: {message}"),
            at,
        });
    }

    fn rule(&mut self, policy: &Policy) {
        let id = policy.id().to_string();
        let Ok(json) = policy.to_json() else { return };
        for (kind, name) in entities(&json) {
            self.entity(&id, &kind, &name);
        }
        for attribute in asked_for(&json) {
            self.asked_for(&id, &attribute);
        }
        let when = conditions(&json);
        for comparison in when.iter().flat_map(comparisons) {
            self.compared(&id, &comparison);
        }
        if policy.effect() == Effect::Permit && bands::is_impossible(&json) {
            let message = "its conditions contradict each other, so it never permits anything";
            self.warn(&id, "when", message);
        }
        if policy.effect() == Effect::Forbid && bands::is_impossible(&json) {
            let message = "its conditions contradict each other, so it never forbids anything";
            self.warn(&id, "when", message);
        }
        let anybody = policy.principal_constraint() == PrincipalConstraint::Any
            && policy.action_constraint() == ActionConstraint::Any
            && policy.resource_constraint() == ResourceConstraint::Any;
        let unconditional = json
            .get("conditions")
            .and_then(Json::as_array)
            .is_none_or(Vec::is_empty);
        if policy.effect() == Effect::Permit && anybody && unconditional {
            let message = "it permits every action on every record to every agent";
            self.warn(&id, "permit", message);
        }
    }

    /// A name that no entity has. A forbid over a role that is misspelt forbids nothing.
    fn entity(&mut self, rule: &str, kind: &str, name: &str) {
        if kind == "Action" {
            return;
        }
        let named = self.named.entry(kind.to_owned()).or_default();
        named.insert(name.to_owned());
        let none = BTreeSet::new();
        let known = self.known.get(kind).unwrap_or(&none);
        if known.contains(name) {
            return;
        }
        let near = near(name, known.iter().map(String::as_str)).map(str::to_owned);
        // A role that nobody has is a rule that never applies; a record or an agent may be known elsewhere.
        if kind != ROLE && near.is_none() {
            return;
        }
        let message = format!(
            "entities.json has no {kind}::\"{name}\"{}",
            hint(near.as_deref())
        );
        self.warn(rule, &format!("\"{name}\""), &message);
    }

    /// Warns of a parent that is neither an entity nor named by a rule, but is spelt nearly like one: a rule that forbids
    /// something to the role that was meant passes over whoever has it.
    fn parents(&mut self) {
        let all = &self.set.entities;
        let (mut seen, mut told): (BTreeSet<EntityUid>, usize) = (BTreeSet::new(), 0);
        let mut left = COMPARED_MAX;
        for entity in all.values() {
            let parents: BTreeSet<EntityUid> = entity.clone().into_inner().2.into_iter().collect();
            for parent in parents {
                let id = parent.id().unescaped().to_owned();
                let kind = parent.type_name().to_string();
                let of_rules = self.named.get(&kind);
                let is_known = all.contains_key(&parent) || !seen.insert(parent.clone());
                let count = all.len().saturating_add(of_rules.map_or(0, BTreeSet::len));
                if told >= WARNINGS_MAX || is_known || left < count {
                    continue;
                }
                left = left.saturating_sub(count);
                // One that a rule names may be meant; it is a slip where it is nearly one that is declared.
                let is_named = of_rules.is_some_and(|names| names.contains(&id));
                let of_rules = of_rules.filter(|_| !is_named);
                let same = all
                    .keys()
                    .filter(|uid| uid.type_name() == parent.type_name());
                let of_rules = of_rules.into_iter().flatten().map(String::as_str);
                let names: Vec<&str> = same
                    .map(|uid| uid.id().unescaped())
                    .chain(of_rules)
                    .collect();
                if let Some(near) = near(&id, names) {
                    told = told.saturating_add(1);
                    let text = &self.sources.entities_json;
                    let (child, hint) = (entity.uid(), hint(Some(near)));
                    self.out.push(Finding {
                        reason: Reason::PolicyInvalid,
                        file: "entities.json".to_owned(),
                        message: if is_named {
                            format!("{child} has the parent `{id}`, as a rule names it, and this file declares {kind} `{near}`: one of the two is misspelt")
                        } else {
                            format!("{child} has the parent `{id}`, and no {kind} of this file or of a rule is named so{hint}")
                        },
                        at: Place::of(text, &id),
                    });
                }
            }
        }
    }

    /// An attribute that nothing has: `has` with a slip in it is false for everything, and Cedar does not mind.
    fn asked_for(&mut self, rule: &str, attribute: &str) {
        // Every second part of the schema stands in quotes.
        let known: BTreeSet<&str> = self.set.schema_text.split('"').skip(1).step_by(2).collect();
        if known.contains(attribute) {
            return;
        }
        let near = near(attribute, known.iter().copied()).map(str::to_owned);
        let message = format!(
            "no agent, record or request has `{attribute}`{}",
            hint(near.as_deref())
        );
        self.warn(rule, attribute, &message);
    }

    /// The choices of an argument in the actions that a rule is about; none where it is free.
    fn choices(&self, rule: &str, arg: &str) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for card in self.set.cards() {
            if !self.concerns(rule, &card.name) {
                continue;
            }
            match card.args.get(arg).map(|arg| &arg.kind) {
                Some(ArgKind::Choice { values }) => all.extend(values.iter().cloned()),
                Some(_) => return None,
                None => {}
            }
        }
        (!all.is_empty()).then_some(all)
    }

    fn concerns(&self, rule: &str, action: &ActionName) -> bool {
        self.rules
            .get(action)
            .is_some_and(|rules| rules.contains(rule))
    }

    fn compared(&mut self, rule: &str, comparison: &Comparison) {
        let Literal::Text(value) = &comparison.value else {
            return;
        };
        let path: Vec<&str> = comparison.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["context", "environment"] if *value != self.set.environment => {
                let own = self.set.environment.clone();
                if comparison.op == "==" && same_stem(value, &own).is_some() {
                    let message = format!(
                        "it compares the environment with \"{value}\", but set.toml says environment = \"{own}\""
                    );
                    self.warn(rule, &format!("\"{value}\""), &message);
                }
            }
            ["context", "mode"] if !["execute", "dry_run"].contains(&value.as_str()) => {
                let near = same_stem(value, "execute").or_else(|| same_stem(value, "dry_run"));
                let message = format!("there is no mode \"{value}\"{}", hint(near));
                self.warn(rule, &format!("\"{value}\""), &message);
            }
            ["context", "args", arg] => {
                let Some(known) = self
                    .choices(rule, arg)
                    .filter(|known| !known.contains(value))
                else {
                    return;
                };
                let near = near(value, known.iter().map(String::as_str));
                let message = format!("`{arg}` is never \"{value}\"{}", hint(near));
                self.warn(rule, &format!("\"{value}\""), &message);
            }
            _ => {}
        }
    }

    /// A role of approvers that only one rule names, a letter away from one that others name.
    fn roles_of_approvers(&mut self) {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, rule) in self.set.rules() {
            if let Some(need) = &rule.approval {
                named
                    .entry(need.role.clone())
                    .or_default()
                    .push(id.to_owned());
            }
        }
        // Cards name who decides exceptions: the same people.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let cards = self
            .set
            .cards()
            .filter_map(|card| card.approver.strip_prefix("role:"));
        let rules = named
            .iter()
            .flat_map(|(role, rules)| rules.iter().map(move |_| role.as_str()));
        for role in cards.chain(rules) {
            let count = counts.entry(role).or_default();
            *count = count.saturating_add(1);
        }
        let meant = |role: &str| {
            let own = counts.get(role).copied().unwrap_or_default();
            let more = counts.iter().filter(|(_, count)| own == 1 && **count > own);
            near(role, more.map(|(role, _)| *role))
        };
        for (role, rules) in &named {
            let (Some(near), [rule]) = (meant(role), rules.as_slice()) else {
                continue;
            };
            let message = format!("only this rule asks the role `{role}`{}", hint(Some(near)));
            self.warn(rule, role, &message);
        }
        let set = self.set;
        for card in set.cards() {
            let role = card.approver.strip_prefix("role:").unwrap_or_default();
            if let Some(near) = meant(role) {
                let message = format!("only this card names the role `{role}`{}", hint(Some(near)));
                self.of_card(card.name.as_str(), role, message);
            }
        }
    }

    fn cards(&mut self) {
        let set = self.set;
        let mut connections: BTreeMap<&str, usize> = BTreeMap::new();
        for card in set.cards() {
            let count = connections.entry(card.connection.as_str()).or_default();
            *count = count.saturating_add(1);
        }
        for card in set.cards() {
            let own = card.connection.as_str();
            let uses = connections.get(own).copied().unwrap_or_default();
            let more = connections.iter().filter(|(_, count)| **count > uses);
            // `erp/main` beside `crm/main` is another system: only one part may differ, by a letter.
            let close = |other: &str| {
                let parts = own.split('/').zip(other.split('/'));
                let differ = parts.filter(|(a, b)| a != b);
                let lengths = own.matches('/').count() == other.matches('/').count();
                lengths
                    && differ.clone().count() == 1
                    && differ
                        .into_iter()
                        .all(|(a, b)| strsim::osa_distance(a, b) == 1)
            };
            let more = more.map(|(name, _)| *name).filter(|name| close(name));
            if let Some(near) = more.into_iter().next() {
                let message = format!("only this card acts on `{own}`{}", hint(Some(near)));
                self.of_card(card.name.as_str(), own, message);
            }
            self.names_of(card);
            let name = card.name.as_str();
            if name.len() > TOOL_NAME_CHARS_MAX {
                let message = format!(
                    "`{name}` has {} characters; with --tools per-card it gets no tool, because MCP clients take 64 with `mcp__writ__` before it \
                     ({TOOL_NAME_CHARS_MAX} at most)",
                    name.len()
                );
                self.of_card(name, name, message);
            }
            for (field, values) in &card.when {
                let written = set.cards().filter(|other| other.target == card.target);
                let choices = written.filter_map(|other| match &other.args.get(field)?.kind {
                    ArgKind::Choice { values } => Some(values),
                    _ => None,
                });
                let known: BTreeSet<&str> = choices.flatten().map(String::as_str).collect();
                let strange = values
                    .iter()
                    .filter(|value| !known.contains(value.as_str()));
                for value in strange.filter(|_| !known.is_empty()) {
                    let Some(near) = near(value, known.iter().copied()) else {
                        continue;
                    };
                    let message =
                        format!("`{field}` is never set to \"{value}\"{}", hint(Some(near)));
                    self.of_card(card.name.as_str(), value, message);
                }
            }
        }
    }

    /// A kind of record, or a field of it, that only this card names and that is a letter away from one
    /// that others name.
    fn names_of(&mut self, card: &Card) {
        let (set, name) = (self.set, card.name.as_str());
        let target = &card.target;
        let others = || set.cards().filter(|other| other.name != card.name);
        let targets: BTreeSet<&str> = others().map(|card| card.target.as_str()).collect();
        if let Some(near) = near(
            target,
            targets
                .iter()
                .copied()
                .filter(|_| !targets.contains(target.as_str())),
        ) {
            let message = format!("only this card acts on a `{target}`{}", hint(Some(near)));
            self.of_card(name, target, message);
        }
        let same = set.cards().filter(|other| other.target == card.target);
        let fields: BTreeSet<&str> = same
            .flat_map(|card| card.args.keys())
            .map(String::as_str)
            .collect();
        for field in card
            .when
            .keys()
            .filter(|field| !fields.contains(field.as_str()))
        {
            if let Some(near) = near(field, fields.iter().copied()) {
                let message = format!("no card writes `{field}`{}", hint(Some(near)));
                self.of_card(name, field, message);
            }
        }
    }

    fn of_card(&mut self, card: &str, word: &str, message: String) {
        let file = format!("{card}.toml");
        let text = self.sources.cards.iter().find(|(name, _)| *name == file);
        self.out.push(Finding {
            reason: Reason::CardInvalid,
            file: format!("actions/{file}"),
            message,
            at: text.and_then(|(_, text)| {
                Place::of(text, &format!("\"{word}\"")).or_else(|| Place::of(text, word))
            }),
        });
    }
}

impl TenantPolicies {
    /// Amounts of which no rule speaks though rules speak of smaller and of larger ones.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (action, slice) in &self.slices {
            let last = slice.phases.last();
            let policies = last
                .into_iter()
                .flat_map(|(_, policies)| policies.policies());
            let rules: Vec<(Effect, Json)> = policies
                .filter_map(|policy| Some((policy.effect(), policy.to_json().ok()?)))
                .collect();
            gaps.extend(bands::gaps(action, &rules));
        }
        gaps
    }
}

#[cfg(test)]
mod tests;
