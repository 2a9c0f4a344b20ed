//! One request, from the turn it gets to the decision that is stored and signed.

pub(crate) mod admission;
pub mod authorize;
pub(crate) mod cancel;
pub mod decided;
pub(crate) mod disclosed;
pub(crate) mod evaluated;
pub(crate) mod grounds;
pub(crate) mod known;
pub mod offers;
mod repeated;
