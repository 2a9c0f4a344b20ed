//! The throw-away folder of a bench, and the servers that run in it as processes of their own.
//! Both go when their value is dropped, on every way out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::process::{Child, Command};
use writ_proto::{Reason, pb};

use super::load::Target;
use super::serve::Work;
use crate::app::AppError;
use crate::config::{Config, Layers};
use crate::grpc::client::{ClientFiles, peer};
use crate::ids;

/// Connections that the callers share.
const CONNECTIONS: usize = 4;
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The card that is measured: like the sample's `add_note`, with room for 2 KiB, live from the
/// start, and a cap that no bench reaches.
const CARD: &str = r#"
name = "add_note"
sentence = "Add one note to a deal."
connection = "crm/main"
verb = "append_note"
target = "deal"
owner = "bench"
risk = "low"
tier = "compensable"
undo = "none"
rollback_minutes = 1
approver = "role:bench"
rollout = "live"
rollout_max = "live"
rollback_window = "1h"

[caps]
records_per_day = 1000000000

[args.text]
type = "text"
max_chars = 4000
write = "append"
"#;

pub(super) fn fail(why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::Internal, why.to_string())
}

/// A folder made by `policyd init`.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    program: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed stays; there is nobody left to tell.
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// policyd in our own folder: it makes the certificates and keys.
fn policyd() -> Result<PathBuf, AppError> {
    let path = std::env::current_exe()
        .map_err(fail)?
        .with_file_name("policyd");
    if path.exists() {
        return Ok(path);
    }
    let message = format!(
        "{} is missing; cargo build --release -p policyd",
        path.display()
    );
    Err(AppError::new(Reason::PeerBinaryMissing, message))
}

impl Stage {
    /// Makes the folder below another one, on whose disk the journal will be.
    pub(super) async fn new(parent: &Path) -> Result<Self, AppError> {
        let folder = parent.join(format!(".connectord-bench-{}", ids::new_id()));
        let program = std::env::current_exe().map_err(fail)?;
        let policyd = policyd()?;
        let stage = Self { folder, program };
        std::fs::create_dir_all(&stage.folder).map_err(fail)?;
        let mut init = Command::new(policyd);
        init.arg("init").arg(&stage.folder);
        done(init).await?;
        std::fs::write(
            stage.folder.join("policies/acme/actions/add_note.toml"),
            CARD,
        )
        .map_err(fail)?;
        let mut creds = stage.command();
        creds.args(["creds", "add", "crm/main", "--file"]);
        creds.arg(stage.folder.join("keys/sandbox.secret"));
        done(creds).await?;
        Ok(stage)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration that `init` wrote.
    pub(super) fn config(&self) -> Result<Config, AppError> {
        let file = self.folder.join("connectord.toml");
        let layers = Layers::read(&file, core::iter::empty(), "", &[]).map_err(fail)?;
        Config::from_layers(&layers, &file).map_err(fail)
    }

    /// The sandbox CRM on a free port.
    pub(super) async fn sandbox(&self) -> Result<Running, AppError> {
        let mut command = self.command();
        command.args(["sandbox", "serve", "--addr", "127.0.0.1:0", "--secret-file"]);
        command.arg(self.folder.join("keys/sandbox.secret"));
        command.arg("--db").arg(self.folder.join("sandbox.db"));
        self.start(command).await
    }

    /// The daemon on a free port with a fresh journal.
    pub(super) async fn daemon(&self, sandbox: &Running) -> Result<Running, AppError> {
        self.daemon_halted_by(sandbox, None).await
    }

    /// The same with its halts in a Redis, or in the folder of the stage.
    pub(super) async fn daemon_halted_by(
        &self,
        sandbox: &Running,
        redis: Option<&str>,
    ) -> Result<Running, AppError> {
        let mut command = self.command();
        let connection = format!(
            "connection=[{{name=\"crm/main\", system=\"sandbox\", base_url=\"http://{}\", tenants=[\"acme\"]}}]",
            sandbox.addr
        );
        command.args(["server", "--set", "server.grpc_addr=127.0.0.1:0"]);
        command.args(["--set", "server.http_addr=127.0.0.1:0"]);
        command.arg("--set").arg(connection);
        command.arg("--set").arg(fresh_journal());
        if let Some(url) = redis {
            let kept = format!("halt.epoch_file=state/{}", ids::new_id());
            command.arg("--set").arg(format!("halt.store={url}"));
            command.arg("--set").arg(kept);
        }
        self.start(command).await
    }

    /// One of the two servers of `serve.rs`, with a fresh journal.
    pub(super) async fn measured(
        &self,
        work: Work,
        answer: &pb::ExecuteResponse,
    ) -> Result<Running, AppError> {
        let path = self.folder.join("answer.bin");
        std::fs::write(&path, answer.encode_to_vec()).map_err(fail)?;
        let name = match work {
            Work::Echo => "echo",
            Work::Claim => "claim",
        };
        let mut command = self.command();
        command.args(["bench-serve", "--work", name, "--answer"]);
        command.arg(path).arg("--set").arg(fresh_journal());
        self.start(command).await
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.join("connectord.toml"));
        // The one agent of a bench calls as often as it can.
        for key in ["agent_per_second", "tenant_per_second"] {
            command.arg("--set").arg(format!("limits.{key}=1000000"));
        }
        command
    }

