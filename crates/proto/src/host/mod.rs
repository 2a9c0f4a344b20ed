//! What both daemons run on: group commit, versions of a database schema, connections to PostgreSQL,
//! the threads that serve, the TLS handshake, layers of configuration, key files of clients.
//! Nothing here knows the contract (ADR 0039).

pub mod channel;
pub mod cli;
pub mod layers;
pub mod serve;
pub mod store;
pub mod telemetry;

pub use serve::incoming::{Counted, Incoming};
pub use serve::paced::{Paced, Refuse};
