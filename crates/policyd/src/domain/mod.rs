//! The pure core: given a request and facts, what should happen.
//!
//! **Invariant:** nothing here reads a clock, a file, a socket or randomness, and nothing here
//! knows tonic or sqlx; `tests/it/tidy.rs` enforces it.

pub mod allowance;
pub mod approval;
pub mod budget;
pub mod bundle;
pub mod decide;
pub mod incident;
pub mod log;
pub mod policy;
pub mod record;
pub mod request;
