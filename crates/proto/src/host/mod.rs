//! What both daemons run on: group commit, versions of a database schema, connections to PostgreSQL,
//! the threads that serve, the TLS handshake, layers of configuration, key files of clients.
//! Nothing here knows the contract (ADR 0039).

pub mod channel;
pub mod client_files;
pub mod door;
pub mod fronts;
pub mod group_commit;
pub mod grpc;
pub mod http;
mod incoming;
pub mod layers;
mod paced;
pub mod pages;
pub mod postgres;
pub mod printed;
pub mod rate;
pub mod schema;
pub mod telemetry;

pub use incoming::{Counted, Incoming};
pub use paced::{Paced, Refuse};
