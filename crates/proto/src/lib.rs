//! The contract of Writ, shared by both daemons.
//!
//! What lives here is a thing both daemons need and where two copies that disagree would be a
//! security hole: the gRPC types, ids, canonical arguments and their hash, the decision token and
//! its verification, the trusted keys, the action card, the reason codes and the limits.
//!
//! What does not live here: I/O, clocks, randomness, async, configuration. Callers pass the time
//! and the keys. The Merkle log and the exports are policyd's alone. The one exception is `host`,
//! what both daemons run on, behind a feature that is off by default and that knows nothing of the
//! contract (ADR 0039).

pub mod caller;
pub mod card;
pub mod context;
pub mod cose;
pub mod digest;
pub mod duration;
pub mod egress;
#[cfg(feature = "host")]
pub mod host;
pub mod ids;
pub mod keyset;
pub mod limits;
pub mod money;
#[rustfmt::skip]
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::as_conversions,
    clippy::large_enum_variant,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "generated; `it/codegen.rs` proves that it is current"
)]
pub mod pb;
pub mod reason;
pub mod scope;
pub mod together;
pub mod token;
pub mod toml_flaw;
pub mod value;

pub use caller::Caller;
pub use reason::Reason;
