//! Codecs: how a system writes a value, and what it means. Each is a bijection on its domain:
//! `decode(encode(x)) = x`; what lies outside is an error that names what was found.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::{Number, Value as Json};
use writ_proto::digest::sha256;
use writ_proto::limits::STRING_BYTES_MAX;
use writ_proto::money::{Money, minor_digits};
use writ_proto::value::{Map, Value, minor_units, number_from_text, value_from_json};

/// How a field is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Codec {
    /// Text; `trim` where the system drops white space around it.
    Text {
        /// Drop white space around it.
        trim: bool,
    },
    /// One of a few words: by a table of names to stored values, or as they are.
    Choice(BTreeMap<String, Json>),
    /// A whole number.
    Integer,
    /// A number.
    Decimal,
    /// A number as text, with so many decimals if it is always written with them.
    DecimalText(Option<u32>),
    /// Whole minor units of this currency (ISO 4217).
    Minor(String),
    /// `{"currency": .., "value": ..}`.
    Money,
    /// True and false, or the two values that stand for them.
    Boolean(Option<(Json, Json)>),
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339; read with any offset, written in UTC.
    DateTime,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Texts in no order.
    Set,
    /// Values in order.
    List,
    /// Texts, one a line.
    Lines,
    /// Only read: exactly as the system wrote it.
    Opaque,
}

/// A number as JSON, exactly as it is spelled.
fn number(text: &str) -> Option<Json> {
    serde_json::from_str::<Number>(text).ok().map(Json::Number)
}

/// A number whatever its size: one that no argument could be is carried as its own spelling.
fn any_number(number: &Number) -> Value {
    let text = number.to_string();
    number_from_text(&text).unwrap_or(Value::Text(text))
}

fn kept(text: String) -> Value {
    if text.len() <= STRING_BYTES_MAX && !text.contains('\0') {
        return Value::Text(text);
    }
    let digest = hex::encode(sha256(text.as_bytes()));
    Value::Text(format!("sha256:{digest} ({} bytes)", text.len()))
}

/// A value that is only read, exactly as the system wrote it. What cannot be an argument is carried
/// as its JSON text; what is too long to be kept, as its digest.
#[must_use]
pub fn opaque(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => any_number(number),
        Json::String(text) => kept(text.clone()),
        Json::Array(_) | Json::Object(_) => {
            let text = json.to_string();
            let small = text.len() <= STRING_BYTES_MAX;
            let read = value_from_json(&text).ok().filter(|_| small);
            read.unwrap_or_else(|| kept(text))
        }
    }
}

fn shown(json: &Json) -> String {
    json.to_string().chars().take(60).collect()
}

fn to_json(value: &Value) -> Result<Json, String> {
    serde_json::from_str(&value.to_json()).map_err(|error| error.to_string())
}

