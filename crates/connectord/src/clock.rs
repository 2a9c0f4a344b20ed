//! The only caller of the system clock.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// The latest moment that was seen, in Unix microseconds.
static LATEST: AtomicI64 = AtomicI64::new(0);

/// The present moment. It never goes back: an adjusted clock revives no token that has expired. While
/// the clock is behind, time stands still.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    let latest = LATEST.fetch_max(now.timestamp_micros(), Ordering::AcqRel);
    if latest <= now.timestamp_micros() {
        return now;
    }
    DateTime::from_timestamp_micros(latest).unwrap_or(now)
}

/// The present moment as the clock of the machine says, whether or not it went back.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
pub fn of_machine() -> DateTime<Utc> {
    Utc::now()
}

/// Takes account of a moment (Unix milliseconds) that an earlier process saw.
pub fn not_before(earlier_ms: i64) {
    LATEST.fetch_max(earlier_ms.saturating_mul(1_000), Ordering::AcqRel);
}
