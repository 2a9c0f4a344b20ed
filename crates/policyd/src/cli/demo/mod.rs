//! `policyd demo`: the real processes with the real credential wall, and the whole story as a
//! table of what policy said and what happened. Throw-away data, loopback only.

mod processes;
mod story;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::output::Output;
use crate::app::AppError;
use processes::Processes;

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
    let folder = args
        .keep
        .clone()
        .unwrap_or_else(|| PathBuf::from(".policyd-demo"));
    if args.keep.is_none() && folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| processes::broken(&error))?;
    }
    let text = format!(
        "policyd {}  DEMO - throw-away data in {} - not for production",
        env!("CARGO_PKG_VERSION"),
        folder.display()
    );
    output.line(&text, &json!({"demo": folder}));
    let processes = Processes::start(&folder, args.port_base, output).await?;
    let started = Instant::now();
    let rows = story::play(&processes, |number, row| {
        let mark = if row.expected { " " } else { "!" };
        let text = format!(
            "{mark}{number:>2}  {:<44} {:<27} {}",
            row.asks, row.said, row.happened
        );
        let value = json!({"step": number, "asks": row.asks, "policy_said": row.said,
            "what_happened": row.happened, "as_expected": row.expected});
        output.line(&text, &value);
    })
    .await?;
    let expected = rows.iter().filter(|row| row.expected).count();
    let seconds = started.elapsed().as_millis();
    let text = format!("{expected} of {} as expected in {seconds} ms.", rows.len());
    output.line(&text, &json!({"as_expected": expected, "of": rows.len(), "milliseconds": u64::try_from(seconds).unwrap_or(0)}));
    if !args.exit {
        let hint = if std::io::stdin().is_terminal() {
            "Ctrl-C ends it."
        } else {
            "SIGTERM ends it."
        };
        let text = format!(
            "The daemons stay up. {hint}  Sandbox CRM: {}",
            processes.sandbox_url
        );
        output.line(&text, &json!({"sandbox": processes.sandbox_url}));
        super::server::stop().await;
    }
    drop(processes);
    if args.keep.is_none() {
        // What is left of a throw-away folder harms nobody.
        drop(std::fs::remove_dir_all(&folder));
    }
    Ok(u8::from(expected != rows.len()))
}
