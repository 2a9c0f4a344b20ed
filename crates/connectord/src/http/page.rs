//! The documents: templates that escape whatever is put into them, and one style sheet inside.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use writ_proto::Reason;

use super::notice::Told;
use super::view::View;

/// The style sheet, byte for byte as the policy of the page names it.
pub const CSS: &str = include_str!("../../templates/halt.css");
/// The reason of a path that is none.
pub const NOT_FOUND: Reason = Reason::NotFound;

/// The halt page.
#[derive(Debug, Template)]
#[template(path = "halt.html")]
pub struct HaltPage<'a> {
    /// What it shows.
    pub view: &'a View,
    /// What the last form came to.
    pub told: Option<Told>,
    /// Whether it refreshes itself; then it has nothing to type into.
    pub live: bool,
}

/// The form of resuming.
#[derive(Debug, Template)]
#[template(path = "resume.html")]
pub struct ResumePage<'a> {
    /// The scope for people.
    pub label: &'a str,
    /// Since when, by whom and why it is halted.
    pub about: &'a str,
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
    /// The scope.
    pub scope: &'a str,
    /// Unix seconds at which the form ends.
    pub until: i64,
    /// The seal of the form.
    pub seal: &'a str,
    /// Typed before.
    pub reason: &'a str,
    /// Typed before.
    pub operator: &'a str,
}

/// The form of undoing.
#[derive(Debug, Template)]
#[template(path = "undo.html")]
pub struct UndoPage<'a> {
    /// Whose writes may be undone; one where the device has one.
    pub tenants: &'a [String],
    /// How many minutes back may be chosen.
    pub minutes: &'a [u32],
    /// What was wrong with the last try.
    pub problem: Option<&'a str>,
    /// Unix seconds at which the form was made; the minutes count back from there.
    pub at: i64,
    /// The seal of the form.
    pub seal: &'a str,
    /// Chosen before.
    pub tenant: &'a str,
    /// Chosen before.
    pub chosen: u32,
    /// Typed before.
    pub reason: &'a str,
    /// Typed before.
    pub operator: &'a str,
}

/// The page behind a device link.
#[derive(Debug, Template)]
#[template(path = "device.html")]
pub struct DevicePage<'a> {
    /// The secret of the link, which the button sends back.
    pub secret: &'a str,
}

/// A refusal for people.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    title: &'a str,
    text: &'a str,
    fix: &'a str,
    code: &'a str,
}

/// A document with a status.
pub fn document(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A refusal with the sentence and the fix of its code.
#[must_use]
pub fn refused(status: StatusCode, reason: Reason) -> Response {
    problem(status, reason, reason.sentence())
}

/// A refusal with a sentence of its own.
#[must_use]
pub fn problem(status: StatusCode, reason: Reason, text: &str) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "Not found",
        StatusCode::SERVICE_UNAVAILABLE => "Not known",
        _ => "Refused",
    };
    let page = ProblemPage {
        title,
        text,
        fix: reason.fix(),
        code: reason.code(),
    };
    document(status, &page)
}