    async fn start(&self, mut command: Command) -> Result<Running, AppError> {
        let name = ids::new_id();
        let (ready, log) = (
            self.folder.join(format!("{name}.ready")),
            self.folder.join(format!("{name}.log")),
        );
        let log_file = std::fs::File::create(&log).map_err(fail)?;
        command.arg("--ready-file").arg(&ready);
        command
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command.spawn().map_err(fail)?;
        let addr = loop {
            if let Some(addr) = ready_addr(&ready)? {
                break addr;
            }
            let ended = child.try_wait().map_err(fail)?.is_some();
            if ended || begun.elapsed() > READY_TIMEOUT {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(fail(format!("a server did not start: {}", said.trim())));
            }
            tokio::time::sleep(POLL).await;
        };
        let pid = child.id().ok_or_else(|| fail("a server without a pid"))?;
        Ok(Running { child, pid, addr })
    }

    /// A server to call as the agent acme/triage.
    pub(super) async fn target(&self, server: &Running) -> Result<Target, AppError> {
        let file = |name: &str| self.folder.join(name);
        let (ca, cert) = (file("certs/ca.pem"), file("certs/agent-acme-triage.pem"));
        let key = file("keys/agent-acme-triage-tls.pem");
        let files = ClientFiles {
            ca: &ca,
            cert: &cert,
            key: &key,
        };
        let addr = format!("https://{}", server.addr);
        let peer = peer((&addr, "connectord"), &files, CALL_TIMEOUT)?;
        let mut channels = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            channels.push(peer.connect().await?);
        }
        Ok(Target {
            pid: server.pid,
            channels,
        })
    }
}

fn fresh_journal() -> String {
    format!("store.url=sqlite://{}.db", ids::new_id())
}

/// The address in a ready file; the sandbox names it `http`.
fn ready_addr(file: &Path) -> Result<Option<String>, AppError> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(None);
    };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(fail)?;
    let addr = json.get("grpc").or_else(|| json.get("http"));
    match addr.and_then(serde_json::Value::as_str) {
        Some(addr) => Ok(Some(addr.trim_start_matches("http://").to_owned())),
        None => Err(fail("a ready file without address")),
    }
}

/// Runs a program of ours that must succeed.
async fn done(mut command: Command) -> Result<(), AppError> {
    let output = command.stdin(Stdio::null()).output().await.map_err(fail)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(fail(format!("the bench cannot start: {}", said.trim())))
}

/// A server process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pid: u32,
    addr: String,
}

impl Running {
    /// Its process.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it and waits until it is gone.
    pub(super) async fn stop(mut self) -> Result<(), AppError> {
        self.child.kill().await.map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_card_is_a_card() {
        let card = writ_proto::card::Card::parse(CARD).unwrap();
        assert_eq!(card.name.as_str(), super::super::writs::ACTION);
        let args = super::super::writs::arguments(2_048).unwrap();
        card.check(&args, chrono::NaiveDate::MIN).unwrap();
    }
}
