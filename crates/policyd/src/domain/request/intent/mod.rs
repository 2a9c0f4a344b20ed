//! One intent is decided once: the same action, by what its card calls the same, asked again under
//! another request id. A client that lost an answer asks again; without this it would pay twice.
//!
//! Each decision holds a few places in the ledger, one for each third of the time of its card. Two
//! that are less than that time apart share a place, whatever process decides them; two that are more
//! than four thirds of it apart share none. What is known not to have happened gives its places back.

use chrono::{DateTime, Utc};
use writ_proto::card::Card;
use writ_proto::digest::sha256;
use writ_proto::token::Mode;
use writ_proto::value::Value;

use crate::domain::budget::{EXPIRY_GRACE_MS, Hold, Key, Limits, Subject, Takes};
use crate::domain::request::Request;

/// Stands where other counters name their budget; no id of a budget begins like it.
const COUNTER: &str = "@intent";
/// Into how many slots the time of a card is divided.
const SLOTS: i64 = 3;

/// What is the same in requests of one intent, hashed: records keep no argument in clear.
fn name(card: &Card, request: &Request) -> Option<String> {
    let intent = card.intent.as_ref()?;
    let mut parts = vec![Value::Text(request.action.as_str().to_owned())];
    for by in &intent.by {
        parts.push(match by.as_str() {
            "agent" => Value::Text(request.agent.as_str().to_owned()),
            "target" => match &request.target {
                Some((kind, id)) => {
                    Value::List(vec![Value::Text(kind.clone()), Value::Text(id.clone())])
                }
                None => Value::Null,
            },
            argument => request.args.get(argument).cloned().unwrap_or(Value::Null),
        });
    }
    Some(hex::encode(sha256(&Value::List(parts).encode())))
}

/// The places that an allowed request takes; none where its card names no intent, where it writes
/// nothing, or where its agent says that it is meant again.
#[must_use]
pub fn places(card: &Card, request: &Request, now: DateTime<Utc>, ttl_seconds: u32) -> Vec<Hold> {
    let named = name(card, request).filter(|_| request.mode == Mode::Execute && !request.again);
    let (Some(name), Some(intent)) = (named, &card.intent) else {
        return Vec::new();
    };
    let at_ms = now.timestamp_millis();
    let length = i64::from(intent.within_seconds)
        .saturating_mul(1_000)
        .div_euclid(SLOTS)
        .saturating_add(1);
    let slot = at_ms.div_euclid(length);
    let life = i64::from(ttl_seconds).saturating_mul(1_000);
    let place = |ahead: i64| Hold {
        key: Key::new(
            COUNTER,
            &Subject::Agent(name.clone()),
            &slot.saturating_add(ahead).to_string(),
        ),
        amount: 1,
        currency: String::new(),
        takes: Takes::Settled,
        limits: Limits {
            cap: 1,
            max: None,
            free: 0,
            spike: None,
            age_ms_max: None,
            report_ms_max: None,
        },
        at_ms,
        expires_ms: at_ms.saturating_add(life).saturating_add(EXPIRY_GRACE_MS),
    };
    (0..=SLOTS).map(place).collect()
}

/// Whether a counter is that of intents.
#[must_use]
pub fn is_place(key: &Key) -> bool {
    key.budget() == COUNTER
}

#[cfg(test)]
mod tests;
