//! Budgets: how they stand, what is over one, holds that are given back, usage that is reported.

pub mod budgets;
pub mod holds;
pub(crate) mod ordered_halts;
pub(crate) mod over_budget;
pub mod usage;
