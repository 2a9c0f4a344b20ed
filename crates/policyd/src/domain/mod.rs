//! The pure core: given a request and facts, what should happen.
//!
//! **Invariant:** nothing here reads a clock, a file, a socket or randomness, and nothing here
//! knows tonic or sqlx; `tests/it/tidy.rs` enforces it.

pub mod allowance;
pub mod budget;
pub mod cedar;
pub mod checkpoint;
pub mod counter_offer;
pub mod decide;
pub mod escalation;
pub mod export;
pub mod facts;
pub mod intent;
pub mod merkle;
pub mod notice;
pub mod policy_set;
pub mod policy_test;
pub mod record;
pub mod request;
pub mod schema;
pub mod test_review;
pub mod waiting;
