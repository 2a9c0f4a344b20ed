//! policyd: decides, records, signs.
//!
//! `domain` is the pure core. `store` makes its outcomes durable, `app` puts the two together,
//! `grpc` and `http` are the only layers that know the wire, `cli` the only one that prints. `mcp` is a bridge that
//! runs beside an agent: it is a client of both daemons and uses nothing of the rest.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod http;
pub mod identity;
pub mod ids;
pub mod keys;
pub mod marks;
pub mod mcp;
mod output;
pub mod server;
pub mod store;
pub mod task;
