//! Why a record could not be read, and why nothing was done, for certain.

use writ_proto::Reason;

use crate::domain::gate::Refusal;

/// Why a record could not be read, or a call not be prepared. Nothing was sent that could change
/// anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemError {
    /// There is no such record; what was asked for it and answered, where that is a call.
    #[error("the system has no such record{}", if .0.is_empty() { String::new() } else { format!(": {}", .0) })]
    NotFound(String),
    /// The id or object is not one the system file knows.
    #[error("{0}")]
    Unknown(String),
    /// The system calls the record by another id.
    #[error("the system calls this record {0}: name it by that id")]
    Alias(String),
    /// The credential may not do this.
    #[error("the credential may not do this: {0}")]
    Denied(String),
    /// The system asks to slow down, for so many seconds if it says so.
    #[error("{}{why}", wait.map_or_else(String::new, |wait| format!("wait {wait} s; ")))]
    Limited {
        /// Seconds.
        wait: Option<u64>,
        /// What it said.
        why: String,
    },
    /// A field is not there, or holds what its codec has no meaning for.
    #[error("{0}")]
    Field(String),
    /// The record has less left than the call asks for.
    #[error("{0}")]
    Over(String),
    /// The system would not take it.
    #[error("{0}")]
    Refused(String),
    /// Something that must stand changed since it was looked at.
    #[error("{0}")]
    Moved(String),
    /// It did not answer, or not in a way that can be understood.
    #[error("{0}")]
    Unavailable(String),
}

impl SystemError {
    /// The stable code.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotFound(_) | Self::Unknown(_) => Reason::TargetNotFound,
            Self::Alias(_) => Reason::TargetMismatch,
            Self::Denied(_) => Reason::SystemDenied,
            Self::Limited { .. } => Reason::SystemRateLimited,
            Self::Field(_) => Reason::FieldUnreadable,
            Self::Over(_) => Reason::BudgetExceeded,
            Self::Refused(_) => Reason::SystemRefused,
            Self::Moved(_) => Reason::PreconditionFailed,
            Self::Unavailable(_) => Reason::SystemUnavailable,
        }
    }
}

impl From<SystemError> for Refusal {
    fn from(error: SystemError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// Why nothing was done, for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    /// The record has another version, or was changed since it was looked at.
    Stale,
    /// The system said no.
    Refused,
    /// The credential may not do this.
    Denied,
    /// The system asks to slow down, for so many seconds if it says so.
    Limited(Option<u64>),
    /// It could not be reached: no byte was sent.
    Unreached,
    /// A check of ours right before it.
    Stopped(Reason),
}

impl NotDone {
    /// Why nothing was sent after a look right before.
    #[must_use]
    pub const fn of(error: &SystemError) -> Self {
        match error {
            SystemError::Denied(_) => Self::Denied,
            SystemError::Limited { wait, .. } => Self::Limited(*wait),
            other => Self::Stopped(other.reason()),
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Stale => Reason::PreconditionFailed,
            Self::Refused => Reason::SystemRefused,
            Self::Denied => Reason::SystemDenied,
            Self::Limited(_) => Reason::SystemRateLimited,
            Self::Unreached => Reason::SystemUnavailable,
            Self::Stopped(reason) => reason,
        }
    }

    /// A refusal of this kind, with the time to wait where there is one.
    #[must_use]
    pub fn refusal(self, why: &str) -> Refusal {
        match self {
            Self::Limited(Some(wait)) => {
                Refusal::new(self.reason(), format!("wait {wait} s; {why}"))
            }
            _ => Refusal::new(self.reason(), why),
        }
    }
}
