//! The command line. stdout carries the result only; logs and errors go to stderr.

pub(crate) mod author;
pub mod daemon;
mod demo;
pub mod people;
pub(crate) mod remote;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use serde_json::json;

use crate::config::{Config, Layers, environment};
use crate::error::AppError;
use crate::output::{Format, Output};
use author as policy;
use daemon::{dev, doctor, init, keys, mcp, server, store};
use people::{
    act_as, authorize, budget, decisions, incidents, notices, records, story, token, usage,
};
use writ_proto::host::cli::{pages, parsed};
use writ_proto::host::telemetry;

/// Decides what an agent may do, records it, and signs it.
#[derive(Debug, Parser)]
#[command(name = "policyd", version)]
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
        default_value = "policyd.toml",
        env = "POLICYD_CONFIG"
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
    /// Make a folder to start from: configuration, development CA, keys, sample policies.
    Init(init::InitArgs),
    /// Run the sandbox CRM, policyd and connectord of one folder until Ctrl-C.
    Dev(dev::DevArgs),
    /// Run the daemon.
    Server(server::ServerArgs),
    /// Whether the daemon serves.
    Health(remote::Remote),
    /// Examine configuration, keys, certificates, policies, store, clock and port.
    Doctor,
    /// Check policies and cards.
    Check(policy::CheckArgs),
    /// Run the policy tests of a folder.
    Test(policy::TestArgs),
    /// Write which files a policy set has, so that it comes into force only when it is whole.
    Seal(policy::SealArgs),
    /// Lay out rules as Cedar's formatter does.
    Fmt(policy::FmtArgs),
    /// What actions do, which rules decide them, and what one agent may do.
    #[command(subcommand)]
    Actions(policy::actions::ActionsCommand),
    /// Everything that the log says of one record: who asked, which rule decided, what changed.
    Story(story::StoryArgs),
    /// Choose who commands in this folder act as, where neither --cert nor WRIT_CERT says it.
    Use(act_as::UseArgs),
    /// Ask for one action.
    Authorize(Box<authorize::AuthorizeArgs>),
    /// Read decisions.
    #[command(subcommand)]
    Decisions(decisions::DecisionsCommand),
    /// Budgets: how they stand, and raising one.
    #[command(subcommand)]
    Budget(budget::BudgetCommand),
    /// Usage of language models.
    #[command(subcommand)]
    Usage(usage::UsageCommand),
    /// List, export and verify records.
    #[command(subcommand)]
    Records(records::RecordsCommand),
    /// Repeated denials: list, show and close them.
    #[command(subcommand)]
    Incidents(incidents::IncidentsCommand),
    /// What people were told, and what could not be delivered.
    #[command(subcommand)]
    Notices(notices::NoticesCommand),
    /// List and rotate signing keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Accept a database that was restored from a backup.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Look into a token.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// The configuration and where each value came from.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Arguments as canonical CBOR in hex, and their SHA-256.
    Canonicalize {
        /// A file with one JSON object; - is standard input.
        file: PathBuf,
    },
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
    /// Serve an agent that speaks MCP, with the agent's own certificate.
    Mcp(Box<mcp::McpArgs>),
    /// The whole story on this machine, in throw-away data.
    Demo(demo::DemoArgs),
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
        if let Self::Mcp(args) = self {
            return args.examines();
        }
        matches!(
            self,
            Self::Doctor
                | Self::Check(_)
                | Self::Test(_)
                | Self::Fmt(_)
                | Self::Actions(policy::actions::ActionsCommand::Ls(_))
                | Self::Story(_)
                | Self::Decisions(decisions::DecisionsCommand::Ls(_))
                | Self::Records(records::RecordsCommand::Ls { .. })
                | Self::Budget(budget::BudgetCommand::Ls { .. })
                | Self::Incidents(incidents::IncidentsCommand::Ls { .. })
                | Self::Notices(notices::NoticesCommand::Ls { .. })
                | Self::Keys(keys::KeysCommand::Ls)
                | Self::Config(ConfigCommand::Show { .. })
        )
    }

    /// Whether it calls a daemon, and has no configuration of its own.
    const fn is_client(&self) -> bool {
        matches!(
            self,
            Self::Health(_)
                | Self::Story(_)
                | Self::Use(_)
                | Self::Authorize(_)
                | Self::Decisions(_)
                | Self::Budget(_)
                | Self::Usage(_)
                | Self::Records(_)
                | Self::Incidents(_)
                | Self::Notices(_)
        )
    }
}

