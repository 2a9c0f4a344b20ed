//! What is told of the scopes that were left.

use super::*;

#[test]
fn of_what_is_left_it_is_told_what_was_not_done_and_what_may_have_been() {
    for (reason, left, told) in [
        (Reason::RateLimited, 1, "NOT SET: run:r: why"),
        (
            Reason::UnknownTenant,
            3,
            "NOT SET: run:r and the 2 scopes after it: why",
        ),
        (Reason::NotFound, 1, "NOT SET: run:r: why"),
        (
            Reason::RequestTooLarge,
            2,
            "NOT SET: run:r and the 1 scope after it: why",
        ),
        (
            Reason::HaltUnknown,
            1,
            "NOT CONFIRMED: run:r; `connectord halt status` says what stands: why",
        ),
        (
            Reason::HaltUnknown,
            2,
            "NOT CONFIRMED: run:r; NOT SET: the 1 scope after it; `connectord halt status` says what stands: why",
        ),
        (
            Reason::Unavailable,
            3,
            "NOT CONFIRMED: run:r; NOT SET: the 2 scopes after it; `connectord halt status` says what stands: why",
        ),
    ] {
        let error = so_far("NOT SET", (left, "run:r"), AppError::new(reason, "why"));
        assert_eq!((error.reason, error.public.as_str()), (reason, told));
    }
}
