//! Looking through candidates: one by one while they are few, else by halves.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::domain::decide::counter_offer::EVALUATIONS_MAX;

/// Evaluations that are left for halving.
const BISECTION_MAX: usize = 10;

/// The largest allowed candidate: one by one while they are few, else by halves, which finds the
/// largest if everything below an allowed value is allowed, and an allowed one in any case.
pub(crate) fn descend(
    candidates: &[i64],
    allows: &mut impl FnMut(i64) -> Option<bool>,
) -> Option<i64> {
    let few = EVALUATIONS_MAX.saturating_sub(BISECTION_MAX);
    let (top, rest) = candidates
        .split_at_checked(few)
        .unwrap_or((candidates, &[]));
    for units in top {
        if allows(*units)? {
            return Some(*units);
        }
    }
    let (mut from, mut to, mut found) = (0, rest.len(), None);
    while from < to {
        let middle = from.midpoint(to);
        let Some(units) = rest.get(middle) else { break };
        match allows(*units) {
            Some(true) => (to, found) = (middle, Some(*units)),
            Some(false) => from = middle.saturating_add(1),
            None => break,
        }
    }
    found
}

/// Every whole number that a policy names.
pub(crate) fn literals(json: &Json, found: &mut BTreeSet<i64>) {
    match json {
        Json::Number(number) => found.extend(number.as_i64()),
        Json::Array(items) => items.iter().for_each(|item| literals(item, found)),
        Json::Object(fields) => fields.values().for_each(|item| literals(item, found)),
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}
