//! The only source of ids and salts.

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

/// 32 bytes from the operating system; none if it has no randomness to give.
#[must_use]
pub fn salt() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}
