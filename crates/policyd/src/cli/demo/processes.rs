//! The three processes of the demo: started, waited for, and ended by id on every way out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, Command};
use writ_proto::Reason;

use super::super::init::{InitArgs, run as init};
use super::super::output::{Format, Output};
use crate::app::AppError;

const READY_STEPS_MAX: u32 = 400;
const READY_STEP: Duration = Duration::from_millis(25);

/// The running processes.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) folder: PathBuf,
    pub(super) connectord_bin: PathBuf,
    pub(super) policyd_url: String,
    pub(super) connectord_url: String,
    pub(super) sandbox_url: String,
    children: Vec<Child>,
}

pub(super) fn broken(error: &dyn core::fmt::Display) -> AppError {
    AppError::new(Reason::Internal, error.to_string())
}

/// The sibling program in our own folder.
fn sibling() -> Result<PathBuf, AppError> {
    let own = std::env::current_exe().map_err(|error| broken(&error))?;
    let path = own.with_file_name("connectord");
    if path.exists() {
        return Ok(path);
    }
    let message = format!("{} is missing; cargo build --release", path.display());
    Err(AppError::new(Reason::PeerBinaryMissing, message))
}

/// A port that nobody uses right now.
fn free_port() -> Result<u16, AppError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| broken(&error))?;
    listener
        .local_addr()
        .map(|addr| addr.port())
        .map_err(|error| broken(&error))
}

struct Starter<'a> {
    folder: &'a Path,
}

impl Starter<'_> {
    fn spawn(&self, name: &str, program: &Path, args: &[&str]) -> Result<Child, AppError> {
        let log = std::fs::File::create(self.folder.join(format!("{name}.log")))
            .map_err(|error| broken(&error))?;
        Command::new(program)
            .current_dir(self.folder)
            .args(args)
            .args(["--ready-file", &format!("{name}.ready")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| broken(&error))
    }

    /// Waits for the file that a process writes once it serves.
    async fn ready(&self, name: &str, child: &mut Child) -> Result<(), AppError> {
        let file = self.folder.join(format!("{name}.ready"));
        for _ in 0..READY_STEPS_MAX {
            if file.exists() {
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                let log = self.folder.join(format!("{name}.log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                return Err(broken(&format!("{name} ended with {status}: {log}")));
            }
            tokio::time::sleep(READY_STEP).await;
        }
        Err(broken(&format!("{name} did not become ready")))
    }
}

/// The ports of the three daemons.
#[derive(Debug, Clone, Copy)]
struct Ports {
    policyd: u16,
    connectord: u16,
    sandbox: u16,
}

impl Ports {
    fn choose(base: Option<u16>) -> Result<Self, AppError> {
        let of = |base: u16, step: u16| base.saturating_add(step);
        match base {
            Some(base) => Ok(Self {
                policyd: base,
                connectord: of(base, 10),
                sandbox: of(base, 30),
            }),
            None => Ok(Self {
                policyd: free_port()?,
                connectord: free_port()?,
                sandbox: free_port()?,
            }),
        }
    }
}

impl Starter<'_> {
    /// Seals the sandbox's secret for connectord; nobody else ever reads it.
    async fn seal(&self, connectord: &Path) -> Result<(), AppError> {
        let status = Command::new(connectord)
            .current_dir(self.folder)
            .args([
                "creds",
                "add",
                "crm/main",
                "--file",
                "keys/sandbox.secret",
                "-o",
                "json",
            ])
            .stdout(Stdio::null())
            .status()
            .await
            .map_err(|error| broken(&error))?;
        if status.success() {
            Ok(())
        } else {
            Err(broken(&"the credential could not be sealed"))
        }
    }

    fn spawn_all(
        &self,
        (policyd, connectord): (&Path, &Path),
        ports: Ports,
    ) -> Result<Vec<Child>, AppError> {
        let addr = |port: u16| format!("server.grpc_addr=127.0.0.1:{port}");
        let url = |port: u16| format!("https://localhost:{port}");
        let connection = format!(
            "connection=[{{name=\"crm/main\", system=\"sandbox\", base_url=\"http://127.0.0.1:{}\"}}]",
            ports.sandbox
        );
        let (own, peer) = (
            addr(ports.policyd),
            format!("connectord.addr={}", url(ports.connectord)),
        );
        let (hands, head) = (
            addr(ports.connectord),
            format!("policyd.addr={}", url(ports.policyd)),
        );
        let sandbox = format!("127.0.0.1:{}", ports.sandbox);
        let secret = "keys/sandbox.secret";
        let serve = [
            "sandbox",
            "serve",
            "--addr",
            &sandbox,
            "--secret-file",
            secret,
        ];
        let hands = [
            "server",
            "--set",
            &hands,
            "--set",
            &head,
            "--set",
            &connection,
        ];
        Ok(vec![
            self.spawn("sandbox", connectord, &serve)?,
            self.spawn(
                "policyd",
                policyd,
                &["server", "--set", &own, "--set", &peer],
            )?,
            self.spawn("connectord", connectord, &hands)?,
        ])
    }
}

impl Processes {
    pub(super) async fn start(
        folder: &Path,
        port_base: Option<u16>,
        output: Output,
    ) -> Result<Self, AppError> {
        let connectord_bin = sibling()?;
        let policyd_bin = std::env::current_exe().map_err(|error| broken(&error))?;
        std::fs::create_dir_all(folder).map_err(|error| broken(&error))?;
        let quiet = Output::new(Format::Json).silenced();
        init(&InitArgs::new(folder, port_base.unwrap_or(7350)), quiet)?;
        let folder = folder.canonicalize().map_err(|error| broken(&error))?;
        let ports = Ports::choose(port_base)?;
        let starter = Starter { folder: &folder };
        starter.seal(&connectord_bin).await?;
        let mut children = starter.spawn_all((&policyd_bin, &connectord_bin), ports)?;
        for (name, child) in ["sandbox", "policyd", "connectord"]
            .iter()
            .zip(&mut children)
        {
            starter.ready(name, child).await?;
        }
        let processes = Self {
            policyd_url: format!("https://localhost:{}", ports.policyd),
            connectord_url: format!("https://localhost:{}", ports.connectord),
            sandbox_url: format!("http://127.0.0.1:{}", ports.sandbox),
            folder,
            connectord_bin,
            children,
        };
        processes.introduce(output);
        Ok(processes)
    }

    fn introduce(&self, output: Output) {
        let pids: Vec<u32> = self.children.iter().filter_map(Child::id).collect();
        let (policyd, connectord, sandbox) =
            (&self.policyd_url, &self.connectord_url, &self.sandbox_url);
        let text = format!(
            "  sandbox CRM, policyd, connectord: pids {pids:?}\n  \
             policyd {policyd}  connectord {connectord}  CRM {sandbox}\n  \
             CRM secret readable by: agent no | policyd no | connectord yes\n \
             #  {:<44} {:<27} what happened",
            "the agent asks", "policy said"
        );
        let value = json!({"pids": pids, "policyd": policyd, "connectord": connectord,
            "sandbox": sandbox});
        output.line(&text, &value);
    }
}
