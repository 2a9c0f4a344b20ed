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
    _children: Vec<Child>,
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
    listener.local_addr().map(|addr| addr.port()).map_err(|error| broken(&error))
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
        let (policyd, connectord, sandbox) = match port_base {
            Some(base) => (base, base.saturating_add(10), base.saturating_add(30)),
            None => (free_port()?, free_port()?, free_port()?),
        };
        let urls = [policyd, connectord].map(|port| format!("https://localhost:{port}"));
        let [policyd_url, connectord_url] = urls;
        let sandbox_url = format!("http://127.0.0.1:{sandbox}");
        let starter = Starter { folder: &folder };
        let status = Command::new(&connectord_bin)
            .current_dir(&folder)
            .args(["creds", "add", "crm/main", "--file", "keys/sandbox.secret", "-o", "json"])
            .stdout(Stdio::null())
            .status()
            .await
            .map_err(|error| broken(&error))?;
        if !status.success() {
            return Err(broken(&"the credential could not be sealed"));
        }
        let addr = |port: u16| format!("server.grpc_addr=127.0.0.1:{port}");
        let connection = format!(
            "connection=[{{name=\"crm/main\", system=\"sandbox\", base_url=\"{sandbox_url}\"}}]"
        );
        let (own, peer) = (addr(policyd), format!("connectord.addr={connectord_url}"));
        let (hands, head) = (addr(connectord), format!("policyd.addr={policyd_url}"));
        let sandbox_addr = format!("127.0.0.1:{sandbox}");
        let mut children = vec![
            starter.spawn(
                "sandbox",
                &connectord_bin,
                &["sandbox", "serve", "--addr", &sandbox_addr, "--secret-file", "keys/sandbox.secret"],
            )?,
            starter.spawn("policyd", &policyd_bin, &["server", "--set", &own, "--set", &peer])?,
            starter.spawn(
                "connectord",
                &connectord_bin,
                &["server", "--set", &hands, "--set", &head, "--set", &connection],
            )?,
        ];
        for (name, child) in ["sandbox", "policyd", "connectord"].iter().zip(&mut children) {
            starter.ready(name, child).await?;
        }
        let ids: Vec<u32> = children.iter().filter_map(Child::id).collect();
        let text = format!(
            "  policyd, connectord, sandbox CRM  pids {ids:?}\n  policyd {policyd_url}  connectord {connectord_url}  CRM {sandbox_url}\n  CRM secret readable by: agent no | policyd no | connectord yes\n #  {:<44} {:<27} what happened",
            "the agent asks", "policy said"
        );
        output.line(&text, &json!({"pids": ids, "policyd": policyd_url, "connectord": connectord_url, "sandbox": sandbox_url}));
        Ok(Self { folder, connectord_bin, policyd_url, connectord_url, sandbox_url, _children: children })
    }
}
