//! The log as others see it: pages, exports, signed heads, and the keys that sign them.

pub(crate) mod changes;
pub mod records;
pub mod signer;
