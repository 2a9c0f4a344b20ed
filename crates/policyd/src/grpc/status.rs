//! The only map from our errors to gRPC: a code, the public sentence, and `ErrorInfo` with the
//! stable reason. What is internal goes to the log, once, here.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use writ_proto::Reason;

use crate::error::AppError;

const DOMAIN: &str = "policyd.writ";

/// The gRPC code of a reason that ends a call at policyd.
const fn code(reason: Reason) -> Code {
    match reason {
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::OperatorRequired
        | Reason::GlobalOperatorRequired
        | Reason::AgentRequired
        | Reason::ServiceRequired => Code::PermissionDenied,
        Reason::DecisionFinal => Code::FailedPrecondition,
        Reason::NotFound | Reason::UnknownTenant | Reason::UnknownAction => Code::NotFound,
        Reason::RequestIdReused => Code::AlreadyExists,
        Reason::RateLimited | Reason::BudgetExceeded => Code::ResourceExhausted,
        Reason::StoreUnavailable
        | Reason::DiskReserve
        | Reason::Unavailable
        | Reason::PeerUnreachable => Code::Unavailable,
        Reason::Deadline => Code::DeadlineExceeded,
        Reason::StoreCorrupt | Reason::StoreRestored | Reason::SchemaVersion | Reason::Internal => {
            Code::Internal
        }
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
    let message = format!(
        "this caller, or all agents of its tenant together, ask for more than [limits] allows; wait {} ms",
        wait.as_millis()
    );
    let error = AppError::new(Reason::RateLimited, message);
    let mut details = ErrorDetails::new();
    let fix = error.fix().to_owned();
    details.set_error_info(error.reason.code(), DOMAIN, [("fix".to_owned(), fix)]);
    details.set_retry_info(Some(wait));
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
    fn internals_do_not_reach_the_caller() {
        let error = AppError {
            detail: "disk /secret".into(),
            ..AppError::of(Reason::StoreUnavailable)
        };
        assert!(!format!("{:?}", status(&error)).contains("/secret"));
    }
}
