//! `policyd actions`: what an action does and allows, and what one agent may do, from the files of a set.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::ids::ActionName;

use super::load;
use crate::clock;
use crate::domain::policy::{Rule, TenantPolicies};
use crate::error::AppError;
use crate::output::Output;

/// Reading sets.
#[derive(Debug, Subcommand)]
pub(crate) enum ActionsCommand {
    /// Every action, and which rules decide it.
    Ls(OfSet),
    /// One action on one page: the whole card and its rules.
    Show {
        #[command(flatten)]
        of: OfSet,
        /// Its name.
        action: String,
    },
}

/// Whose set, and for whom.
#[derive(Debug, Args)]
pub(crate) struct OfSet {
    /// One folder a tenant.
    #[arg(long, default_value = "policies")]
    dir: PathBuf,
    /// Which tenant; the only one if there is one.
    #[arg(long)]
    tenant: Option<String>,
    /// Only what can apply to this agent.
    #[arg(long)]
    agent: Option<String>,
}

/// What a rule can lead to.
fn leads_to(rule: &Rule) -> &'static str {
    match (rule.forbids, &rule.approval) {
        (true, _) => "can be forbidden by",
        (false, Some(_)) => "person decides by",
        (false, None) => "allowed by",
    }
}

/// Keys of a card that have a sentence of their own.
const TOLD: [&str; 14] = [
    "name",
    "sentence",
    "connection",
    "verb",
    "target",
    "owner",
    "risk",
    "tier",
    "undo",
    "rollback_minutes",
    "rollback_window",
    "approver",
    "rollout",
    "rollout_max",
];

/// What else a card says, a line a key: `caps.records_per_day = 100`.
fn flat(path: &str, value: &toml::Value, out: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                if !(path.is_empty() && TOLD.contains(&key.as_str())) {
                    flat(&inner, value, out);
                }
            }
        }
        value => out.push(format!("{path} = {value}")),
    }
}

fn card_lines(card: &Card, text: &str) -> Vec<String> {
    let mut lines = vec![
        format!("{}: {}", card.name, card.sentence),
        format!(
            "  {} on {} of {}; risk {}; owner {}; approver {}",
            card.verb.name(),
            card.target,
            card.connection.as_str(),
            card.risk.name(),
            card.owner,
            card.approver
        ),
        format!(
            "  tier {}; undo: {}; about {} min of work; possible for {} h",
            card.tier.name(),
            card.undo,
            card.rollback_minutes,
            card.rollback_window_seconds.div_ceil(3_600)
        ),
        format!(
            "  starts at {}, may be promoted to {}",
            card.rollout.name(),
            card.rollout_max.name()
        ),
    ];
    let mut rest = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        flat("", &toml::Value::Table(table), &mut rest);
    }
    lines.extend(rest.into_iter().map(|line| format!("  {line}")));
    lines
}

fn rule_line(id: &str, rule: &Rule) -> String {
    let approval = rule.approval.as_ref().map_or_else(String::new, |need| {
        format!(" ({} of role {})", need.quorum, need.role)
    });
    format!(
        "  {:<20} {id}: {}{approval}; owner {}, approved by {} on {}",
        leads_to(rule),
        rule.reason,
        rule.owner,
        rule.approved_by,
        rule.approved_on
    )
}

fn rule_json(id: &str, rule: &Rule) -> Json {
    json!({"id": id, "leads_to": leads_to(rule), "reason": rule.reason, "owner": rule.owner,
        "approved_by": rule.approved_by, "approved_on": rule.approved_on.to_string(), "text": rule.text})
}

