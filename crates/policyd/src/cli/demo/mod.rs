//! `policyd demo`: the real processes with the real credential wall, and the whole story as a
//! table of what policy said and what happened. Throw-away data, loopback only.

mod actor;
mod contain;
pub(super) mod processes;
mod story;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::error::AppError;
use crate::output::Output;
use processes::Processes;

const FOLDER: &str = ".policyd-demo";

/// How to run it.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after the story, with 0 only if every step came out as expected.
    #[arg(long)]
    exit: bool,
    /// First of the ports; free ones if absent.
    #[arg(long)]
    port_base: Option<u16>,
    /// Keep the data in this folder; it must not exist.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// One row of the table.
#[derive(Debug)]
struct Row {
    asks: String,
    said: String,
    happened: String,
    expected: bool,
}

pub(super) async fn run(args: &DemoArgs, output: Output) -> Result<u8, AppError> {
    let folder = args.keep.clone().unwrap_or_else(|| PathBuf::from(FOLDER));
    let text = format!(
        "policyd {}  DEMO - throw-away data in {} - not for production",
        env!("CARGO_PKG_VERSION"),
        folder.display()
    );
    output.line(&text, &json!({"demo": folder}));
    let lock = processes::claim(&folder, args.keep.is_none())?;
    // Told to stop at any moment, it still ends its processes and removes its folder.
    let result = tokio::select! {
        result = play(args, &folder, output) => result,
        () = crate::cli::daemon::server::stop() => Ok(0),
    };
    drop(lock);
    // After a surprise the logs stay for whoever looks into it.
    if args.keep.is_none() && matches!(result, Ok(0)) {
        // What is left of a throw-away folder harms nobody.
        drop(std::fs::remove_dir_all(&folder));
    }
    result
}

async fn play(args: &DemoArgs, folder: &Path, output: Output) -> Result<u8, AppError> {
    let processes = Processes::start(folder, args.port_base, output).await?;
    let started = Instant::now();
    let rows = story::play(&processes, |number, row| {
        let mark = if row.expected { " " } else { "!" };
        let text = format!(
            "{mark}{number:>2}  {:<43} {:<20} {}",
            row.asks, row.said, row.happened
        );
        let value = json!({"step": number, "asks": row.asks, "policy_said": row.said,
            "what_happened": row.happened, "as_expected": row.expected});
        output.line(&text, &value);
    })
    .await?;
    let expected = rows.iter().filter(|row| row.expected).count();
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let text = format!("{expected} of {} as expected in {millis} ms.", rows.len());
    let value = json!({"as_expected": expected, "of": rows.len(), "milliseconds": millis});
    output.line(&text, &value);
    let code = u8::from(expected != rows.len());
    if args.exit {
        return Ok(code);
    }
    let hint = if std::io::stdin().is_terminal() {
        "Ctrl-C ends it."
    } else {
        "SIGTERM ends it."
    };
    let (dir, url) = (folder.display(), &processes.policyd_url);
    let text = format!(
        "The daemons stay up. {hint}  Sandbox CRM: {}\n\
         Next: policyd records ls --addr {url} --cacert {dir}/certs/ca.pem --cert {dir}/certs/operator-acme-ops.pem",
        processes.sandbox_url
    );
    output.line(
        &text,
        &json!({"sandbox": processes.sandbox_url, "policyd": url}),
    );
    crate::cli::daemon::server::stop().await;
    Ok(code)
}
