//! From TOML text to a checked card. Unknown keys, missing owners and unbounded texts end here.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::arg::day;
use super::{Arg, ArgKind, Card, CardError, Risk, Rollout, Tier, Verb, WriteMode};
use crate::ids::{ActionName, ConnectionId};
use crate::limits::{CARD_ARGS_MAX, CARD_BYTES_MAX, LIST_ITEMS_MAX, STRING_BYTES_MAX};
use crate::money::minor_digits;
use crate::reason::Reason;
use crate::value::{Map, Value, minor_units, number_from_text};

const DAY_SECONDS: u32 = 86_400;

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
    args: BTreeMap<String, ArgText>,
    #[serde(default)]
    precondition: PreconditionText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapsText {
    records_per_day: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PreconditionText {
    #[serde(default)]
    when: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    version: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ArgText {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    write: Option<String>,
    #[serde(default)]
    effects: Vec<String>,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    currencies: Vec<String>,
    max_chars: Option<u32>,
    min: Option<Bound>,
    max: Option<Bound>,
    decimals: Option<u32>,
    pattern: Option<String>,
    of: Option<Box<ArgText>>,
    max_items: Option<u32>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Bound {
    Whole(i64),
    Text(String),
}

fn invalid(detail: impl Into<String>) -> CardError {
    CardError {
        reason: Reason::CardInvalid,
        detail: detail.into(),
    }
}

pub(super) fn parse(text: &str) -> Result<Card, CardError> {
    if text.len() > CARD_BYTES_MAX {
        return Err(invalid(format!(
            "the card is longer than {CARD_BYTES_MAX} bytes"
        )));
    }
    let table: toml::Table = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let content = content(&toml::Value::Table(table.clone()))?;
    let card: CardText =
        toml::from_str(text).map_err(|error| invalid(later(&error.to_string())))?;
    build(card, Card::content_digest(&content))
}

/// Names keys of the design that are not enforced yet for what they are.
fn later(message: &str) -> String {
    let planned = [
        "hours",
        "identify",
        "read",
        "evidence",
        "records_per_run",
        "spike",
    ];
    let named = planned
        .iter()
        .find(|key| message.contains(&format!("unknown field `{key}`")));
    match named {
        Some(key) => format!("`{key}` is not supported by this version, so it is not accepted"),
        None => message.to_owned(),
    }
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

fn pick<T: Copy>(what: &str, found: &str, table: &[(&str, T)]) -> Result<T, CardError> {
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

const VERBS: &[(&str, Verb)] = &[
    ("update_fields", Verb::UpdateFields),
    ("append_note", Verb::AppendNote),
    ("set_status", Verb::SetStatus),
    ("create_task", Verb::CreateTask),
    ("refund", Verb::Refund),
];
const ROLLOUTS: &[(&str, Rollout)] = &[
    ("suggest", Rollout::Suggest),
    ("dry_run", Rollout::DryRun),
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
    if tier == Tier::Irreversible && rollout_max == Rollout::Live {
        return Err(invalid(
            "an irreversible action is executed by a person: rollout_max = live",
        ));
    }
    if risk == Risk::Low && card.rollback_minutes > 60 {
        return Err(invalid("low risk with more than 60 rollback_minutes"));
    }
    let version_required = match card.precondition.version.as_deref() {
        None => false,
        Some("required") => true,
        Some(_) => return Err(invalid("precondition.version is \"required\" or absent")),
    };
    Ok(Card {
        name: ActionName::parse(&card.name).map_err(|error| invalid(error.to_string()))?,
        sentence: card.sentence,
        connection: ConnectionId::parse(&card.connection)
            .map_err(|error| invalid(error.to_string()))?,
        verb: pick("verb", &card.verb, VERBS)?,
        target: card.target,
        owner: card.owner,
        risk,
        tier,
        undo: card.undo,
        rollback_minutes: card.rollback_minutes,
        approver: card.approver,
        rollout,
        rollout_max,
        rollback_window_seconds: window(&card.rollback_window)?,
        records_per_day: card.caps.records_per_day,
        args: args(card.args)?,
        when: card.precondition.when,
        version_required,
        digest,
    })
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

fn args(texts: BTreeMap<String, ArgText>) -> Result<BTreeMap<String, Arg>, CardError> {
    if texts.is_empty() || texts.len() > CARD_ARGS_MAX {
        return Err(invalid(format!(
            "a card names 1 to {CARD_ARGS_MAX} arguments"
        )));
    }
    let mut args = BTreeMap::new();
    for (name, text) in texts {
        let built =
            arg(&name, &text).map_err(|error| invalid(format!("args.{name}: {}", error.detail)))?;
        args.insert(name, built);
    }
    Ok(args)
}

fn window(text: &str) -> Result<u32, CardError> {
    let refuse = || invalid("rollback_window is like \"30m\", \"24h\" or \"7d\", at most 30 days");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(refuse)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => DAY_SECONDS,
        _ => return Err(refuse()),
    };
    let seconds = number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    seconds
        .filter(|seconds| (60..=30 * DAY_SECONDS).contains(seconds))
        .ok_or_else(refuse)
}

fn arg(name: &str, text: &ArgText) -> Result<Arg, CardError> {
    if ActionName::parse(name).is_err() {
        return Err(invalid("a name is 1 to 64 of a-z 0-9 _"));
    }
    let write = match text.write.as_deref() {
        None | Some("set") => WriteMode::Set,
        Some("append") => WriteMode::Append,
        Some("fill_only_empty") => WriteMode::FillOnlyEmpty,
        Some("mechanical") => {
            return Err(invalid(
                "write = \"mechanical\" is not supported by this version",
            ));
        }
        Some(other) => {
            let table = [("set", ()), ("append", ()), ("fill_only_empty", ())];
            return pick("write", other, &table).and_then(|()| Err(invalid("write")));
        }
    };
    Ok(Arg {
        kind: kind(text)?,
        field: text.field.clone().unwrap_or_else(|| name.to_owned()),
        optional: text.optional,
        write,
        effects: text.effects.clone(),
    })
}

fn kind(text: &ArgText) -> Result<ArgKind, CardError> {
    let kind = match text.kind.as_str() {
        "choice" if !text.values.is_empty() && text.values.len() <= LIST_ITEMS_MAX => {
            ArgKind::Choice {
                values: text.values.clone(),
            }
        }
        "text" => {
            let most = u32::try_from(STRING_BYTES_MAX / 4).unwrap_or(u32::MAX);
            let bounded = text.max_chars.filter(|max| (1..=most).contains(max));
            ArgKind::Text {
                max_chars: bounded.ok_or_else(|| missing("max_chars"))?,
            }
        }
        "integer" => {
            let (min, max) = (whole(text.min.as_ref())?, whole(text.max.as_ref())?);
            ArgKind::Integer { min, max }
        }
        "decimal" => decimal(text)?,
        "money" => money(text)?,
        "date" => {
            let (min, max) = days(text)?;
            ArgKind::Date { min, max }
        }
        "timestamp" => {
            let (min, max) = days(text)?;
            ArgKind::Timestamp { min, max }
        }
        "boolean" => ArgKind::Boolean,
        "reference" => {
            let pattern = text.pattern.as_deref().ok_or_else(|| missing("pattern"))?;
            let whole = format!("^(?:{pattern})$");
            let pattern = Regex::new(&whole).map_err(|error| invalid(error.to_string()))?;
            ArgKind::Reference { pattern }
        }
        "list" => {
            let of = text.of.as_deref().ok_or_else(|| missing("of"))?;
            if of.kind == "list" {
                return Err(invalid("a list of lists is not allowed"));
            }
            let max_items = text.max_items.filter(|max| (1..=1_000).contains(max));
            let max_items = max_items.ok_or_else(|| missing("max_items"))?;
            ArgKind::List {
                of: Box::new(kind(of)?),
                max_items,
            }
        }
        "choice" => return Err(missing("values")),
        other => {
            let names = [
                "choice",
                "text",
                "integer",
                "decimal",
                "money",
                "date",
                "timestamp",
                "boolean",
                "reference",
                "list",
            ];
            let table = names.map(|name| (name, ()));
            return pick("type", other, &table).and_then(|()| Err(invalid("type")));
        }
    };
    Ok(kind)
}

fn missing(bound: &str) -> CardError {
    invalid(format!(
        "a type without bounds is refused: `{bound}` is missing or out of range"
    ))
}

fn whole(bound: Option<&Bound>) -> Result<i64, CardError> {
    match bound {
        Some(Bound::Whole(number)) => Ok(*number),
        _ => Err(missing("min, max")),
    }
}

fn number(bound: Option<&Bound>) -> Result<Value, CardError> {
    match bound {
        Some(Bound::Whole(number)) => Ok(Value::Int(*number)),
        Some(Bound::Text(text)) => {
            number_from_text(text).map_err(|_| invalid(format!("`{text}` is not a number")))
        }
        None => Err(missing("min, max")),
    }
}

fn decimal(text: &ArgText) -> Result<ArgKind, CardError> {
    let decimals = text.decimals.filter(|decimals| *decimals <= 18);
    let decimals = decimals.ok_or_else(|| missing("decimals"))?;
    let units = |bound| minor_units(&bound, decimals).ok_or_else(|| missing("min, max"));
    let (min, max) = (
        units(number(text.min.as_ref())?)?,
        units(number(text.max.as_ref())?)?,
    );
    Ok(ArgKind::Decimal { decimals, min, max })
}

fn money(text: &ArgText) -> Result<ArgKind, CardError> {
    if text.currencies.is_empty() {
        return Err(missing("currencies"));
    }
    let (min, max) = (number(text.min.as_ref())?, number(text.max.as_ref())?);
    for code in &text.currencies {
        let digits = minor_digits(code);
        let digits = digits.ok_or_else(|| invalid(format!("`{code}` is not a currency")))?;
        let units = |bound| minor_units(bound, digits);
        if units(&min).is_none_or(|least| least < 1) || units(&max).is_none() {
            return Err(invalid(format!(
                "min and max are positive amounts of {code}"
            )));
        }
    }
    Ok(ArgKind::Money {
        currencies: text.currencies.clone(),
        min,
        max,
    })
}

fn days(text: &ArgText) -> Result<(chrono::NaiveDate, chrono::NaiveDate), CardError> {
    let bound = |bound: Option<&Bound>| match bound {
        Some(Bound::Text(text)) => day(text).ok_or_else(|| missing("min, max")),
        _ => Err(missing("min, max")),
    };
    Ok((bound(text.min.as_ref())?, bound(text.max.as_ref())?))
}