/// The set that is asked about.
fn set_of<'a>(
    of: &OfSet,
    table: &'a crate::app::policies::PolicyTable,
) -> Result<&'a TenantPolicies, AppError> {
    let known: Vec<&str> = table.keys().map(|tenant| tenant.as_str()).collect();
    let (dir, known) = (of.dir.display(), known.join(", "));
    let meant = |set: &&TenantPolicies| {
        let named = of.tenant.as_deref();
        named.is_none_or(|tenant| set.tenant.as_str() == tenant)
    };
    let mut fits = table.values().map(|set| &**set).filter(meant);
    let Some(set) = fits.next() else {
        let tenant = of.tenant.as_deref().unwrap_or_default();
        let why = format!("{dir} holds no tenant `{tenant}`; it holds {known}");
        return Err(
            AppError::new(Reason::UnknownTenant, why).with_fix("name one of them with --tenant")
        );
    };
    if fits.next().is_some() {
        let why =
            format!("the folder {dir} has more than one tenant: name one with --tenant ({known})");
        return Err(AppError::new(Reason::RequestMalformed, why));
    }
    if let Some(agent) = &of.agent
        && !set.agents().any(|known| known == *agent)
    {
        let known: Vec<String> = set.agents().collect();
        let why = format!(
            "entities.json of {} names no agent {agent}; it names {}",
            set.tenant,
            known.join(", ")
        );
        return Err(AppError::new(Reason::NotFound, why));
    }
    Ok(set)
}

/// A line an action: which rules let it through, which ask a person, which never.
fn summary(set: &TenantPolicies, card: &Card, agent: Option<&str>) -> (String, Json) {
    let rules = set.concerning(&card.name, agent, clock::now());
    let mut text = format!("{:<20} {}", card.name.as_str(), card.sentence);
    for kind in ["allowed by", "person decides by", "can be forbidden by"] {
        let ids = rules.iter().filter(|(_, rule)| leads_to(rule) == kind);
        let ids: Vec<&str> = ids.map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            text.push_str(&format!("\n  {kind:<20} {}", ids.join(", ")));
        }
    }
    if rules.iter().all(|(_, rule)| rule.forbids) {
        text.push_str("\n  no rule allows it, so every request is denied");
    }
    let rules: Vec<Json> = rules.iter().map(|(id, rule)| rule_json(id, rule)).collect();
    let value = json!({"action": card.name.as_str(), "sentence": card.sentence, "rules": rules});
    (text, value)
}

pub(crate) fn run(command: &ActionsCommand, output: Output) -> Result<u8, AppError> {
    let (ActionsCommand::Ls(of) | ActionsCommand::Show { of, .. }) = command;
    let loaded = load(&of.dir, output)?;
    let set = set_of(of, &loaded.table)?;
    let agent = of.agent.as_deref();
    let ActionsCommand::Show { action, .. } = command else {
        for card in set.cards() {
            let (text, value) = summary(set, card, agent);
            output.line(&text, &value);
        }
        return Ok(0);
    };
    let named = ActionName::parse(action).ok();
    let card = named.and_then(|name| set.card(&name));
    let Some(card) = card else {
        let known: Vec<&str> = set.cards().map(|card| card.name.as_str()).collect();
        let why = format!(
            "{} has no action {action}; it has {}",
            set.tenant,
            known.join(", ")
        );
        return Err(AppError::new(Reason::UnknownAction, why));
    };
    // Every card lies in a file of its own name.
    let file = format!("{}.toml", card.name);
    let source = set.sources.cards.iter().find(|(name, _)| *name == file);
    let text = source.map_or("", |(_, text)| text.as_str());
    let rules = set.concerning(&card.name, agent, clock::now());
    let mut lines = card_lines(card, text);
    lines.push(match agent {
        Some(agent) => format!("rules that can apply to {agent}:"),
        None => "rules:".to_owned(),
    });
    lines.extend(rules.iter().map(|(id, rule)| rule_line(id, rule)));
    let rules: Vec<Json> = rules.iter().map(|(id, rule)| rule_json(id, rule)).collect();
    output.line(
        &lines.join("\n"),
        &json!({"action": action, "card": text, "rules": rules}),
    );
    Ok(0)
}
