//! Faults that a test or a rehearsal switches on for the next writes.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

/// Longest delay of a fault.
const DELAY_MS_MAX: u64 = 60_000;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// The answer comes late.
    Slow,
    /// 429 with Retry-After, nothing done.
    RateLimited,
    /// 429 without Retry-After, nothing done.
    RateLimitedBare,
    /// 500, nothing done.
    ErrorBefore,
    /// 500, but done.
    ErrorAfter,
    /// Done, but the connection is cut.
    AnswerLost,
    /// The connection is cut, and it is done later.
    LateCommit,
}

/// A fault for the next writes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    kind: FaultKind,
    /// For how many writes.
    #[serde(default = "one")]
    count: u32,
    /// Delay in milliseconds, for `slow` and `late_commit`.
    #[serde(default)]
    delay_ms: u64,
}

const fn one() -> u32 {
    1
}

/// The fault in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Option<Fault>>);

/// A connection that is cut has no answer; hyper closes it when the handler panics or the body
/// fails, so the body fails.
fn cut() -> Response {
    let broken = futures_failing();
    Response::builder()
        .header(header::CONTENT_LENGTH, 1_000)
        .body(axum::body::Body::from_stream(broken))
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn futures_failing() -> impl tokio_stream::Stream<Item = Result<Vec<u8>, std::io::Error>> {
    tokio_stream::once(Err(std::io::Error::other("the sandbox cut the connection")))
}

impl Faults {
    pub(crate) fn set(&self, fault: Fault) {
        if let Ok(mut held) = self.0.lock() {
            *held = Some(fault).filter(|fault| fault.count > 0);
        }
    }

    fn take(&self) -> Option<Fault> {
        let mut held = self.0.lock().ok()?;
        let fault = (*held)?;
        let left = fault.count.saturating_sub(1);
        *held = Some(Fault {
            count: left,
            ..fault
        })
        .filter(|fault| fault.count > 0);
        Some(fault)
    }

    /// Does some work, with the fault around it.
    pub(crate) async fn around(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> Response {
        let Some(fault) = self.take() else {
            return work.await;
        };
        let delay = Duration::from_millis(fault.delay_ms.min(DELAY_MS_MAX));
        let error = StatusCode::INTERNAL_SERVER_ERROR;
        match fault.kind {
            FaultKind::Slow => {
                let answer = work.await;
                tokio::time::sleep(delay).await;
                answer
            }
            FaultKind::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response()
            }
            FaultKind::RateLimitedBare => StatusCode::TOO_MANY_REQUESTS.into_response(),
            FaultKind::ErrorBefore => error.into_response(),
            FaultKind::ErrorAfter => {
                drop(work.await);
                error.into_response()
            }
            FaultKind::AnswerLost => {
                drop(work.await);
                cut()
            }
            FaultKind::LateCommit => {
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    drop(work.await);
                });
                cut()
            }
        }
    }
}
