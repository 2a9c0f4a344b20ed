//! Arguments of a card, from TOML to their types and bounds. A type without bounds is refused.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::arg::day;
use super::file::{invalid, pick};
use super::{Arg, ArgKind, CardError, DayBound, WriteMode};
use crate::ids::ActionName;
use crate::limits::{CARD_ARGS_MAX, LIST_ITEMS_MAX, STRING_BYTES_MAX};
use crate::money::minor_digits;
use crate::value::{Value, minor_units, number_from_text};

/// A hundred years.
const RELATIVE_DAYS_MAX: i64 = 36_525;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ArgText {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    write: Option<String>,
    #[serde(default)]
    evidence: Option<EvidenceText>,
    #[serde(default)]
    effects: Vec<String>,
    #[serde(default)]
    abbreviations: BTreeMap<String, String>,
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

/// `"required"`, or the texts that it may come from.
#[derive(Deserialize)]
#[serde(untagged)]
enum EvidenceText {
    Word(String),
    From(Vec<String>),
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(super) enum Bound {
    Whole(i64),
    Text(String),
}

pub(super) fn args(texts: BTreeMap<String, ArgText>) -> Result<BTreeMap<String, Arg>, CardError> {
    if texts.len() > CARD_ARGS_MAX {
        return Err(invalid(format!(
            "a card names at most {CARD_ARGS_MAX} arguments"
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

fn arg(name: &str, text: &ArgText) -> Result<Arg, CardError> {
    if ActionName::parse(name).is_err() {
        return Err(invalid("a name is 1 to 64 of a-z 0-9 _"));
    }
    let write = match text.write.as_deref() {
        None | Some("set") => WriteMode::Set,
        Some("append") => WriteMode::Append,
        Some("fill_only_empty") => WriteMode::FillOnlyEmpty,
        Some("mechanical") => WriteMode::Mechanical,
        Some(other) => {
            let table = ["set", "append", "fill_only_empty", "mechanical"].map(|name| (name, ()));
            return pick("write", other, &table).and_then(|()| Err(invalid("write")));
        }
    };
    let kind = kind(text)?;
    if write == WriteMode::Mechanical && !matches!(kind, ArgKind::Text { .. }) {
        return Err(invalid("only a text can be edited mechanically"));
    }
    check_abbreviations(write, &text.abbreviations)?;
    let (evidence_required, evidence_from) = evidence(text.evidence.as_ref(), &kind)?;
    Ok(Arg {
        kind,
        evidence_required,
        evidence_from,
        field: text.field.clone().unwrap_or_else(|| name.to_owned()),
        optional: text.optional,
        write,
        effects: text.effects.clone(),
        abbreviations: text.abbreviations.clone(),
    })
}

/// Whether evidence is wanted, and from which texts if not from any.
fn evidence(text: Option<&EvidenceText>, kind: &ArgKind) -> Result<(bool, Vec<String>), CardError> {
    let from = match text {
        None => return Ok((false, Vec::new())),
        Some(EvidenceText::Word(word)) if word == "required" => Vec::new(),
        Some(EvidenceText::From(from)) if !from.is_empty() && from.len() <= LIST_ITEMS_MAX => {
            from.clone()
        }
        Some(_) => {
            return Err(invalid(
                "evidence is \"required\", a list such as [\"ticket.message\"], or absent",
            ));
        }
    };
    let is_place = |place: &String| {
        let parts = place.split_once('.');
        parts.is_some_and(|(object, text)| {
            !object.is_empty() && !text.is_empty() && !text.contains('.')
        })
    };
    if !from.iter().all(is_place) {
        return Err(invalid(
            "evidence: a text is named by its object and name, such as ticket.message",
        ));
    }
    if !kind.is_cited() {
        return Err(invalid(
            "evidence: nothing finds a value of this type in a text",
        ));
    }
    Ok((true, from))
}

fn check_abbreviations(
    write: WriteMode,
    table: &BTreeMap<String, String>,
) -> Result<(), CardError> {
    if !table.is_empty() && write != WriteMode::Mechanical {
        return Err(invalid("abbreviations belong to write = \"mechanical\""));
    }
    let is_word = |word: &String| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_alphanumeric() && !c.is_uppercase())
    };
    if table.len() > LIST_ITEMS_MAX || !table.iter().all(|(a, b)| is_word(a) && is_word(b)) {
        return Err(invalid(
            "abbreviations are pairs of single words in lower case",
        ));
    }
    Ok(())
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
            if min > max {
                return Err(invalid("max is less than min"));
            }
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
            // By itself first: one that closes the brackets would let ids through that it matches in part.
            Regex::new(pattern).map_err(|error| invalid(error.to_string()))?;
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
    if max < min {
        return Err(invalid("max is less than min"));
    }
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
        let units = |name: &str, bound: &Value| {
            let shown = bound.to_json();
            let units = minor_units(bound, digits).ok_or_else(|| {
                invalid(format!(
                    "{name} = `{shown}` is no amount of {code}, which has {digits} decimals"
                ))
            })?;
            if units < 1 {
                return Err(invalid(format!("{name} = `{shown}` is not positive")));
            }
            Ok(units)
        };
        if units("max", &max)? < units("min", &min)? {
            return Err(invalid("max is less than min"));
        }
    }
    Ok(ArgKind::Money {
        currencies: text.currencies.clone(),
        min,
        max,
    })
}

fn days(text: &ArgText) -> Result<(DayBound, DayBound), CardError> {
    let bound = |bound: Option<&Bound>| match bound {
        Some(Bound::Text(text)) => day_bound(text).ok_or_else(|| missing("min, max")),
        _ => Err(missing("min, max")),
    };
    Ok((bound(text.min.as_ref())?, bound(text.max.as_ref())?))
}

/// `2026-01-31`, `today`, `today+90d` or `today-7d`.
fn day_bound(text: &str) -> Option<DayBound> {
    let Some(rest) = text.strip_prefix("today") else {
        return day(text).map(DayBound::Fixed);
    };
    if rest.is_empty() {
        return Some(DayBound::Today(0));
    }
    let number = rest.strip_suffix('d')?;
    let signed = number.starts_with(['+', '-']);
    let days = number.parse::<i64>().ok().filter(|_| signed)?;
    (-RELATIVE_DAYS_MAX..=RELATIVE_DAYS_MAX)
        .contains(&days)
        .then_some(DayBound::Today(days))
}