fn utc(moment: DateTime<Utc>) -> Value {
    Value::Text(moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn moment(value: &Value) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(value.as_text()?).ok()?;
    Some(read.with_timezone(&Utc))
}

fn texts(items: &[Json]) -> Option<Vec<Value>> {
    let text = |item: &Json| item.as_str().map(|text| Value::Text(text.to_owned()));
    items.iter().map(text).collect()
}

fn sorted(mut items: Vec<Value>) -> Vec<Value> {
    items.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
    items.dedup();
    items
}

impl Codec {
    /// The codec of a name that needs nothing else.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text { trim: false },
            "choice" => Self::Choice(BTreeMap::new()),
            "integer" => Self::Integer,
            "decimal" => Self::Decimal,
            "decimal_text" => Self::DecimalText(None),
            "minor" => Self::Minor(String::new()),
            "money" => Self::Money,
            "boolean" => Self::Boolean(None),
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "epoch_s" => Self::EpochSeconds,
            "epoch_ms" => Self::EpochMillis,
            "set" => Self::Set,
            "list" => Self::List,
            "lines" => Self::Lines,
            "opaque" => Self::Opaque,
            _ => return None,
        })
    }

    /// Every name, for people.
    pub(super) const NAMES: &'static str = "text, choice, integer, decimal, decimal_text, minor, \
        money, boolean, date, datetime, epoch_s, epoch_ms, set, list, lines, opaque";

    /// Whether an argument may be written through it.
    #[must_use]
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Opaque)
    }

    /// What the system's value means. Null is not asked for here: it is an empty field.
    ///
    /// # Errors
    /// What was found, where the codec has no meaning for it.
    pub fn decode(&self, json: &Json) -> Result<Value, String> {
        let other = |wanted: &str| Err(format!("holds {}, not {wanted}", shown(json)));
        match (self, json) {
            (Self::Opaque, any) => Ok(opaque(any)),
            (Self::Text { trim }, Json::String(text)) => {
                if text.len() > STRING_BYTES_MAX {
                    return Err(format!(
                        "holds {} bytes, at most {STRING_BYTES_MAX} can be kept",
                        text.len()
                    ));
                }
                Ok(Value::Text(
                    if *trim { text.trim() } else { text }.to_owned(),
                ))
            }
            (Self::Text { .. }, _) => other("a text"),
            (Self::Choice(names), stored) => choice(names, stored),
            (Self::Integer | Self::Decimal, Json::Number(number)) => Ok(any_number(number)),
            (Self::Integer | Self::Decimal, _) => other("a number"),
            (Self::DecimalText(_), Json::String(text)) => {
                number_from_text(text).or_else(|_| other("a number as text"))
            }
            (Self::DecimalText(_), _) => other("a number as text"),
            (Self::Minor(currency), Json::Number(number)) => {
                minor(currency, number).map_or_else(|| other("whole minor units"), Ok)
            }
            (Self::Minor(_), _) => other("whole minor units"),
            (Self::Money, Json::Object(_)) => {
                let value =
                    value_from_json(&json.to_string()).map_err(|error| error.to_string())?;
                Money::from_value(&value)
                    .map_err(|error| format!("holds {}: {error}", shown(json)))?;
                Ok(value)
            }
            (Self::Money, _) => other("an amount with its currency"),
            (Self::Boolean(None), Json::Bool(truth)) => Ok(Value::Bool(*truth)),
            (Self::Boolean(Some((yes, no))), word) if word == yes || word == no => {
                Ok(Value::Bool(word == yes))
            }
            (Self::Boolean(_), _) => other("one of its two words"),
            (Self::Date, Json::String(text)) if day(text) => Ok(Value::Text(text.clone())),
            (Self::Date, _) => other("a day"),
            (Self::DateTime, Json::String(text)) => {
                moment(&Value::Text(text.clone())).map_or_else(|| other("a time"), |at| Ok(utc(at)))
            }
            (Self::DateTime, _) => other("a time"),
            (Self::EpochSeconds | Self::EpochMillis, Json::Number(number)) => {
                self.epoch(number).map_or_else(|| other("a time"), Ok)
            }
            (Self::EpochSeconds | Self::EpochMillis, _) => other("a time"),
            (Self::Set, Json::Array(items)) => texts(items).map_or_else(
                || other("a set of texts"),
                |found| Ok(Value::List(sorted(found))),
            ),
            (Self::Set, _) => other("a set of texts"),
            (Self::List, Json::Array(_)) => {
                value_from_json(&json.to_string()).map_err(|error| error.to_string())
            }
            (Self::List, _) => other("a list"),
            (Self::Lines, Json::String(text)) => {
                let lines = text.split('\n').map(|line| Value::Text(line.to_owned()));
                Ok(Value::List(lines.collect()))
            }
            (Self::Lines, _) => other("lines of text"),
        }
    }

    /// What is sent for a value.
    ///
    /// # Errors
    /// When the value lies outside the domain of the codec.
    pub fn encode(&self, value: &Value) -> Result<Json, String> {
        let other = || format!("{} cannot be written here", value.to_json());
        let found = match (self, value) {
            (Self::Text { .. } | Self::Date, Value::Text(text)) => Some(Json::String(text.clone())),
            (Self::Choice(names), value) => stored(names, value),
            (Self::Integer | Self::Decimal, Value::Int(_) | Value::Decimal(_)) => {
                Some(to_json(value)?)
            }
            // The spelling of a number that no argument could be: only what was read is put back.
            (Self::Integer | Self::Decimal, Value::Text(text)) => number(text),
            (Self::DecimalText(places), value) => decimal_text(value, *places).map(Json::String),
            (Self::Minor(currency), value) => {
                let money = Money::from_value(value).ok();
                let money = money.filter(|money| money.currency() == currency);
                money.map(|money| Json::from(money.minor()))
            }
            (Self::Boolean(None), Value::Bool(truth)) => Some(Json::Bool(*truth)),
            (Self::Boolean(Some((yes, no))), Value::Bool(truth)) => {
                Some(if *truth { yes } else { no }.clone())
            }
            (Self::DateTime, value) => moment(value).map(|_| to_json(value)).transpose()?,
            (Self::EpochSeconds, value) => moment(value).map(|at| Json::from(at.timestamp())),
            (Self::EpochMillis, value) => moment(value).map(|at| Json::from(at.timestamp_millis())),
            (Self::Money, Value::Map(_)) | (Self::Set | Self::List, Value::List(_)) => {
                Some(to_json(value)?)
            }
            (Self::Lines, Value::List(items)) => {
                let lines: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
                lines.map(|lines| Json::String(lines.join("\n")))
            }
            _ => None,
        };
        found.ok_or_else(other)
    }

    /// The spelling of a value that a read will show: what is planned is compared with it.
    ///
    /// # Errors
    /// When the value lies outside the domain of the codec.
    pub fn canonical(&self, value: &Value) -> Result<Value, String> {
        let value = match (self, value) {
            (Self::Text { trim: true }, Value::Text(text)) => Value::Text(text.trim().to_owned()),
            (Self::Set, Value::List(items)) => Value::List(sorted(items.clone())),
            _ => value.clone(),
        };
        self.decode(&self.encode(&value)?)
    }

    fn epoch(&self, number: &Number) -> Option<Value> {
        let whole = number.as_i64()?;
        let found = if *self == Self::EpochSeconds {
            DateTime::from_timestamp(whole, 0)
        } else {
            DateTime::from_timestamp_millis(whole)
        };
        found.map(utc)
    }
}

