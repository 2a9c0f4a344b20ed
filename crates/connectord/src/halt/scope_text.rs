//! A scope in JSON: as text.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use super::Scope;

pub(in crate::halt) fn serialize<S: Serializer>(scope: &Scope, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(scope)
}

pub(in crate::halt) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Scope, D::Error> {
    let text = String::deserialize(input)?;
    text.parse().map_err(D::Error::custom)
}
