//! Serving: the handshake, connections and their shares, the rate of calls, threads, HTTP and gRPC.

pub mod alike;
pub mod connections;
pub mod fronts;
pub mod grpc;
pub mod health;
pub mod http;
pub(crate) mod incoming;
pub mod paced;
pub mod rate;
pub mod turn;
