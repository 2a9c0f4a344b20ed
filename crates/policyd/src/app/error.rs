//! "Could not decide", apart from any transport. A denial is not one of these.

use writ_proto::Reason;
use writ_proto::host::layers::ConfigError;

use crate::store::StoreError;

/// A failure with its stable code and a sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {public}", reason.code())]
pub struct AppError {
    /// The stable code.
    pub reason: Reason,
    /// What the caller may know.
    pub public: String,
    /// What only the log says.
    pub detail: String,
}

impl AppError {
    /// A failure whose sentence is all there is to say.
    pub fn new(reason: Reason, public: impl Into<String>) -> Self {
        Self {
            reason,
            public: public.into(),
            detail: String::new(),
        }
    }

    /// A failure with the sentence of its code.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        Self::new(reason, reason.sentence())
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        let reason = match &error {
            StoreError::Unavailable(_) => Reason::StoreUnavailable,
            StoreError::Full => Reason::RateLimited,
            StoreError::Corrupt(_) => Reason::StoreCorrupt,
            StoreError::SchemaVersion { .. } | StoreError::OldLog => Reason::SchemaVersion,
        };
        Self {
            detail: error.to_string(),
            ..Self::of(reason)
        }
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
