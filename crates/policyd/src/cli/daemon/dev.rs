//! `policyd dev`: the sandbox CRM, policyd and connectord of one folder, until Ctrl-C.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use writ_proto::Reason;
use writ_proto::host::cli::client_files::address_beside;

use crate::cli::daemon::init::{InitArgs, PORTS, run as init};
use crate::cli::demo::processes::{Starter, broken, ended, sibling};
use crate::error::AppError;
use crate::output::Output;

const NAMES: [&str; 3] = ["sandbox", "policyd", "connectord"];

/// Which folder.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The folder; made as `init` makes it if it has no policyd.toml. This one if it has a policyd.toml, or else my-writ,
    /// if absent.
    dir: Option<PathBuf>,
    /// First of the ports of a folder that is made now; 7350 if absent. One that is there keeps those in its files.
    #[arg(long)]
    port_base: Option<u16>,
}

/// First of the ports where none is named.
const PORT_BASE: u16 = 7350;

/// Address of the sandbox CRM, as connectord's configuration says it.
fn sandbox_addr(folder: &Path) -> Result<String, AppError> {
    let path = folder.join("connectord.toml");
    let missing = || {
        let message = format!("{}: it names no connection crm/main", path.display());
        AppError::new(Reason::ConfigInvalid, message)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| broken(&error))?;
    let table: toml::Table = text.parse().map_err(|_| missing())?;
    let connections = table.get("connection").and_then(toml::Value::as_array);
    let url = connections.into_iter().flatten().find_map(|connection| {
        let name = connection.get("name")?.as_str()?;
        connection
            .get("base_url")?
            .as_str()
            .filter(|_| name == "crm/main")
    });
    let addr = url.and_then(|url| url.strip_prefix("http://"));
    addr.map(|addr| addr.trim_end_matches('/').to_owned())
        .ok_or_else(missing)
}

impl DevArgs {
    fn folder(&self) -> PathBuf {
        let here = || {
            let has_one = Path::new("policyd.toml").exists();
            PathBuf::from(if has_one { "." } else { "my-writ" })
        };
        self.dir.clone().unwrap_or_else(here)
    }
}

/// Makes the folder if it is not there. Whether it was made.
async fn prepared(dir: &Path, port_base: Option<u16>, output: Output) -> Result<bool, AppError> {
    let is_new = !dir.join("policyd.toml").exists();
    if is_new {
        let base = port_base.unwrap_or(PORT_BASE);
        are_free(base)?;
        init(&InitArgs::new(dir, base), output.silenced())?;
    } else if port_base.is_some() {
        let shown = dir.display();
        let message =
            format!("--port-base: {shown} is there already, and its ports are in its files");
        return Err(AppError::new(Reason::RequestMalformed, message).with_fix(
            "leave --port-base out; or change the addresses in policyd.toml and connectord.toml; or name a folder that is not there",
        ));
    }
    // `init` leaves it to a person to seal a credential; that of the sandbox CRM protects nothing.
    let has = |name: &str| dir.join(name).exists();
    if has("keys/sandbox.secret") && !has("keys/credentials.json") {
        Starter { folder: dir }.seal(&sibling()?).await?;
    }
    Ok(is_new)
}

/// Nothing is made that could not be started.
fn are_free(base: u16) -> Result<(), AppError> {
    for offset in PORTS {
        let port = base.saturating_add(offset);
        if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            let message = format!("127.0.0.1:{port}: {error}; nothing was made");
            return Err(AppError::new(Reason::PortInUse, message).with_fix(
                "stop what listens there, or choose other ports: policyd dev FOLDER --port-base 8350",
            ));
        }
    }
    Ok(())
}

async fn started(folder: &Path) -> Result<Vec<Child>, AppError> {
    let connectord = sibling()?;
    let policyd = std::env::current_exe().map_err(|error| broken(&error))?;
    let addr = sandbox_addr(folder)?;
    let secret = "keys/sandbox.secret";
    let serve = ["sandbox", "serve", "--addr", &addr, "--secret-file", secret];
    let starter = Starter { folder };
    let mut children = Vec::new();
    for name in NAMES {
        // What an earlier run left must not be taken for a sign of this one.
        match std::fs::remove_file(folder.join(format!("{name}.ready"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(broken(&error));
            }
            _ => {}
        }
        let mut child = match name {
            "sandbox" => starter.spawn(name, &connectord, &serve)?,
            "policyd" => starter.spawn(name, &policyd, &["server"])?,
            _ => starter.spawn(name, &connectord, &["server"])?,
        };
        starter.ready(name, &mut child).await?;
        children.push(child);
    }
    Ok(children)
}

fn introduce(folder: &Path, made: bool, output: Output) {
    let of = |file: &str| {
        address_beside(&folder.join(file))
            .ok()
            .flatten()
            .unwrap_or_default()
    };
    let (policyd, connectord) = (of("policyd.toml"), of("connectord.toml"));
    let sandbox = sandbox_addr(folder).unwrap_or_default();
    // It is pasted into another shell.
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let dir = whole.display();
    let word = if made { "made" } else { "found" };
    let text = format!(
        "{word} {dir}\n  policyd      {policyd}   log {dir}/policyd.log\n  connectord   {connectord}   log {dir}/connectord.log\n  \
         sandbox CRM  http://{sandbox}   log {dir}/sandbox.log\n\n\
         In a second terminal, ask for one action and try it; both are dry runs:\n  \
         cd {dir} && export WRIT_CERT=certs/agent-acme-triage.pem\n  \
         policyd authorize set_stage stage=qualified --target deal/D-104 --reason \"asked by mail\" --dry-run --token-out writ.bin --args-out args.bin\n  \
         connectord execute set_stage --target deal/D-104 --token writ.bin --args args.bin --dry-run\n\
         To go live: connectord actions promote set_stage --reason \"the dry runs look right\" --cert certs/operator-acme-ops.pem\n\
         then authorize and execute as above, without --dry-run.\n\nCtrl-C ends all three."
    );
    let value = json!({"dir": folder, "policyd": policyd, "connectord": connectord, "sandbox": format!("http://{sandbox}")});
    output.line(&text, &value);
}

fn over(folder: &Path, name: &str) -> AppError {
    let log = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
    ended(name, "by itself", &log)
}

/// Waits for Ctrl-C, or for the first process that ends by itself.
async fn watched(folder: &Path, children: &mut [Child]) -> Result<(), AppError> {
    let [sandbox, policyd, connectord] = children else {
        return Err(AppError::of(Reason::Internal));
    };
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| broken(&error))?;
    let name = tokio::select! {
        _ = tokio::signal::ctrl_c() => return Ok(()),
        _ = terminated.recv() => return Ok(()),
        _ = sandbox.wait() => "sandbox",
        _ = policyd.wait() => "policyd",
        _ = connectord.wait() => "connectord",
    };
    Err(over(folder, name))
}

pub(crate) async fn run(args: &DevArgs, output: Output) -> Result<u8, AppError> {
    let dir = args.folder();
    let made = prepared(&dir, args.port_base, output).await?;
    let mut children = started(&dir).await?;
    introduce(&dir, made, output);
    let result = watched(&dir, &mut children).await;
    for child in &mut children {
        if let Err(error) = child.kill().await {
            tracing::debug!(%error, "a process had ended already");
        }
    }
    result.map(|()| 0)
}
