//! The Merkle log: its tree and its signed heads.

pub mod checkpoint;
pub mod merkle;
