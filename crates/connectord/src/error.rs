//! "Could not do it", apart from any transport, with the stable code of why.

use writ_proto::Reason;
use writ_proto::host::channel::ChannelError;
use writ_proto::host::layers::ConfigError;

use crate::domain::gate::Refusal;
use crate::store::JournalError;

/// A refusal or a failure, as the edge tells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {public}", reason.code())]
pub struct AppError {
    /// The stable code.
    pub reason: Reason,
    /// What the caller may know.
    pub public: String,
    /// What only the log says.
    pub detail: String,
    /// What to do in this very case, where more is known than the code alone says.
    pub own_fix: Option<String>,
}

impl AppError {
    /// A failure whose sentence is all there is to say.
    pub fn new(reason: Reason, public: impl Into<String>) -> Self {
        Self {
            reason,
            public: public.into(),
            detail: String::new(),
            own_fix: None,
        }
    }

    /// The same with what to do in this case; commands in it work as pasted.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            own_fix: Some(fix.into()),
            ..self
        }
    }

    /// What to do.
    #[must_use]
    pub fn fix(&self) -> &str {
        self.own_fix.as_deref().unwrap_or_else(|| self.reason.fix())
    }

    /// The same, where it says more than the message.
    #[must_use]
    pub fn shown_fix(&self) -> Option<&str> {
        (self.own_fix.is_some() || !self.reason.fix_is_in_message()).then(|| self.fix())
    }

    /// A failure with the sentence of its code.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        Self::new(reason, reason.sentence())
    }
}

impl AppError {
    /// There is no execution of this id, or none that the caller may know of.
    #[must_use]
    pub fn no_execution(tenant: &str, id: &str) -> Self {
        let message = format!("no execution `{id}` in tenant `{tenant}`: connectord executions ls");
        Self::new(Reason::NotFound, message)
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason, refusal.detail)
    }
}

impl From<JournalError> for AppError {
    fn from(error: JournalError) -> Self {
        let reason = match error.clone() {
            JournalError::Unavailable(_) => Reason::StoreUnavailable,
            JournalError::Full | JournalError::Busy => Reason::RateLimited,
            JournalError::Conflict => Reason::OutcomeUnknown,
            JournalError::OverCap(over) => return Self::new(Reason::BudgetExceeded, over.what),
            JournalError::Corrupt(_) => Reason::StoreCorrupt,
            JournalError::SchemaVersion { .. } => Reason::SchemaVersion,
        };
        Self {
            detail: error.to_string(),
            ..Self::of(reason)
        }
    }
}

impl From<ChannelError> for AppError {
    fn from(error: ChannelError) -> Self {
        let reason = match &error {
            ChannelError::Unusable(_) => Reason::TlsInvalid,
            ChannelError::Expired(_) => Reason::ClientCertExpired,
            ChannelError::Unreachable(_) => Reason::PeerUnreachable,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<ConfigError> for AppError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::UnknownKey(detail) => Self::new(Reason::ConfigUnknownKey, detail),
            ConfigError::Invalid(detail) => Self::new(Reason::ConfigInvalid, detail),
        }
    }
}
