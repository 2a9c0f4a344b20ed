//! The command line: what a client finds beside it, and what commands print.

pub mod client_files;
pub mod pages;
pub mod painted;
pub mod parsed;
pub mod printed;
