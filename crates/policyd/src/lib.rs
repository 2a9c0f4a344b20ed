//! policyd: decides, records, signs.
//!
//! `domain` is the pure core; the rest reads facts for it and makes its outcomes durable.

pub mod domain;
