//! What to paste into the configuration of an MCP client.

use std::io::Write as _;
use std::path::{Path, PathBuf, absolute};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json, json};
use writ_proto::Reason;

use crate::cli::daemon::mcp::BridgeArgs;
use crate::error::AppError;
use crate::mcp::ToolSet;
use crate::mcp::wire::http;

/// A client whose configuration is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Client {
    /// `.mcp.json` of a project.
    ClaudeCode,
    /// `claude_desktop_config.json`.
    ClaudeDesktop,
    /// `.cursor/mcp.json`.
    Cursor,
    /// `.vscode/mcp.json`.
    Vscode,
}

/// For which client, and how.
#[derive(Debug, Args)]
pub(crate) struct PrintArgs {
    #[command(flatten)]
    bridge: BridgeArgs,
    /// The client.
    #[arg(long, value_enum)]
    client: Client,
    /// The program to start; this one if absent.
    #[arg(long)]
    program: Option<String>,
    /// Print how to reach a bridge that serves HTTP here, with its secret, instead.
    #[arg(long, value_name = "ADDR")]
    http: Option<std::net::SocketAddr>,
    /// Secret that HTTP clients show.
    #[arg(long, value_name = "FILE", default_value = "keys/mcp-http.secret")]
    http_secret_file: PathBuf,
}

/// A client starts the bridge in a folder of its own choice, so paths are absolute.
fn whole(path: &Path) -> String {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    path.display().to_string()
}

/// A client seldom has the PATH of the shell that this runs in, so the program is named whole.
fn program(args: &PrintArgs) -> String {
    let named = args.program.clone();
    named.unwrap_or_else(|| {
        let own = std::env::current_exe();
        own.map_or_else(|_| "policyd".to_owned(), |path| whole(&path))
    })
}

/// The certificate authority; one that nobody named has to be there.
fn authority(bridge: &BridgeArgs, cert: &Path) -> Result<PathBuf, AppError> {
    let authority = bridge.authority(cert);
    if bridge.cacert.is_none() && !authority.exists() {
        let path = authority.display();
        let message = format!("{path} is not there: name the certificate authority with --cacert");
        return Err(AppError::new(Reason::ConfigInvalid, message));
    }
    Ok(authority)
}

fn server(args: &PrintArgs) -> Result<Json, AppError> {
    let typed = |kind: &str, mut entry: Map<String, Json>| {
        if matches!(args.client, Client::Vscode | Client::ClaudeCode) {
            entry.insert("type".to_owned(), kind.into());
        }
        Json::Object(entry)
    };
    if let Some(addr) = args.http {
        let secret = http::secret(&args.http_secret_file)?;
        let url = format!("http://{addr}{}", http::PATH);
        let headers = json!({"Authorization": format!("Bearer {}", secret.as_str())});
        let entry = Map::from_iter([
            ("url".to_owned(), url.into()),
            ("headers".to_owned(), headers),
        ]);
        return Ok(typed("http", entry));
    }
    let bridge = &args.bridge;
    let (cert, key) = bridge.identity()?;
    let authority = authority(bridge, &cert)?;
    // What is here must be an agent's; it may be for another machine, too.
    if cert.exists() {
        bridge.peers()?;
    } else {
        tracing::warn!(
            "{} is not here: it must be where the client runs",
            cert.display()
        );
    }
    let mut flags = vec!["mcp".to_owned()];
    for (flag, path) in [("--cacert", &authority), ("--cert", &cert), ("--key", &key)] {
        flags.extend([flag.to_owned(), whole(path)]);
    }
    if bridge.tools == ToolSet::PerCard {
        flags.extend(["--tools".to_owned(), "per-card".to_owned()]);
    }
    let [policyd, connectord] = bridge.addresses()?;
    let addresses = [("POLICYD_ADDR", policyd), ("CONNECTORD_ADDR", connectord)];
    let of = |(name, addr): (&str, String)| {
        // Only this client replaces a variable of the shell that started it, with a default.
        let value = match args.client {
            Client::ClaudeCode => format!("${{{name}:-{addr}}}"),
            Client::ClaudeDesktop | Client::Cursor | Client::Vscode => addr.clone(),
        };
        (name.to_owned(), Json::from(value))
    };
    let env: Map<String, Json> = addresses.into_iter().map(of).collect();
    let entry = Map::from_iter([
        ("command".to_owned(), program(args).into()),
        ("args".to_owned(), flags.into()),
        ("env".to_owned(), env.into()),
    ]);
    Ok(typed("stdio", entry))
}

pub(crate) fn run(args: &PrintArgs) -> Result<u8, AppError> {
    let key = match args.client {
        Client::Vscode => "servers",
        Client::ClaudeCode | Client::ClaudeDesktop | Client::Cursor => "mcpServers",
    };
    let snippet = json!({key: {"writ": server(args)?}});
    let text = serde_json::to_string_pretty(&snippet).unwrap_or_default();
    // A reader that went away is no reason to fail.
    drop(writeln!(std::io::stdout(), "{text}"));
    Ok(0)
}
