//! Logs: to stderr, as text or JSON. Arguments and tokens are never logged.

use tracing_subscriber::EnvFilter;

/// Starts logging at a level such as `info` or what `RUST_LOG` says.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // A second start in one process (tests) keeps the first.
    let started = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    drop(started);
}
