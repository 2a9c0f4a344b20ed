//! JSON over HTTP on the port of gRPC, with the same client certificates and rates.

pub mod authzen;
