//! What runs no daemon: the sandbox CRM, what system files promise, and the test vectors.

pub(crate) mod conform;
pub(crate) mod lint;
pub mod sandbox;
pub mod vectors;
