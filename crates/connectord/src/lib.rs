//! connectord: the only holder of CRM credentials. Verifies, executes once, keeps before and
//! after, undoes.
//!
//! `domain` is the pure core, `store` the journal, `system` the drivers; `app` puts them
//! together, `grpc` is the only layer that knows the wire.

pub mod access;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod credentials;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod halt;
pub mod http;
pub mod ids;
pub mod lab;
pub mod marks;
mod output;
pub mod private_file;
pub mod server;
pub mod store;
pub mod system;
pub mod task;
pub mod trust;
pub mod wire;
