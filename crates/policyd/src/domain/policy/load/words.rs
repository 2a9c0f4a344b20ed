//! What Cedar says of a set, with what was probably meant.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use writ_proto::card::Card;
use writ_proto::ids::ActionName;

use crate::domain::policy::lint::near;
use crate::domain::policy::schema::{FactTypes, entity_type};

/// What Cedar says, with its own hint where that is near, and with ours where a rule is not ended.
pub(super) fn said(error: &(impl miette::Diagnostic + Display)) -> String {
    let text = error.to_string();
    let hint = error.help().map(|help| help.to_string());
    let hint = hint.filter(|help| is_near(&text, help));
    let own = match text.as_str() {
        "unexpected token `@`" => Some("the rule before it may lack its `;`"),
        "unexpected end of input" => Some("a rule ends with `;`"),
        _ if hint.is_none() && text.contains("unrecognized action") => {
            Some("an action is the name of a card, or verb:VERB, risk:RISK, \"read\" or \"write\"")
        }
        _ => None,
    };
    match hint.as_deref().or(own) {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

/// Whether what Cedar thinks was meant is at all like what was written.
fn is_near(text: &str, help: &str) -> bool {
    let Some(meant) = help.strip_prefix("did you mean `") else {
        return true;
    };
    let (meant, written) = (meant.split('`').next(), text.rsplit('`').nth(1));
    match (meant, written) {
        (Some(meant), Some(written)) => near(written, [meant]).is_some(),
        _ => true,
    }
}

/// With the arguments of the card, where a rule names one that it does not have.
pub(super) fn of_argument(said: String, cards: &BTreeMap<ActionName, Arc<Card>>) -> String {
    let named = said.split_once("attribute `args.").and_then(|(_, rest)| {
        let (arg, rest) = rest.split_once('`')?;
        let (_, rest) = rest.split_once("Action::\"")?;
        Some((arg, rest.split_once('"')?.0))
    });
    let card = named.and_then(|(arg, action)| {
        let mut all = cards.iter();
        let found = all.find(|(name, _)| name.as_str() == action);
        found.map(|(_, card)| (arg, action, card))
    });
    let Some((arg, action, card)) = card else {
        return said;
    };
    let names = card.args.keys().map(String::as_str);
    match near(arg, names) {
        Some(meant) => format!("{said}; actions/{action}.toml calls it `{meant}`"),
        None => format!("{said}; actions/{action}.toml has no such argument"),
    }
}

/// The attribute that every entity but a role has.
const TENANT: &str = "tenant";

/// Of facts that entities have and the set does not declare: the table that was probably meant.
pub(super) fn of_facts(said: &str, facts: &FactTypes) -> Option<String> {
    let (before, rest) = said.split_once(" on `")?;
    let kind = rest.split_once("::")?.0;
    let attribute = before.rsplit('`').nth(1).unwrap_or_default();
    if said.contains("should not exist") && near(TENANT, [attribute]).is_some() {
        return Some(format!("did you mean `{TENANT}`?"));
    }
    if !said.contains("should not exist") || facts.keys().any(|known| entity_type(known) == kind) {
        return None;
    }
    let mut tables = facts.keys();
    let meant = tables.find(|known| near(&entity_type(known), [kind]).is_some());
    Some(match meant {
        Some(meant) => format!("set.toml has no [facts] of {kind}, but [facts.{meant}]"),
        None => format!("set.toml has no [facts] of {kind}"),
    })
}
