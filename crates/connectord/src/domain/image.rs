//! What a record looked like: the declared fields and the version, as one read saw them.

use writ_proto::context;
use writ_proto::digest::sha256;
use writ_proto::value::{Map, Value};

/// Declared and watched fields of a record, by their names in the system of record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// The fields that are there.
    pub fields: Map,
    /// Version tag of the system of record, such as an ETag.
    pub version: Option<String>,
}

impl Image {
    /// A field, where missing and null are the same: nothing is there.
    #[must_use]
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.fields
            .get(field)
            .filter(|value| **value != Value::Null)
    }

    /// The id of another record that a field names.
    #[must_use]
    pub fn name_at(&self, field: &str) -> Option<String> {
        match self.value(field)? {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Whether a field is free to be filled.
    #[must_use]
    pub fn is_empty_at(&self, field: &str) -> bool {
        self.value(field)
            .is_none_or(|value| *value == Value::Text(String::new()))
    }

    /// SHA-256 over the fields; what an agent may have relied on instead of a version.
    #[must_use]
    pub fn digest(&self) -> String {
        let parts = vec![
            Value::Text(context::IMAGE.to_owned()),
            Value::Map(self.fields.clone()),
        ];
        let digest = sha256(&Value::List(parts).encode());
        let mut text = String::from("sha256:");
        for byte in digest {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}
