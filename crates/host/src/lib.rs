//! What both daemons run on and what knows nothing of Writ: group commit, versions of a database
//! schema, connections to PostgreSQL, the threads that serve, layers of
//! configuration, where HTTP may be sent, where keys of clients lie, figures of the machine
//! (ADR 0013).

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test may panic"
    )
)]

pub mod door;
pub mod duration;
pub mod egress;
pub mod fronts;
pub mod group_commit;
pub mod grpc;
pub mod http;
mod incoming;
pub mod key_files;
pub mod layers;
pub mod machine;
pub mod postgres;
pub mod schema;

pub use incoming::{Counted, Incoming};
