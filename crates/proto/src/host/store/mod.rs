//! Storing: group commit, versions of a schema, connections to PostgreSQL.

pub mod alone;
pub mod disk;
pub mod durable;
pub mod group_commit;
pub mod owner;
pub mod postgres;
pub mod schema;
