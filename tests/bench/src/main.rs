//! Measures the daemons beside a floor of their own, in one run on one machine.
//!
//! It starts the built daemons, and echoes that do nothing, as processes in a throw-away folder. A number counts
//! only if what it stands for is on disk before the answer leaves. Bounded in calls and in time.

mod decisions;
mod executions;
mod machine;
mod report;
mod sample;
mod servers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use writ_proto::host::cli::printed::{Format, complain};

#[global_allocator]
static ALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(
    name = "bench",
    about = "Measures the daemons beside a floor of their own"
)]
struct Cli {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    output: Format,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// policyd: durable, signed decisions beside a bare echo; parts in process.
    Decisions(decisions::BenchArgs),
    /// connectord: verification and durable claim beside a bare echo; parts in process.
    Executions(executions::BenchArgs),
    /// From a halt to the last new effect, with two connectords under load.
    Halts(executions::halt::HaltBenchArgs),
    /// The echo that decisions are measured against.
    #[command(hide = true)]
    DecisionEcho(decisions::echo::EchoArgs),
    /// What executions are measured against, and their claim alone.
    #[command(hide = true)]
    ExecutionServer(executions::serve::ServeArgs),
}

/// An error of whatever can be shown.
fn fail(why: impl core::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{why}")
}

async fn run(cli: &Cli) -> anyhow::Result<bool> {
    let output = cli.output.live();
    match &cli.what {
        What::Decisions(args) => decisions::run(args, output).await.map(|()| true),
        What::Executions(args) => Box::pin(executions::run(args, output)).await.map(|()| true),
        What::Halts(args) => Box::pin(executions::halt::run(args, output)).await,
        What::DecisionEcho(args) => decisions::echo::serve(args, stop()).await.map(|()| true),
        What::ExecutionServer(args) => Box::pin(executions::serve::serve(args, stop()))
            .await
            .map(|()| true),
    }
}

/// Ends when the process is told to.
async fn stop() {
    // Without a signal handler the process ends at once.
    drop(tokio::signal::ctrl_c().await);
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Told to stop, it still ends its servers and removes its folder.
    let result = tokio::select! {
        result = run(&cli) => result,
        () = stop() => Ok(false),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
