//! From TOML text to a checked card. Unknown keys, missing owners and unbounded texts end here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::kind::{ArgText, args};
use super::pilot::{self, PilotText};
use super::rules::{Caps, CapsText, DemotionText, HoursText, IdentifyText, IntentText};
use super::sight::SightText;
use super::verb::{self, VERBS};
use super::{Arg, ArgKind, Card, CardError, Risk, Rollout, Tier, Verb};
use crate::ids::{ActionName, ConnectionId};
use crate::limits::CARD_BYTES_MAX;
use crate::reason::Reason;
use crate::toml_flaw::{flaw, place_of};
use crate::value::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardText {
    name: String,
    sentence: String,
    connection: String,
    verb: String,
    target: String,
    owner: String,
    risk: String,
    tier: String,
    undo: String,
    rollback_minutes: u32,
    approver: String,
    #[serde(default)]
    rollout: Option<String>,
    #[serde(default)]
    rollout_max: Option<String>,
    rollback_window: String,
    caps: CapsText,
    #[serde(default)]
    args: BTreeMap<String, ArgText>,
    #[serde(default)]
    precondition: PreconditionText,
    hours: Option<HoursText>,
    identify: Option<IdentifyText>,
    read: Option<SightText>,
    customer: Option<String>,
    demote: Option<DemotionText>,
    pilot: Option<PilotText>,
    intent: Option<IntentText>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PreconditionText {
    #[serde(default)]
    when: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    version: Option<String>,
}

pub(super) fn invalid(detail: impl Into<String>) -> CardError {
    CardError {
        reason: Reason::CardInvalid,
        detail: detail.into(),
        at: None,
    }
}

/// What the text has wrong as TOML.
fn of_toml(error: &toml::de::Error) -> CardError {
    let flaw = flaw(error);
    CardError {
        at: flaw.at,
        ..invalid(flaw.message)
    }
}

pub(super) fn parse(text: &str) -> Result<Card, CardError> {
    if text.len() > CARD_BYTES_MAX {
        return Err(invalid(format!(
            "the card is longer than {CARD_BYTES_MAX} bytes"
        )));
    }
    let table: toml::Table = toml::from_str(text).map_err(|error| of_toml(&error))?;
    let content = content(&toml::Value::Table(table.clone()))?;
    let card: CardText = toml::from_str(text).map_err(|error| of_toml(&error))?;
    build(card, Card::content_digest(&content)).map_err(|error| CardError {
        at: place_of(text, &error.detail),
        ..error
    })
}

fn content(value: &toml::Value) -> Result<Value, CardError> {
    match value {
        toml::Value::String(text) => Ok(Value::Text(text.clone())),
        toml::Value::Integer(number) => Ok(Value::Int(*number)),
        toml::Value::Boolean(truth) => Ok(Value::Bool(*truth)),
        toml::Value::Array(items) => Ok(Value::List(
            items.iter().map(content).collect::<Result<_, _>>()?,
        )),
        toml::Value::Table(table) => {
            let mut map = Map::new();
            for (key, value) in table {
                map.set(key, content(value)?);
            }
            Ok(Value::Map(map))
        }
        toml::Value::Float(_) => Err(invalid("write amounts as text, such as \"250.00\"")),
        toml::Value::Datetime(_) => Err(invalid("write days as text, such as \"2026-01-31\"")),
    }
}

pub(super) fn pick<T: Copy>(what: &str, found: &str, table: &[(&str, T)]) -> Result<T, CardError> {
    let hit = table
        .iter()
        .find(|(name, _)| *name == found)
        .map(|(_, value)| *value);
    hit.ok_or_else(|| {
        let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
        let near = names
            .iter()
            .min_by_key(|name| strsim::levenshtein(name, found));
        let hint = near
            .map(|name| format!("; did you mean `{name}`?"))
            .unwrap_or_default();
        invalid(format!(
            "{what} `{found}` is not one of {}{hint}",
            names.join(", ")
        ))
    })
}

const ROLLOUTS: &[(&str, Rollout)] = &[
    ("suggest", Rollout::Suggest),
    ("dry_run", Rollout::DryRun),
    ("pilot", Rollout::Pilot),
    ("live", Rollout::Live),
];
const RISKS: &[(&str, Risk)] = &[
    ("low", Risk::Low),
    ("medium", Risk::Medium),
    ("high", Risk::High),
];
const TIERS: &[(&str, Tier)] = &[
    ("reversible", Tier::Reversible),
    ("compensable", Tier::Compensable),
    ("irreversible", Tier::Irreversible),
];

fn build(card: CardText, digest: [u8; 32]) -> Result<Card, CardError> {
    check_texts(&card)?;
    let rollout = pick(
        "rollout",
        card.rollout.as_deref().unwrap_or("dry_run"),
        ROLLOUTS,
    )?;
    let furthest = card.rollout_max.as_deref().unwrap_or("dry_run");
    let rollout_max = pick("rollout_max", furthest, ROLLOUTS)?;
    let (risk, tier) = (
        pick("risk", &card.risk, RISKS)?,
        pick("tier", &card.tier, TIERS)?,
    );
    if rollout > rollout_max {
        return Err(invalid("rollout is further than rollout_max"));
    }
    let verb = pick("verb", &card.verb, VERBS)?;
    check_tier(tier, verb, rollout_max)?;
    if risk == Risk::Low && card.rollback_minutes > 60 {
        return Err(invalid("low risk with more than 60 rollback_minutes"));
    }
    let version_required = match card.precondition.version.as_deref() {
        None => false,
        Some("required") => true,
        Some(_) => return Err(invalid("precondition.version is \"required\" or absent")),
    };
    let args = args(card.args)?;
    let identify = identify(card.identify, &args)?;
    let caps = card.caps.check()?;
    check_caps(&caps, &args, card.customer.is_some())?;
    let card = Card {
        name: ActionName::parse(&card.name).map_err(|error| invalid(error.to_string()))?,
        sentence: card.sentence,
        connection: ConnectionId::parse(&card.connection)
            .map_err(|error| invalid(error.to_string()))?,
        verb,
        target: card.target,
        owner: card.owner,
        risk,
        tier,
        undo: card.undo,
        rollback_minutes: card.rollback_minutes,
        approver: card.approver,
        rollout,
        rollout_max,
        rollback_window_seconds: window("rollback_window", &card.rollback_window)?,
        caps,
        hours: card.hours.as_ref().map(HoursText::check).transpose()?,
        identify,
        customer: card.customer,
        demotion: card.demote.as_ref().map(DemotionText::check).transpose()?,
        pilot: card.pilot.as_ref().map(PilotText::check).transpose()?,
        intent: card.intent.map(|intent| intent.check(&args)).transpose()?,
        args,
        when: card.precondition.when,
        version_required,
        sight: card.read.map(SightText::check).transpose()?,
        digest,
    };
    verb::check(&card)?;
    pilot::check(&card)?;
    Ok(card)
}

/// Refuses a tier that the verb or `rollout_max` contradicts.
fn check_tier(tier: Tier, verb: Verb, furthest: Rollout) -> Result<(), CardError> {
    if tier == Tier::Reversible && !verb.sets_fields() && !verb.reads() {
        return Err(invalid(format!(
            "verb `{}` adds something that Writ cannot take back: tier is compensable or irreversible",
            verb.name()
        )));
    }
    if tier == Tier::Irreversible && furthest.writes() {
        return Err(invalid(format!(
            "tier = \"irreversible\" is executed by a person, so rollout_max is suggest or dry_run, and not {}",
            furthest.name()
        )));
    }
    Ok(())
}

/// A ceiling that would count nothing is refused.
fn check_caps(
    caps: &Caps,
    args: &BTreeMap<String, Arg>,
    has_customer: bool,
) -> Result<(), CardError> {
    let mut moneys = args
        .values()
        .filter(|arg| matches!(arg.kind, ArgKind::Money { .. }));
    let counts_money = caps.amount_per_day.is_some()
        || caps.amount_per_run.is_some()
        || caps.amount_per_record.is_some();
    let first = moneys.next().is_some_and(|arg| !arg.optional);
    if counts_money && (!first || moneys.next().is_some()) {
        return Err(invalid(
            "a cap on amounts needs exactly one argument of type money, not optional",
        ));
    }
    if caps.records_per_customer_per_day.is_some() && !has_customer {
        return Err(invalid(
            "a cap by customer needs `customer`, the field that names the customer",
        ));
    }
    Ok(())
}

fn check_texts(card: &CardText) -> Result<(), CardError> {
    for (key, text) in [
        ("sentence", &card.sentence),
        ("owner", &card.owner),
        ("undo", &card.undo),
        ("approver", &card.approver),
    ] {
        if text.trim().is_empty() {
            return Err(invalid(format!(
                "`{key}` is empty; a card without it is refused"
            )));
        }
    }
    if ActionName::parse(&card.target).is_err() {
        return Err(invalid(format!(
            "target `{}` is not an object type",
            card.target
        )));
    }
    Ok(())
}

/// Signals name arguments that every call has and that are not written.
fn identify(
    text: Option<IdentifyText>,
    args: &BTreeMap<String, Arg>,
) -> Result<Vec<String>, CardError> {
    let Some(IdentifyText { by }) = text else {
        return Ok(Vec::new());
    };
    let named: BTreeSet<&String> = by.iter().collect();
    if named.len() != by.len() || by.len() < 2 {
        return Err(invalid("identify.by names two or more different arguments"));
    }
    for name in &by {
        let is_text = |arg: &&Arg| {
            matches!(
                arg.kind,
                ArgKind::Text { .. } | ArgKind::Reference { .. } | ArgKind::Choice { .. }
            )
        };
        let arg = args.get(name).filter(is_text);
        if arg.is_none_or(|arg| arg.optional) {
            return Err(invalid(format!(
                "identify.by: `{name}` must be an argument that is a text and not optional"
            )));
        }
    }
    Ok(by)
}

/// A time such as `24h`, in seconds: a minute to 30 days.
pub(super) fn window(key: &str, text: &str) -> Result<u32, CardError> {
    crate::duration::seconds_of(text)
        .ok()
        .filter(|seconds| (60..=crate::limits::UNDO_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| {
            invalid(format!(
                "{key} is like \"30m\", \"24h\" or \"7d\", at most 30 days"
            ))
        })
}
