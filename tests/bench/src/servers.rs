//! The throw-away folder of a bench, and the servers that run in it as processes of their own.
//! Both go when their value is dropped, on every way out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use policyd::grpc::client::{ClientFiles, peer};
use policyd::ids;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::fail;

/// Connections that the callers share.
const CONNECTIONS: usize = 4;
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The one agent of a bench asks as often as it can.
pub(crate) const UNLIMITED: [&str; 2] = [
    "limits.agent_per_second=1000000",
    "limits.tenant_per_second=1000000",
];

/// A folder made by `policyd init`.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays; there is nobody left to tell.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that was built beside this one.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(
        path.exists(),
        "{} is missing: cargo build --release --workspace",
        path.display()
    );
    Ok(path)
}

/// Runs a program of ours that must succeed.
pub(crate) async fn done(mut command: Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "the bench cannot start: {}",
        said.trim()
    );
    Ok(())
}

impl Folder {
    /// Makes the folder below another one, on whose disk everything durable will be.
    pub(crate) async fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = Self(parent.join(format!(".bench-{}", ids::new_id())));
        std::fs::create_dir_all(&folder.0)?;
        let mut init = Command::new(program("policyd")?);
        init.arg("init").arg(&folder.0);
        done(init).await?;
        Ok(folder)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A daemon's command with its configuration.
    pub(crate) fn daemon(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(program(name)?);
        command.arg("-c").arg(self.0.join(format!("{name}.toml")));
        for set in UNLIMITED {
            command.arg("--set").arg(set);
        }
        Ok(command)
    }

    /// Starts a server and waits until it says where it listens.
    pub(crate) async fn start(&self, mut command: Command) -> anyhow::Result<Running> {
        let name = ids::new_id();
        let ready = self.0.join(format!("{name}.ready"));
        let log = self.0.join(format!("{name}.log"));
        command
            .arg("--ready-file")
            .arg(&ready)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let addr = loop {
            if let Some(addr) = ready_addr(&ready)? {
                break addr;
            }
            if child.try_wait()?.is_some() || begun.elapsed() > READY_TIMEOUT {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                anyhow::bail!("a server did not start: {}", said.trim());
            }
            tokio::time::sleep(POLL).await;
        };
        let ready = begun.elapsed();
        let pid = child.id().ok_or_else(|| fail("a server without a pid"))?;
        Ok(Running {
            child,
            pid,
            addr,
            ready,
        })
    }

    /// Channels of the agent acme/triage to a server that has the certificate of a daemon.
    pub(crate) async fn channels(
        &self,
        server: &Running,
        daemon: &'static str,
    ) -> anyhow::Result<Vec<Channel>> {
        let file = |name: &str| self.0.join(name);
        let (ca, cert) = (file("certs/ca.pem"), file("certs/agent-acme-triage.pem"));
        let key = file("keys/agent-acme-triage-tls.pem");
        let files = ClientFiles {
            ca: &ca,
            cert: &cert,
            key: &key,
        };
        let addr = format!("https://{}", server.addr);
        let peer = peer((&addr, daemon), &files, CALL_TIMEOUT)?;
        let mut channels = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            channels.push(peer.connect().await?);
        }
        Ok(channels)
    }
}

/// The address in a ready file; the sandbox names it `http`.
fn ready_addr(file: &Path) -> anyhow::Result<Option<String>> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(None);
    };
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let addr = json.get("grpc").or_else(|| json.get("http"));
    let addr = addr.and_then(serde_json::Value::as_str);
    let addr = addr.ok_or_else(|| fail("a ready file without address"))?;
    Ok(Some(addr.trim_start_matches("http://").to_owned()))
}

/// Tells who started this process where it listens.
pub(crate) fn tell_ready(file: &Path, addr: std::net::SocketAddr) -> anyhow::Result<()> {
    let fresh = file.with_extension("new");
    std::fs::write(
        &fresh,
        serde_json::json!({"grpc": addr.to_string()}).to_string(),
    )?;
    std::fs::rename(&fresh, file)?;
    Ok(())
}

/// A server process; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Its process.
    pub(crate) pid: u32,
    /// Where it listens: `127.0.0.1:port`.
    pub(crate) addr: String,
    /// From start to ready.
    pub(crate) ready: Duration,
}

impl Running {
    /// Ends it and waits until it is gone.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
