//! The command line. stdout carries the result only; logs and errors go to stderr.

mod actions;
mod call;
mod creds;
mod doctor;
mod executions;
mod halt;
mod halt_server;
mod journal;
pub(crate) mod remote;
mod sandbox;
mod server;
mod undo;
mod vectors;
mod wouldhave;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, Layers, environment};
use crate::error::AppError;
use crate::lab::{conform, lint, scaffold};
use crate::output::{Format, Output};
use writ_proto::host::cli::{pages, parsed};
use writ_proto::host::telemetry;

/// Executes what policyd has signed, once, and can undo it.
#[derive(Debug, Parser)]
#[command(name = "connectord", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every subcommand.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Configuration file.
    #[arg(
        short,
        long,
        global = true,
        default_value = "connectord.toml",
        env = "CONNECTORD_CONFIG"
    )]
    config: PathBuf,
    /// Overrides one value: a.b=value.
    #[arg(long, global = true, value_name = "A.B=VALUE")]
    set: Vec<String>,
    /// How to print the result.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Print logs as text or JSON.
    #[arg(long, global = true, value_parser = ["text", "json"], default_value = "text")]
    log_format: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Server(server::ServerArgs),
    /// Whether the daemon serves.
    Health(remote::Remote),
    /// Check configuration, keys, cards and systems without serving.
    Doctor,
    /// Ask each system of record whether it takes its credential, and what that may do beyond what cards need.
    Probe {
        /// Connection id; all of them if absent.
        connection: Option<String>,
    },
    /// Show the plan of a call; nothing is claimed or written.
    Preview(call::CallArgs),
    /// Shows what a card lets an agent see of records; takes a writ of an action that reads.
    Read(call::CallArgs),
    /// Execute a call with its writ.
    Execute(call::CallArgs),
    /// Undo one execution, a run, or a time window.
    Undo(undo::UndoArgs),
    /// List or show executions.
    #[command(subcommand)]
    Executions(executions::ExecutionsCommand),
    /// List, show, promote or demote actions.
    #[command(subcommand)]
    Actions(actions::ActionsCommand),
    /// What dry runs would have done, and marks for surprises.
    #[command(subcommand)]
    Wouldhave(wouldhave::WouldHaveCommand),
    /// Add, list, rotate or remove sealed credentials.
    #[command(subcommand)]
    Creds(creds::CredsCommand),
    /// Set, clear or show halts, ask who obeys them; without a certificate no server is needed.
    #[command(subcommand)]
    Halt(halt::HaltCommand),
    /// Serve the halt page alone, from the halt store alone.
    HaltServer(halt_server::HaltServerArgs),
    /// Accept a journal that was restored from a backup.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// The configuration and where each value came from.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The sandbox CRM.
    #[command(subcommand)]
    Sandbox(sandbox::SandboxCommand),
    /// Run a file of conformance vectors through this program.
    Vectors(vectors::VectorsArgs),
    /// Draft a system file and a card from a description in OpenAPI; what only a person knows is marked.
    Scaffold(scaffold::ScaffoldArgs),
    /// Check a system file, and cards that are to use it; nothing is connected to.
    Lint(lint::LintArgs),
    /// Try what a system file promises on one record of the real system, which is written many times.
    Conform(conform::ConformArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages.
    Man {
        /// The folder.
        #[arg(default_value = "man")]
        dir: PathBuf,
    },
    /// What a reason code means and what to do.
    Explain {
        /// The code.
        code: String,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every value that is set.
    Show {
        /// Print where it came from.
        #[arg(long)]
        origin: bool,
    },
}

impl Command {
    /// Whether its result is a list, also where it has one part or none.
    const fn is_list(&self) -> bool {
        use halt::HaltCommand as Halt;
        matches!(
            self,
            Self::Doctor
                | Self::Probe { .. }
                | Self::Undo(_)
                | Self::Conform(_)
                | Self::Lint(_)
                | Self::Scaffold(_)
                | Self::Vectors(_)
                | Self::Executions(executions::ExecutionsCommand::Ls { .. })
                | Self::Actions(actions::ActionsCommand::Ls(_))
                | Self::Wouldhave(wouldhave::WouldHaveCommand::Ls { .. })
                | Self::Creds(creds::CredsCommand::Ls)
                | Self::Halt(
                    Halt::On { .. }
                        | Halt::Off { .. }
                        | Halt::Status { .. }
                        | Halt::Drill { .. }
                        | Halt::Devices(_)
                        | Halt::Operators(_)
                )
                | Self::Sandbox(sandbox::SandboxCommand::Show { .. })
                | Self::Config(ConfigCommand::Show { .. })
        )
    }

    /// Whether it calls a daemon, and has no configuration of its own.
    const fn is_client(&self) -> bool {
        matches!(
            self,
            Self::Health(_)
                | Self::Preview(_)
                | Self::Read(_)
                | Self::Execute(_)
                | Self::Undo(_)
                | Self::Executions(_)
                | Self::Actions(_)
                | Self::Wouldhave(_)
        )
    }
}

impl Common {
    fn layers(&self) -> Result<Layers, AppError> {
        let env = environment().into_iter();
        Ok(Layers::read(&self.config, env, "CONNECTORD_", &self.set)?)
    }

    /// A command that calls a daemon changes nothing of its configuration.
    fn is_unset(&self) -> Result<(), AppError> {
        if self.config.as_os_str() != "connectord.toml" && !self.config.exists() {
            let message = format!("there is no file {}", self.config.display());
            let error = AppError::new(writ_proto::Reason::ConfigInvalid, message);
            return Err(error
                .with_fix("name the configuration that is there, or none for the one beside you"));
        }
        let Some(set) = self.set.first() else {
            return Ok(());
        };
        let message = format!(
            "--set {set}: this command calls a daemon; its address is --addr, and what is set is given to the daemon"
        );
        Err(AppError::new(writ_proto::Reason::RequestMalformed, message))
    }

    fn read(&self) -> Result<Config, AppError> {
        Ok(Config::from_layers(&self.layers()?, &self.config)?)
    }
}

/// Runs the command line and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli: Cli = parsed::command_line(&remote::BESIDE);
    let live = matches!(
        cli.command,
        Command::Server(_)
            | Command::HaltServer(_)
            | Command::Sandbox(sandbox::SandboxCommand::Serve { .. })
    );
    let format = cli.common.output;
    let output = Output::new(if live { format.live() } else { format });
    remote::set_config(&cli.common.config);
    // What conform provokes is in its table.
    let usual = match &cli.command {
        Command::Conform(_) => "error",
        _ => "info",
    };
    let filter = crate::config::variable("RUST_LOG").unwrap_or_else(|| usual.to_owned());
    telemetry::start(&filter, cli.common.log_format == "json");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(async {
            crate::system::http::lasts();
            let result = Box::pin(run(&cli, &output)).await;
            // A refresh token that is on its way is good once.
            crate::system::http::settled().await;
            result
        }),
        Err(error) => Err(AppError::new(
            writ_proto::Reason::Internal,
            error.to_string(),
        )),
    };
    output.finish(cli.command.is_list(), result.is_ok());
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(output.failure(&error)),
    }
}

