//! The only map from our errors to gRPC: a code, the public sentence, and `ErrorInfo` with the
//! stable reason. What is internal goes to the log, once, here.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use writ_proto::Reason;

use crate::app::AppError;

const DOMAIN: &str = "connectord.writ";

/// The gRPC code of a reason.
const fn code(reason: Reason) -> Code {
    use Reason as R;
    match reason {
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
        | R::TokenPopFailed => Code::Unauthenticated,
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
        | R::CredentialMissing
        | R::CredentialSeal => Code::FailedPrecondition,
        R::PreconditionFailed => Code::Aborted,
        R::TokenReplayed | R::AlreadyExists | R::RequestIdReused => Code::AlreadyExists,
        R::BudgetExceeded | R::RateLimited | R::SystemRateLimited => Code::ResourceExhausted,
        R::StoreUnavailable | R::Unavailable | R::PeerUnreachable | R::SystemUnavailable => {
            Code::Unavailable
        }
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
    let fix = error.reason.fix().to_owned();
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason.code(), DOMAIN, [("fix".to_owned(), fix)]);
    let message = format!("{} {}", error.reason.code(), error.public);
    Status::with_error_details(code(error.reason), message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_status_that_names_it_and_its_fix() {
        for reason in Reason::all() {
            let status = status(&AppError::of(reason));
            assert_ne!(status.code(), Code::Ok, "{reason}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.reason, reason.code());
            assert_eq!(info.metadata["fix"], reason.fix());
        }
    }

    #[test]
    fn a_record_in_the_way_is_no_fault_of_the_request() {
        for (reason, expected) in [
            (Reason::AlreadyExists, Code::AlreadyExists),
            (Reason::RequestIdReused, Code::AlreadyExists),
            (Reason::SystemDenied, Code::FailedPrecondition),
            (Reason::NotTaken, Code::FailedPrecondition),
            (Reason::NothingSeen, Code::FailedPrecondition),
            (Reason::CardChanged, Code::FailedPrecondition),
            (Reason::PilotLimit, Code::FailedPrecondition),
            (Reason::ArgsSchema, Code::InvalidArgument),
        ] {
            assert_eq!(code(reason), expected, "{reason}");
        }
    }

    #[test]
    fn internals_do_not_reach_the_caller() {
        let error = AppError {
            detail: "disk /secret".into(),
            ..AppError::of(Reason::StoreUnavailable)
        };
        assert!(!format!("{:?}", status(&error)).contains("/secret"));
    }
}
