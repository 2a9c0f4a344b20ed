//! The pure core: may this call happen, and what exactly would it do.
//!
//! **Invariant:** no clock, file, socket or randomness here, and only `gate.rs` builds a
//! `Permit`; `tests/it/tidy.rs` enforces both.

pub mod caps;
pub mod execution;
pub mod gate;
pub mod ground;
pub mod identity;
pub mod image;
pub mod outcome;
pub mod plan;
pub mod promotion;
pub mod rollout;
pub mod undo;
pub mod undo_writ;
