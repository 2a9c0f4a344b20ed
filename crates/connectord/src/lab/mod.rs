//! What runs no daemon: the sandbox CRM, drafts of system files, what they promise, and the test vectors.

pub(crate) mod conform;
pub(crate) mod lint;
pub mod sandbox;
pub(crate) mod scaffold;
pub mod vectors;
