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
    // A process that is stopped here by a signal goes on afterwards: the test holds it for a while.
    if let Ok(wanted) = std::env::var("CONNECTORD_PAUSE_AT")
        && let Some((wanted, milliseconds)) = wanted.split_once('=')
        && wanted == name
    {
        eprintln!("pause point {name}");
        let span = std::time::Duration::from_millis(milliseconds.parse().unwrap_or(0));
        tokio::time::sleep(span).await;
    }
}

/// The same for a point that a write and its undo share.
#[cfg(feature = "failpoints")]
pub async fn point_of(act: &str, name: &str) {
    point(&format!("{act}{name}")).await;
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn point(_name: &str) {}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn point_of(_act: &str, _name: &str) {}
