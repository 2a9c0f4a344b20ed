//! The generated types to ours and back. No tonic: `grpc` carries these messages, and the outbox keeps them.

pub mod outcome;
pub mod sheet;
