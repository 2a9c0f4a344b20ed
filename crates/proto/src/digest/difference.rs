//! What differs between two sets of arguments, in words.

use crate::money::Money;
use crate::value::{Map, Value};

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(
        || "nothing".to_owned(),
        |value| {
            Money::from_value(value).map_or_else(|_| value.to_json(), |money| money.to_string())
        },
    )
}

/// The first argument that differs, as `amount: signed 49.00 EUR, got 490.00 EUR`.
#[must_use]
pub fn first(signed: &Map, got: &Map) -> Option<String> {
    let names = signed.iter().chain(got.iter()).map(|(name, _)| name);
    let differs = |name: &&str| signed.get(name) != got.get(name);
    let name = names.into_iter().find(differs)?;
    Some(format!(
        "{name}: signed {}, got {}",
        shown(signed.get(name)),
        shown(got.get(name))
    ))
}
