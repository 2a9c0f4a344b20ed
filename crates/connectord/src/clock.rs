//! The only caller of the system clock.

use chrono::{DateTime, Utc};

/// The present moment.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
