//! Named points of an execution at which a crash test stops the process and kills it. Built only
//! with the feature `failpoints`; in every other build a point is nothing.

/// Stops here for ever if this is the point that the test named.
#[cfg(feature = "failpoints")]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "crash tests only"
)]
pub async fn point(name: &str) {
    if std::env::var("CONNECTORD_CRASH_AT").is_ok_and(|wanted| wanted == name) {
        eprintln!("crash point {name}");
        std::future::pending::<()>().await;
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn point(_name: &str) {}
