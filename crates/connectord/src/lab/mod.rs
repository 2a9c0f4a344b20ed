//! What runs no daemon: the sandbox CRM, the conformance of system files, and the test vectors.

pub(crate) mod conform;
pub mod sandbox;
pub mod vectors;
