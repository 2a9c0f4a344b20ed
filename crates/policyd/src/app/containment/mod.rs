//! Stopping agents: repeated denials, incidents, halts that policyd asks for, and what people are told.

pub mod alike;
pub mod denials;
pub mod halting;
pub mod incidents;
pub mod notices;
