//! What is worth asking again.

use writ_proto::Reason;

/// How an agent should take an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not at all.
    DoNot,
    /// As another request.
    Changed,
    /// The same, later.
    Later,
}

/// What is worth asking again, by the code of a denial or of a demand for approval.
#[must_use]
pub fn retry_of(reason: Reason, has_fix: bool) -> Retry {
    match reason {
        Reason::Forbidden if has_fix => Retry::Changed,
        Reason::NotPermitted
        | Reason::InvalidArguments
        | Reason::AmountRequired
        | Reason::CustomerUnknown
        | Reason::RunRequired
        | Reason::UnknownAction
        | Reason::UnknownConnection => Retry::Changed,
        Reason::Halted
        | Reason::HaltUnknown
        | Reason::BudgetExceeded
        | Reason::OutsideHours
        | Reason::UsageUnknown
        | Reason::PolicyError
        | Reason::ApprovalRequired
        | Reason::ApprovalQueueFull
        | Reason::ApprovalExpired => Retry::Later,
        _ => Retry::DoNot,
    }
}