fn day(text: &str) -> bool {
    let read = NaiveDate::parse_from_str(text, "%Y-%m-%d");
    read.is_ok_and(|day| day.format("%Y-%m-%d").to_string() == text)
}

/// The name of a stored value. One that the table does not list is carried as it is, unless it
/// looks like one of the names, which would say something else.
fn choice(names: &BTreeMap<String, Json>, stored: &Json) -> Result<Value, String> {
    if let Some((name, _)) = names.iter().find(|(_, value)| *value == stored) {
        return Ok(Value::Text(name.clone()));
    }
    match stored {
        Json::String(text) if names.contains_key(text) => Err(format!(
            "holds {}, which is the name of another value",
            shown(stored)
        )),
        Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(opaque(stored)),
        _ => Err(format!("holds {}, not one of its values", shown(stored))),
    }
}

fn stored(names: &BTreeMap<String, Json>, value: &Value) -> Option<Json> {
    if let Some(stored) = value.as_text().and_then(|name| names.get(name)) {
        return Some(stored.clone());
    }
    match value {
        Value::Text(_) | Value::Int(_) | Value::Bool(_) => to_json(value).ok(),
        _ => None,
    }
}

fn minor(currency: &str, number: &Number) -> Option<Value> {
    let digits = minor_digits(currency)?;
    let whole = number.as_i64()?;
    let text = if digits == 0 {
        whole.to_string()
    } else {
        format!("{whole}e-{digits}")
    };
    let mut money = Map::new();
    money.set("currency", Value::Text(currency.to_owned()));
    money.set("value", number_from_text(&text).ok()?);
    Some(Value::Map(money))
}

/// A number as text, with its decimals filled up with zeros.
fn decimal_text(value: &Value, places: Option<u32>) -> Option<String> {
    if !matches!(value, Value::Int(_) | Value::Decimal(_)) {
        return None;
    }
    let plain = value.to_json();
    let Some(places) = places else {
        return Some(plain);
    };
    minor_units(value, places)?;
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain.as_str(), ""));
    let width = usize::try_from(places).ok()?;
    if width == 0 {
        return Some(whole.to_owned());
    }
    Some(format!("{whole}.{fraction:0<width$}"))
}

#[cfg(test)]
mod tests;