fn manual(dir: &std::path::Path, output: Output) -> Result<u8, AppError> {
    let count = pages::manual(&Cli::command(), dir).map_err(|error| {
        let message = format!("{}: {error}", dir.display());
        AppError::new(writ_proto::Reason::RequestMalformed, message)
    })?;
    let text = format!(
        "{count} pages in {0}; read one: man -l {0}/NAME.1",
        dir.display()
    );
    output.line(&text, &serde_json::json!({"pages": count, "folder": dir}));
    Ok(0)
}

async fn run(cli: &Cli, output: &Output) -> Result<u8, AppError> {
    let common = &cli.common;
    if cli.command.is_client() {
        common.is_unset()?;
    }
    match &cli.command {
        Command::Server(args) => Box::pin(server::run(common, args)).await,
        Command::Health(remote) => remote::health(remote, output).await,
        Command::Doctor => Box::pin(doctor::run(common, output)).await,
        Command::Probe { connection } => {
            Box::pin(doctor::probe(common, connection.as_deref(), output)).await
        }
        Command::Preview(args) => call::preview(args, output).await,
        Command::Read(args) => call::read(args, output).await,
        Command::Execute(args) => call::execute(args, output).await,
        Command::Undo(args) => undo::run(args, output).await,
        Command::Executions(command) => executions::run(command, output).await,
        Command::Actions(command) => actions::run(command, output).await,
        Command::Wouldhave(command) => wouldhave::run(command, output).await,
        Command::Creds(command) => creds::run(common, command, output),
        Command::Halt(command) => Box::pin(halt::run(common, command, output)).await,
        Command::HaltServer(args) => Box::pin(halt_server::run(common, args)).await,
        Command::Journal(command) => Box::pin(journal::run(common, command, output)).await,
        Command::Config(ConfigCommand::Show { origin }) => {
            for (path, value, from) in common.layers()?.origins() {
                let shown = if *origin {
                    format!("{path} = {value}   {from}")
                } else {
                    format!("{path} = {value}")
                };
                output.line(
                    &shown,
                    &serde_json::json!({"path": path, "value": value, "origin": from}),
                );
            }
            Ok(0)
        }
        Command::Sandbox(command) => sandbox::run(common, command, output).await,
        Command::Vectors(args) => vectors::run(args, output),
        Command::Lint(args) => lint::run(args, output),
        Command::Scaffold(args) => scaffold::run(args, output),
        Command::Conform(args) => Box::pin(conform::run(common.read()?, args, *output)).await,
        Command::Completions { shell } => {
            pages::completions(Cli::command(), *shell);
            Ok(0)
        }
        Command::Man { dir } => manual(dir, *output),
        Command::Explain { code } => Ok(output.explain(code)),
    }
}
