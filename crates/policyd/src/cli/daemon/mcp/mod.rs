//! `policyd mcp`: the bridge for agents that speak MCP, what to paste into their clients, and a
//! look at whether it would work.

mod doctor;
mod print;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use writ_proto::host::cli::client_files::{address_of, chosen, key_beside, named};
use writ_proto::limits::IDENT_BYTES_MAX;
use writ_proto::{Reason, pb};

use crate::error::AppError;
use crate::grpc::client::ClientFiles;
use crate::mcp::calls::peers::{Addresses, Peers};
use crate::mcp::wire::http;
use crate::mcp::{Bridge, ToolSet, log_filter};
use crate::output::Output;

/// Serves one agent: on standard input and output, or on loopback.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct McpArgs {
    #[command(subcommand)]
    command: Option<McpCommand>,
    #[command(flatten)]
    serve: ServeArgs,
}

impl McpArgs {
    /// Whether it serves, and does not only look.
    pub(crate) const fn serves(&self) -> bool {
        self.command.is_none()
    }

    /// Whether its result is a list of findings.
    pub(crate) const fn examines(&self) -> bool {
        matches!(self.command, Some(McpCommand::Doctor(_)))
    }
}

#[derive(Debug, Subcommand)]
enum McpCommand {
    /// Print what to paste into the configuration of a client.
    Print(print::PrintArgs),
    /// Look at the certificate, both daemons, the tools and the halts.
    Doctor(BridgeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    bridge: BridgeArgs,
    /// Who or what the agent works for: a person, a ticket, a schedule; recorded with every request.
    #[arg(long, env = "WRIT_INITIATOR", default_value = "")]
    initiator: String,
    /// The model with its version; recorded with every request.
    #[arg(long, env = "WRIT_MODEL", default_value = "")]
    model: String,
    /// Serve streamable HTTP on this loopback address instead of standard input and output.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Secret that HTTP clients show, mode 0600; made if absent.
    #[arg(long, value_name = "FILE", default_value = "keys/mcp-http.secret")]
    http_secret_file: PathBuf,
    /// Written with the address when requests are served.
    #[arg(long, hide = true)]
    ready_file: Option<PathBuf>,
}

/// Whose bridge, over which daemons.
#[derive(Debug, Clone, Args)]
pub(crate) struct BridgeArgs {
    /// `https://host:port` of policyd; that of policyd.toml beside you if absent, or else
    /// https://127.0.0.1:7350.
    #[arg(long, env = "POLICYD_ADDR")]
    addr: Option<String>,
    /// `https://host:port` of connectord; that of connectord.toml beside you if absent, or else
    /// https://127.0.0.1:7360.
    #[arg(long, env = "CONNECTORD_ADDR")]
    connectord: Option<String>,
    /// Certificate authority, PEM; `ca.pem` beside the certificate if absent.
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// The agent's certificate, PEM: it says who asks. The one chosen with `policyd use` if absent.
    #[arg(long, env = "WRIT_CERT")]
    cert: Option<PathBuf>,
    /// The agent's key, PEM; `keys/NAME-tls.pem` beside `certs/NAME.pem` if absent.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Which tools.
    #[arg(long, value_enum, default_value_t = ToolSet::Generic)]
    tools: ToolSet,
}

/// An address that was given, or that of a daemon's variable or of its configuration beside, or the usual one.
fn address(given: Option<&String>, daemon: &str, usual: &str) -> Result<String, AppError> {
    let name = format!("{}_SERVER__GRPC_ADDR", daemon.to_uppercase());
    let variable = (name.as_str(), crate::config::variable(&name));
    let config = format!("{daemon}.toml");
    Ok(address_of(given, variable, (Path::new(&config), usual))?)
}

impl BridgeArgs {
    /// Those of policyd and of connectord.
    fn addresses(&self) -> Result<[String; 2], AppError> {
        Ok([
            address(self.addr.as_ref(), "policyd", "https://127.0.0.1:7350")?,
            address(
                self.connectord.as_ref(),
                "connectord",
                "https://127.0.0.1:7360",
            )?,
        ])
    }

    /// The certificate and its key.
    ///
    /// # Errors
    /// When no certificate is named: a bridge is somebody's.
    fn identity(&self) -> Result<(PathBuf, PathBuf), AppError> {
        let missing = || {
            let message = "no certificate is given, so it is not known whose bridge this is";
            AppError::new(Reason::ConfigInvalid, message).with_fix(
                "name that of the agent, such as --cert certs/agent-acme-triage.pem, or set WRIT_CERT; or choose it with \
                 `policyd use NAME`",
            )
        };
        let cert = self
            .cert
            .clone()
            .map(named)
            .or_else(chosen)
            .ok_or_else(missing)?;
        let key = self.key.clone().unwrap_or_else(|| key_beside(&cert));
        Ok((cert, key))
    }

    /// The certificate authority.
    fn authority(&self, cert: &Path) -> PathBuf {
        let named = self.cacert.clone();
        named.unwrap_or_else(|| cert.with_file_name("ca.pem"))
    }

    fn peers(&self) -> Result<Peers, AppError> {
        let (cert, key) = self.identity()?;
        let authority = self.authority(&cert);
        let [policyd, connectord] = self.addresses()?;
        Peers::new(&Addresses {
            policyd: &policyd,
            connectord: &connectord,
            files: ClientFiles {
                ca: &authority,
                cert: &cert,
                key: &key,
            },
        })
    }
}

/// The log filter of a command: a bridge never prints what its libraries would tell of messages.
pub(crate) fn filter(asked: &str) -> String {
    log_filter(asked)
}

pub(crate) async fn run(args: &McpArgs, output: Output) -> Result<u8, AppError> {
    match &args.command {
        Some(McpCommand::Print(args)) => print::run(args),
        Some(McpCommand::Doctor(args)) => Ok(doctor::run(args, output).await),
        None => serve(&args.serve).await,
    }
}

async fn serve(args: &ServeArgs) -> Result<u8, AppError> {
    for (flag, said) in [("--initiator", &args.initiator), ("--model", &args.model)] {
        if said.len() > IDENT_BYTES_MAX {
            let why = format!("{flag} has more than {IDENT_BYTES_MAX} bytes");
            return Err(AppError::new(Reason::RequestMalformed, why));
        }
    }
    let provenance = pb::Provenance {
        initiator: args.initiator.clone(),
        model: args.model.clone(),
        ..pb::Provenance::default()
    };
    let bridge = Bridge::on_behalf(args.bridge.peers()?, args.bridge.tools, provenance);
    let Some(addr) = args.http else {
        bridge.serve_stdio().await?;
        return Ok(0);
    };
    let secret = http::secret(&args.http_secret_file)?;
    let ready = args.ready_file.clone();
    let told = move |addr: SocketAddr| {
        tracing::info!(%addr, path = http::PATH, "ready");
        if let Some(path) = ready
            && let Err(error) = std::fs::write(&path, addr.to_string())
        {
            tracing::warn!(%error, "the ready file was not written");
        }
    };
    http::serve(
        bridge,
        addr,
        secret,
        crate::cli::daemon::server::stop(),
        told,
    )
    .await?;
    Ok(0)
}
