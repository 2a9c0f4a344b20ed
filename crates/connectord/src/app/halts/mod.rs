//! Halts: where they are looked at, and who may set and clear them.

pub mod check;
pub mod order;
