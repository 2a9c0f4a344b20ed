//! What an agent may see of a record: the fields that a card names, masked as it says.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::CardError;
use super::file::{invalid, pick};
use crate::limits::CARD_ARGS_MAX;
use crate::value::Value;

/// Stands for what is not shown.
const HIDDEN: &str = "***";

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// The last two characters.
    Last2,
    /// The last four characters.
    Last4,
    /// Of an e-mail address what follows the `@`.
    Domain,
    /// Only that there is something.
    Hidden,
}

const MASKS: &[(&str, Mask)] = &[
    ("last2", Mask::Last2),
    ("last4", Mask::Last4),
    ("domain", Mask::Domain),
    ("hidden", Mask::Hidden),
];

impl Mask {
    /// The value as it is shown. Nothing is told of a value too short to hide most of it.
    #[must_use]
    pub fn over(self, value: &Value) -> Value {
        let text = match value {
            Value::Null => return Value::Null,
            Value::Text(text) if text.is_empty() => return value.clone(),
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            _ => return Value::Text(HIDDEN.to_owned()),
        };
        let last = |count: usize| {
            let all = text.chars().count();
            let shown = if all >= count.saturating_mul(3) {
                count
            } else {
                0
            };
            text.chars().skip(all.saturating_sub(shown)).collect()
        };
        let rest: String = match self {
            Self::Last2 => last(2),
            Self::Last4 => last(4),
            Self::Domain => text
                .rsplit_once('@')
                .map(|(_, domain)| format!("@{domain}"))
                .unwrap_or_default(),
            Self::Hidden => String::new(),
        };
        Value::Text(format!("{HIDDEN}{rest}"))
    }
}

/// The fields of a record that may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    fields: BTreeMap<String, Option<Mask>>,
}

impl Sight {
    /// Names of the fields, sorted.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Whether a field is shown only in part.
    #[must_use]
    pub fn masks(&self, field: &str) -> bool {
        matches!(self.fields.get(field), Some(Some(_)))
    }

    /// A value as it is shown; of a field that is not named only that there is something.
    #[must_use]
    pub fn show(&self, field: &str, value: &Value) -> Value {
        match self.fields.get(field) {
            Some(None) => value.clone(),
            Some(Some(mask)) => mask.over(value),
            None => Mask::Hidden.over(value),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SightText {
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    mask: BTreeMap<String, String>,
}

impl SightText {
    pub(super) fn check(self) -> Result<Sight, CardError> {
        let all = self.fields.len().saturating_add(self.mask.len());
        if all == 0 || all > CARD_ARGS_MAX {
            return Err(invalid(format!("read names 1 to {CARD_ARGS_MAX} fields")));
        }
        let mut fields = BTreeMap::new();
        for (field, mask) in &self.mask {
            fields.insert(field.clone(), Some(pick("read.mask", mask, MASKS)?));
        }
        for field in self.fields {
            if fields.insert(field.clone(), None).is_some() {
                return Err(invalid(format!("read names `{field}` twice")));
            }
        }
        Ok(Sight { fields })
    }
}

#[cfg(test)]
mod tests;
