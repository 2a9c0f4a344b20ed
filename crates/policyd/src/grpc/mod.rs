//! The only layer that names tonic and the generated types.

pub mod authorization;
pub mod budgets;
pub mod client;
pub mod convert;
pub mod exports;
pub(crate) mod facts;
pub mod incidents;
pub mod keys;
mod notices;
pub mod records;
pub mod status;
