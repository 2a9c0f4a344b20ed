//! Decisions that wait for a person: how many an agent may have, and until when. Each holds one
//! place of its agent in the ledger, so that many processes count exactly.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::budget::{Hold, Key, Limits, Subject, Takes};
use crate::domain::policy::ApprovalNeed;
use crate::domain::request::Request;

/// How many decisions of one agent may wait where the set does not say.
pub const WAITING_DEFAULT: i64 = 20;
/// Most that a set may say.
const WAITING_MAX: i64 = 1_000;
/// How long a decision waits that was stored without an end, in seconds.
const WAIT_SECONDS: i64 = 24 * 3_600;
/// Stands where other counters name their budget; no id of a budget begins like it.
const COUNTER: &str = "@waiting";
const WINDOW: &str = "now";

/// `[approvals]` of `set.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalsText {
    waiting_per_agent: i64,
}

/// How many decisions of one agent may wait.
///
/// # Errors
/// A number outside 1 to 1,000, in words.
pub fn waiting_max(text: Option<&ApprovalsText>) -> Result<i64, String> {
    let most = text.map_or(WAITING_DEFAULT, |text| text.waiting_per_agent);
    if (1..=WAITING_MAX).contains(&most) {
        return Ok(most);
    }
    Err(format!("approvals.waiting_per_agent is 1 to {WAITING_MAX}"))
}

/// The place that a decision takes until a person decided, it was taken back, or its time is up.
#[must_use]
pub fn place(request: &Request, need: &ApprovalNeed, (now, most): (DateTime<Utc>, i64)) -> Hold {
    let agent = Subject::Agent(request.agent.as_str().to_owned());
    let now_ms = now.timestamp_millis();
    let wait_ms = i64::from(need.ttl_seconds).saturating_mul(1_000);
    Hold {
        key: Key::new(COUNTER, &agent, WINDOW),
        amount: 1,
        currency: String::new(),
        takes: Takes::Settled,
        limits: Limits {
            cap: most,
            max: None,
            free: 0,
            spike: None,
            age_ms_max: None,
            report_ms_max: None,
        },
        at_ms: now_ms,
        expires_ms: now_ms.saturating_add(wait_ms),
    }
}

/// Whether a counter is that of waiting decisions.
#[must_use]
pub fn is_place(key: &Key) -> bool {
    key.budget() == COUNTER
}

/// When a waiting decision ends, in Unix seconds: as it was stored, or a day after it was made.
#[must_use]
pub const fn ends(stored: i64, created_ms: i64) -> i64 {
    if stored > 0 {
        stored
    } else {
        (created_ms / 1_000).saturating_add(WAIT_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_says_how_many_may_wait() {
        let said = |text: &str| waiting_max(toml::from_str(text).ok().as_ref());
        for (text, most) in [
            ("waiting_per_agent = 1", Some(1)),
            ("waiting_per_agent = 1000", Some(1_000)),
            ("waiting_per_agent = 0", None),
            ("waiting_per_agent = 1001", None),
            ("waiting_per_agent = -1", None),
        ] {
            assert_eq!(said(text).ok(), most, "{text}");
        }
        assert_eq!(waiting_max(None), Ok(WAITING_DEFAULT));
        assert!(toml::from_str::<ApprovalsText>("waiting = 3").is_err());
    }

    #[test]
    fn what_was_stored_without_an_end_waits_for_a_day() {
        assert_eq!(ends(5, 9_000), 5);
        assert_eq!(ends(0, 9_000), 9 + 24 * 3_600);
    }
}