impl Common {
    fn layers(&self) -> Result<Layers, AppError> {
        let env = environment().into_iter();
        Ok(Layers::read(&self.config, env, "POLICYD_", &self.set)?)
    }

    /// A command that calls a daemon changes nothing of its configuration.
    fn is_unset(&self) -> Result<(), AppError> {
        if self.config.as_os_str() != "policyd.toml" && !self.config.exists() {
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
    let live = match &cli.command {
        Command::Mcp(args) => args.serves(),
        other => matches!(
            other,
            Command::Server(_) | Command::Dev(_) | Command::Demo(_)
        ),
    };
    let format = cli.common.output;
    let output = Output::new(if live { format.live() } else { format });
    remote::set_config(&cli.common.config);
    let quiet = matches!(cli.command, Command::Demo(_) | Command::Dev(_));
    let default = if quiet { "warn" } else { "info" };
    let filter = crate::config::variable("RUST_LOG").unwrap_or_else(|| default.to_owned());
    let filter = match cli.command {
        Command::Mcp(_) => mcp::filter(&filter),
        _ => filter,
    };
    telemetry::start(&filter, cli.common.log_format == "json");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli, output)),
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

async fn run(cli: &Cli, output: Output) -> Result<u8, AppError> {
    let common = &cli.common;
    if cli.command.is_client() {
        common.is_unset()?;
    }
    match &cli.command {
        Command::Init(args) => init::run(args, output),
        Command::Dev(args) => dev::run(args, output).await,
        Command::Server(args) => server::run(common, args).await,
        Command::Health(remote) => remote::health(remote, &output).await,
        Command::Doctor => {
            let layers = common.layers()?;
            let config = Config::from_layers(&layers, &common.config)?;
            let files = (common.config.as_path(), &layers);
            Ok(doctor::run(&config, files, output).await)
        }
        Command::Check(args) => policy::check(args, output),
        Command::Test(args) => policy::test(args, output),
        Command::Fmt(args) => policy::fmt(args, output),
        Command::Actions(command) => policy::actions::run(command, output),
        Command::Use(args) => act_as::run(args, output),
        Command::Story(args) => story::run(args, output).await,
        Command::Seal(args) => policy::seal(args, output),
        Command::Store(command) => Box::pin(store::run(common, command, output)).await,
        Command::Authorize(args) => authorize::run(args, output).await,
        Command::Decisions(command) => decisions::run(command, output).await,
        Command::Budget(command) => budget::run(command, output).await,
        Command::Usage(command) => usage::run(command, output).await,
        Command::Records(command) => records::run(command, output).await,
        Command::Incidents(command) => incidents::run(command, output).await,
        Command::Notices(command) => notices::run(command, output).await,
        Command::Keys(command) => keys::run(common, command, output),
        Command::Token(command) => token::run(command, output),
        Command::Config(ConfigCommand::Show { origin }) => {
            for (path, value, from) in common.layers()?.origins() {
                let tail = if *origin {
                    format!("   {from}")
                } else {
                    String::new()
                };
                let value_json = json!({"path": path, "value": value, "origin": from});
                output.line(&format!("{path} = {value}{tail}"), &value_json);
            }
            Ok(0)
        }
        Command::Canonicalize { file } => token::canonicalize(file, output),
        Command::Completions { shell } => {
            pages::completions(Cli::command(), *shell);
            Ok(0)
        }
        Command::Man { dir } => manual(dir, output),
        Command::Explain { code } => Ok(output.explain(code)),
        Command::Mcp(args) => Box::pin(mcp::run(args, output)).await,
        Command::Demo(args) => demo::run(args, output).await,
    }
}
