//! Systems of record: drivers that read a record, make exactly one write, and look whether a
//! write has happened. What is specific to a vendor is data in `deploy/systems/*.toml`.
//!
//! Contract: `write` makes at most one call that can change anything and never repeats it. It
//! answers `Refused`, `Conflict` or `RateLimited` only when nothing was changed for certain.

pub mod file;
pub mod http;
pub mod http_json;
mod template;

use crate::domain::gate::Permit;

pub use http_json::HttpJson;

/// Leave to write: a permit, or the undo of an execution that an operator asked for.
#[derive(Debug, Clone, Copy)]
pub enum Leave<'a> {
    /// An agent's call that passed the gate.
    Permit(&'a Permit),
    /// Putting back what we wrote ourselves.
    Undo(&'a crate::domain::execution::Execution),
}

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemError {
    /// There is no such record.
    #[error("there is no such record")]
    NotFound,
    /// The id or object is not one the system file knows.
    #[error("{0}")]
    Unknown(String),
    /// It did not answer, or not in a way that can be understood.
    #[error("{0}")]
    Unavailable(String),
}

/// What became of the one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It happened.
    Done {
        /// Id of a record that was created.
        created_id: String,
    },
    /// The record has another version; nothing happened.
    Conflict(String),
    /// The system said no; nothing happened.
    Refused(String),
    /// The system asks to slow down; nothing happened.
    RateLimited(String),
    /// Nobody knows.
    Unknown(String),
}

/// Whether a write of unknown outcome has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Yes.
    Yes {
        /// Id of a record that was created.
        created_id: String,
    },
    /// No.
    No,
    /// It cannot be told from here.
    CannotTell(String),
}
