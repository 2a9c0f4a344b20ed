//! The only source of ids and randomness.

use uuid::Uuid;

/// A fresh id that sorts by time.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where ids are made"
)]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Bytes from the operating system; none if it has no randomness to give.
#[must_use]
pub fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}
