//! The throw-away folder of a bench, and the servers that run in it as processes of their own.
//! Both go when their value is dropped, on every way out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tonic::transport::Channel;
use writ_proto::Reason;

use crate::app::{AppError, policies};
use crate::domain::policy_set::TenantPolicies;
use crate::grpc::client::{ClientFiles, peer};
use crate::ids;

/// Connections that the callers share.
const CONNECTIONS: usize = 4;
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

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

impl Stage {
    /// Makes the folder below another one, on whose disk the records will be.
    pub(super) async fn new(parent: &Path) -> Result<Self, AppError> {
        let folder = parent.join(format!(".policyd-bench-{}", ids::new_id()));
        let program = std::env::current_exe().map_err(fail)?;
        let stage = Self { folder, program };
        std::fs::create_dir_all(&stage.folder).map_err(fail)?;
        let made = Command::new(&stage.program)
            .arg("init")
            .arg(&stage.folder)
            .stdout(Stdio::null())
            .status()
            .await
            .map_err(fail)?;
        if made.success() {
            Ok(stage)
        } else {
            Err(fail("policyd init failed"))
        }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fills the tenant acme up to a number of policies, none of which concerns a refund.
    pub(super) fn pad(&self, policies_total: usize) -> Result<(), AppError> {
        let tenant = self.folder.join("policies/acme");
        let path = tenant.join("padding.cedar");
        // The sample's budget would be used up by the first few calls.
        let set = std::fs::read_to_string(tenant.join("set.toml")).map_err(fail)?;
        let own = set.split("[[budget]]").next().unwrap_or_default();
        std::fs::write(tenant.join("set.toml"), own).map_err(fail)?;
        std::fs::write(&path, "").map_err(fail)?;
        let sources = policies::read_tenant(&tenant).map_err(fail)?;
        let own = TenantPolicies::build(&sources)
            .map_err(fail)?
            .rules()
            .count();
        std::fs::write(&path, padding(policies_total.saturating_sub(own))).map_err(fail)
    }

    /// A daemon on a free port, with a fresh store or one at a URL.
    pub(super) async fn policyd(&self, store: Option<&str>) -> Result<Running, AppError> {
        let fresh = format!("sqlite://{}.db", ids::new_id());
        let mut command = self.command("server");
        command.args([
            "--set",
            "server.grpc_addr=127.0.0.1:0",
            "--set",
            "policy.watch=false",
        ]);
        command
            .arg("--set")
            .arg(format!("store.url={}", store.unwrap_or(&fresh)));
        // Each store is a log of its own.
        command
            .arg("--set")
            .arg(format!("store.mark_file=state/{}.json", ids::new_id()));
        self.start(command).await
    }

    /// The echo, which answers every call with the same bytes.
    pub(super) async fn echo(&self, answer: &[u8]) -> Result<Running, AppError> {
        let path = self.folder.join("answer.bin");
        std::fs::write(&path, answer).map_err(fail)?;
        let mut command = self.command("bench-echo");
        command.arg("--answer").arg(path);
        self.start(command).await
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(self.folder.join("policyd.toml"))
            .arg(name);
        // The one agent of a bench asks as often as it can.
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
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command.spawn().map_err(fail)?;
        let addr = loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                let json: serde_json::Value = serde_json::from_str(&text).map_err(fail)?;
                let addr = json.get("grpc").and_then(serde_json::Value::as_str);
                break addr
                    .map(str::to_owned)
                    .ok_or_else(|| fail("a ready file without address"))?;
            }
            let ended = child.try_wait().map_err(fail)?.is_some();
            if ended || begun.elapsed() > READY_TIMEOUT {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(fail(format!("a server did not start: {}", said.trim())));
            }
            tokio::time::sleep(POLL).await;
        };
        let ready = begun.elapsed();
        let pid = child.id().ok_or_else(|| fail("a server without a pid"))?;
        Ok(Running {
            child,
            pid,
            addr: format!("https://{addr}"),
            ready,
        })
    }

    /// Channels of the agent acme/triage.
    pub(super) async fn channels(&self, server: &Running) -> Result<Vec<Channel>, AppError> {
        let file = |name: &str| self.folder.join(name);
        let (ca, cert) = (file("certs/ca.pem"), file("certs/agent-acme-triage.pem"));
        let key = file("keys/agent-acme-triage-tls.pem");
        let files = ClientFiles {
            ca: &ca,
            cert: &cert,
            key: &key,
        };
        let peer = peer((&server.addr, "policyd"), &files, CALL_TIMEOUT)?;
        let mut channels = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            channels.push(peer.connect().await?);
        }
        Ok(channels)
    }
}

/// A server process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Its process.
    pub(super) pid: u32,
    addr: String,
    /// From start to ready.
    pub(super) ready: Duration,
}

impl Running {
    /// Ends it and waits until it is gone.
    pub(super) async fn stop(mut self) -> Result<(), AppError> {
        self.child.kill().await.map_err(fail)
    }
}

/// Rules about notes, which no refund is evaluated against.
pub(super) fn padding(count: usize) -> String {
    let rule = |index: usize| {
        format!(
            "@id(\"padding-{index}\") @reason(\"padding\")\n\
             permit (principal == Agent::\"padding-{index}\", action == Action::\"add_note\", resource)\n\
             when {{ resource.tenant == principal.tenant }};\n"
        )
    };
    (0..count).map(rule).collect()
}
