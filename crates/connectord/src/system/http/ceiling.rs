//! What a call may ask for, against what the system shows: what the record has left, and which values it knows.

use serde_json::{Map as JsonMap, Value as Json};
use writ_proto::money::Money;
use writ_proto::value::{Value, minor_units, number_from_text};

use crate::domain::plan::Plan;
use crate::system::SystemError;
use crate::system::file::{Among, Ceiling, Currency, Object, Unit, all, clean};

/// The number at a pointer, in minor units of a currency or as it is.
fn amount(body: &Json, at: &str, unit: Unit, digits: u32) -> Option<i64> {
    let text = match body.pointer(at)? {
        Json::Number(number) => number.to_string(),
        Json::String(text) => text.clone(),
        _ => return None,
    };
    let value = number_from_text(&text).ok()?;
    match unit {
        Unit::Minor => minor_units(&value, 0),
        Unit::Major => minor_units(&value, digits),
    }
}

/// Whether the record is in the currency of the call; systems take the bare number of one as that of the other.
fn same_currency(ceiling: &Ceiling, asked: &str, body: &Json) -> Result<(), SystemError> {
    let own = match &ceiling.currency {
        None => return Ok(()),
        Some(Currency::Always(code)) => code.as_str(),
        Some(Currency::At(at)) => {
            let found = body.pointer(at).and_then(Json::as_str);
            found
                .ok_or_else(|| SystemError::Field(format!("the currency at {at} cannot be read")))?
        }
    };
    if own.eq_ignore_ascii_case(asked) {
        return Ok(());
    }
    let own = own.to_uppercase();
    Err(SystemError::Moved(format!(
        "the record is in {own}, and the amount in {asked}"
    )))
}

/// What is left against what is asked for, both in minor units; the error says what cannot be read.
pub(super) fn left(ceiling: &Ceiling, plan: &Plan, body: &Json) -> Result<(), SystemError> {
    let unreadable = |at: &str| SystemError::Field(format!("the ceiling at {at} cannot be read"));
    let asked = plan.args.get(&ceiling.arg);
    // Without an amount a system pays back all that is left.
    let asked = asked.ok_or_else(|| unreadable(&ceiling.arg))?;
    let (asked, digits, code) = match asked {
        Value::Map(_) => {
            let money =
                Money::from_value(asked).map_err(|error| SystemError::Field(error.to_string()))?;
            let digits = writ_proto::money::minor_digits(money.currency()).unwrap_or_default();
            (money.minor(), digits, money.currency().to_owned())
        }
        number => {
            let digits = 6;
            (
                minor_units(number, digits).ok_or_else(|| unreadable(&ceiling.arg))?,
                digits,
                String::new(),
            )
        }
    };
    if ceiling.except.contains(&code) {
        let why = format!("the system counts {code} in other units than ISO 4217: not sent");
        return Err(SystemError::Refused(why));
    }
    same_currency(ceiling, &code, body)?;
    let most =
        amount(body, &ceiling.at, ceiling.unit, digits).ok_or_else(|| unreadable(&ceiling.at))?;
    let gone = match &ceiling.less {
        Some(at) => amount(body, at, ceiling.unit, digits).ok_or_else(|| unreadable(at))?,
        None => 0,
    };
    let left = most.saturating_sub(gone);
    if asked <= left {
        return Ok(());
    }
    Err(SystemError::Over(format!(
        "{} {}: {asked} {code} asked for in minor units, {left} left of {most}",
        plan.object, plan.id
    )))
}

/// Most values that are named to somebody who gave another.
const SHOWN_MAX: usize = 12;

/// Whether the system knows the new value of a field now; none is asked for where the plan does not change it.
pub(super) fn known(
    among: &Among,
    (object, plan): (&Object, &Plan),
    body: &Json,
) -> Result<(), SystemError> {
    let name = &among.field;
    let planned = plan.fields.iter().find(|field| field.field == *name);
    let (Some(planned), Some(field)) = (planned, object.fields.get(name)) else {
        return Ok(());
    };
    let mut written = JsonMap::new();
    field
        .write(&planned.new, &mut written)
        .map_err(SystemError::Field)?;
    let wanted = written.values().next().unwrap_or(&Json::Null);
    let values = all(body, &among.at);
    if values.contains(&wanted) {
        return Ok(());
    }
    if values.is_empty() {
        let why = format!("the system shows no values of {name} at {}", among.at);
        return Err(SystemError::Field(why));
    }
    let texts = values.iter().filter_map(|value| value.as_str());
    let shown: Vec<String> = texts.take(SHOWN_MAX).map(clean).collect();
    Err(SystemError::Refused(format!(
        "the system has no {name} {wanted} now; it has {}",
        shown.join(", ")
    )))
}
