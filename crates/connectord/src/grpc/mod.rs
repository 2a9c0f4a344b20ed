//! The only layer that names tonic and the generated types.

pub mod authn;
pub mod client;
pub mod connector;
pub mod convert;
pub mod facts;
pub mod halt;
pub mod status;
mod weight;
