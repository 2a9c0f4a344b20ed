//! Values of canonical arguments (ACV v1, docs/token.md): what an argument can be, and nothing else.
//!
//! There are no floats: numbers are exact decimals. A map has unique text keys in the order of
//! their encoded bytes, so that equal values have one encoding. `cbor.rs` encodes and proves,
//! `json.rs` reads text.

mod cbor;
mod decimal;
mod json;

use core::fmt;

pub(crate) use cbor::{
    Flaw, Head, Reader, write_array, write_bytes, write_head, write_int, write_map_head,
    write_null, write_text,
};
pub use cbor::{args_from_cbor, first_from_cbor, value_from_cbor};
pub use decimal::{Decimal, minor_units, number_from_text};
pub use json::{args_from_json, value_from_json};

use crate::reason::Reason;

/// One argument value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Clears a field; not the same as a missing key.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integral number within 64 bits.
    Int(i64),
    /// A number with 1 to 18 decimals.
    Decimal(Decimal),
    /// UTF-8 text, never normalised, without U+0000.
    Text(String),
    /// Bytes; JSON cannot carry them.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Self>),
    /// Named values.
    Map(Map),
}

/// Named values with unique keys, in canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Map(Vec<(String, Value)>);

/// Canonical order of keys: shorter first, then bytewise; the order of their encoded bytes.
pub(crate) fn key_order(a: &str, b: &str) -> core::cmp::Ordering {
    a.len()
        .cmp(&b.len())
        .then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

impl Map {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self
            .0
            .binary_search_by(|(found, _)| key_order(found, key))
            .ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// `ARGS_DUPLICATE_KEY` when the key is there.
    pub fn insert(&mut self, key: String, value: Value) -> Result<(), ValueError> {
        match self.0.binary_search_by(|(found, _)| key_order(found, &key)) {
            Ok(_) => Err(ValueError::new(
                Reason::ArgsDuplicateKey,
                0,
                format!("key `{key}`"),
            )),
            Err(at) => {
                self.0.insert(at, (key, value));
                Ok(())
            }
        }
    }

    /// Sets a key, whether it is there or not.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.0.binary_search_by(|(found, _)| key_order(found, key)) {
            Ok(at) => {
                if let Some(slot) = self.0.get_mut(at) {
                    slot.1 = value;
                }
            }
            Err(at) => self.0.insert(at, (key.to_owned(), value)),
        }
    }

    /// Keys and values in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a key that must sort after all present ones; `false` if it does not.
    pub(crate) fn push_ordered(&mut self, key: String, value: Value) -> bool {
        let after = self
            .0
            .last()
            .is_none_or(|(last, _)| key_order(last, &key).is_lt());
        if after {
            self.0.push((key, value));
        }
        after
    }

    /// Sorts entries and refuses duplicates.
    pub(crate) fn from_entries(mut entries: Vec<(String, Value)>) -> Result<Self, String> {
        entries.sort_by(|a, b| key_order(&a.0, &b.0));
        let twice = entries.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(a.clone()),
            _ => None,
        });
        twice.map_or(Ok(Self(entries)), Err)
    }

    /// Canonical CBOR (RFC 8949 4.2.1).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        cbor::write_map(&mut out, self);
        out
    }

    /// JSON text with exact numbers; bytes become base64url text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        json::write_map(&mut out, self);
        out
    }
}

impl Value {
    /// Canonical CBOR (RFC 8949 4.2.1).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        cbor::write_value(&mut out, self);
        out
    }

    /// JSON text with exact numbers; bytes become base64url text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        json::write_value(&mut out, self);
        out
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    #[must_use]
    pub const fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }
}

/// Why bytes or text are not canonical arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {at}: {detail}", reason.sentence())]
pub struct ValueError {
    /// The stable code.
    pub reason: Reason,
    /// Where in the input, in bytes.
    pub at: usize,
    /// What was found.
    pub detail: String,
}

impl ValueError {
    pub(crate) fn new(reason: Reason, at: usize, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            at,
            detail: detail.to_string(),
        }
    }
}

/// A key is 1 to 128 bytes of NFC text without control characters.
pub(crate) fn key_is_allowed(key: &str) -> bool {
    let short = !key.is_empty() && key.len() <= crate::limits::KEY_BYTES_MAX;
    short
        && (key.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            || (!key.chars().any(char::is_control) && unicode_normalization::is_nfc(key)))
}

#[cfg(test)]
mod tests;
