//! The only map from our errors to gRPC: a code, the public sentence, and `ErrorInfo` with the
//! stable reason. What is internal goes to the log, once, here.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use writ_proto::Reason;

use crate::error::AppError;

const DOMAIN: &str = "connectord.writ";

/// Whether it was not proven who calls, or with whose leave.
const fn is_unproven(reason: Reason) -> bool {
    use Reason as R;
    matches!(
        reason,
        R::Unauthenticated
            | R::TokenTooLarge
            | R::TokenMalformed
            | R::TokenNotCanonical
            | R::TokenBadAlg
            | R::TokenBadTyp
            | R::TokenUnknownKey
            | R::TokenBadSignature
            | R::TokenBadVersion
            | R::TokenBadClaims
            | R::TokenWrongIssuer
            | R::TokenTtlTooLong
            | R::TokenNotYetValid
            | R::TokenExpired
            | R::TokenPopFailed
    )
}

/// The gRPC code of a reason.
const fn code(reason: Reason) -> Code {
    use Reason as R;
    match reason {
        _ if is_unproven(reason) => Code::Unauthenticated,
        R::TokenArgsMismatch
        | R::TokenScopeMismatch
        | R::TokenModeMismatch
        | R::TokenWrongAudience
        | R::ApprovalRequired
        | R::OperatorRequired
        | R::GlobalOperatorRequired
        | R::AgentRequired
        | R::ServiceRequired => Code::PermissionDenied,
        R::Halted
        | R::HaltUnknown
        | R::TokenRevoked
        | R::CardMismatch
        | R::CardMissing
        | R::DryRunOnly
        | R::UndoExpired
        | R::UndoImpossible
        | R::UndoNotSigned
        | R::UndoMismatch
        | R::AlreadyUndone
        | R::VerbMismatch
        | R::SystemRefused
        | R::SystemDenied
        | R::CredentialTooWide
        | R::NotTaken
        | R::FieldUnreadable
        | R::NothingSeen
        | R::SurprisesMarked
        | R::CardChanged
        | R::PilotFirst
        | R::PilotLimit
        | R::OutsideHours
        | R::StateNotAllowed
        | R::FieldNotEmpty
        | R::AppendImpossible
        | R::TargetAmbiguous
        | R::TargetMismatch
        | R::UnknownConnection
        | R::JournalInUse
        | R::StoreInUse
        | R::CredentialMissing
        | R::CredentialSeal => Code::FailedPrecondition,
        R::PreconditionFailed => Code::Aborted,
        R::TokenReplayed | R::AlreadyExists | R::RequestIdReused => Code::AlreadyExists,
        R::BudgetExceeded | R::RateLimited | R::SystemRateLimited => Code::ResourceExhausted,
        R::StoreUnavailable
        | R::DiskReserve
        | R::Unavailable
        | R::PeerUnreachable
        | R::SystemUnavailable => Code::Unavailable,
        R::OutcomeUnknown => Code::Unknown,
        R::NotFound | R::TargetNotFound | R::UnknownTenant | R::UnknownAction => Code::NotFound,
        R::Deadline => Code::DeadlineExceeded,
        R::StoreCorrupt | R::StoreRestored | R::SchemaVersion | R::Internal => Code::Internal,
        _ => Code::InvalidArgument,
    }
}

/// The status of a failure.
#[must_use]
pub fn status(error: &AppError) -> Status {
    if !error.detail.is_empty() {
        tracing::warn!(reason = error.reason.code(), detail = %error.detail, "a call failed");
    }
    let fix = error.fix().to_owned();
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason.code(), DOMAIN, [("fix".to_owned(), fix)]);
    let message = format!("{} {}", error.reason.code(), error.public);
    Status::with_error_details(code(error.reason), message, details)
}

/// The status of a call that came too early.
#[must_use]
pub fn over_rate(wait: Duration) -> Status {
    let why =
        "this caller, or all agents of its tenant together, ask for more than [limits] allows";
    limited(why, wait)
}

/// The status of a call for whose kind too many are under way.
#[must_use]
pub fn busy(what: &str, wait: Duration) -> Status {
    let why = format!(
        "this caller, or the agents of its tenant, ask for more {what} than take their turn"
    );
    limited(&why, wait)
}

fn limited(why: &str, wait: Duration) -> Status {
    let message = format!("{why}; wait {} ms", wait.as_millis());
    let error = AppError::new(Reason::RateLimited, message);
    let mut details = ErrorDetails::new();
    let fix = error.fix().to_owned();
    details.set_error_info(error.reason.code(), DOMAIN, [("fix".to_owned(), fix)]);
    details.set_retry_info(Some(wait));
    let message = format!("{} {}", error.reason.code(), error.public);
    Status::with_error_details(code(error.reason), message, details)
}

#[cfg(test)]
mod tests;
