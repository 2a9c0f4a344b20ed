//! Systems of record: drivers that read a record, make exactly one write, and look whether a
//! write has happened. What is specific to a vendor is data in `deploy/systems/*.toml`.
//!
//! Contract: `write` makes at most one call that can change anything and never repeats it. It
//! answers `Refused`, `Conflict` or `RateLimited` only when nothing was changed for certain.

pub mod document;
pub mod file;
pub mod http;
pub mod http_json;
mod template;

use writ_proto::value::Map;

use crate::domain::gate::Permit;
use crate::domain::image::Image;
use crate::domain::plan::Plan;
use crate::domain::undo;
use crate::domain::undo_writ::UndoPermit;

pub use document::Document;
pub use http_json::HttpJson;

/// Leave to write: one of the two permits, and nothing else.
#[derive(Debug, Clone, Copy)]
pub enum Leave<'a> {
    /// An agent's call that passed the gate.
    Permit(&'a Permit),
    /// Putting back what we wrote ourselves.
    Undo(&'a UndoPermit),
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

/// A connection to one system of record, by its driver.
#[derive(Debug)]
pub enum System {
    /// JSON over HTTP.
    HttpJson(Box<HttpJson>),
    /// Locked templates and what is made from them.
    Document(Document),
}

impl System {
    /// Reads the named and the watched fields of a record, and its version.
    ///
    /// # Errors
    /// When there is no such record or it cannot be read.
    pub async fn read(
        &self,
        object: &str,
        id: &str,
        fields: &[String],
    ) -> Result<Image, SystemError> {
        match self {
            Self::HttpJson(system) => system.read(object, id, fields).await,
            Self::Document(system) => system.read(object, id, fields).await,
        }
    }

    /// Ids of the records that carry a signal, at most one more than may match.
    ///
    /// # Errors
    /// When the system knows no such search, or it gives no list.
    pub async fn find(
        &self,
        object: &str,
        signal: &str,
        args: &Map,
    ) -> Result<Vec<String>, SystemError> {
        match self {
            Self::HttpJson(system) => system.find(object, signal, args).await,
            Self::Document(system) => system.find(object, signal, args).await,
        }
    }

    /// Makes the one write of a plan. The leave is not looked into: it is the proof that somebody
    /// with the right to let this happen did.
    pub async fn write(&self, leave: Leave<'_>, plan: &Plan) -> Applied {
        if let Leave::Undo(permit) = leave
            && plan.key != undo::key_of(permit.execution())
        {
            return Applied::Refused("this leave is for the undo of another execution".to_owned());
        }
        match self {
            Self::HttpJson(system) => system.write(leave, plan).await,
            Self::Document(system) => system.write(plan).await,
        }
    }

    /// Looks whether a write of unknown outcome has happened.
    pub async fn reconcile(&self, plan: &Plan) -> Happened {
        match self {
            Self::HttpJson(system) => system.reconcile(plan).await,
            Self::Document(system) => system.reconcile(plan).await,
        }
    }
}
