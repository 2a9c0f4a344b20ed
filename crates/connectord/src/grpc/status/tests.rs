//! Tests of `status.rs`.

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
