//! Commands beside the daemon: its start, its keys, its store, its bridge.

pub(crate) mod certs;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod mcp;
pub(crate) mod sample;
pub(crate) mod server;
pub(crate) mod store;
