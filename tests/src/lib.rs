//! The harness of the end-to-end tests: the built daemons as real processes on free ports, mTLS
//! clients for each identity, and a check that everything that is told adds up.

#![expect(
    clippy::disallowed_methods,
    reason = "a test makes ids and reads what it likes"
)]

mod actor;
pub mod browser;
mod budget;
mod clients;
pub mod crm;
pub mod halt_page;
mod mcp;
pub mod postgres;
mod process;
pub mod receiver;
mod record;
pub mod redis;
mod replica;
pub mod side_by_side;
pub mod vendors;
mod wish;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use writ_proto::pb;

pub use actor::{Actor, code};
pub use mcp::McpBridge;
pub use process::Process;
pub use wish::{Asked, Wish, note, refund, stage};

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A fresh request id.
pub fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Seconds since 1970.
pub fn now_seconds() -> i64 {
    chrono::Utc::now().timestamp()
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// The built program, of the same profile as this test.
pub fn program(name: &str) -> PathBuf {
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let path = root().join("target").join(profile).join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --release",
        path.display()
    );
    path
}

pub fn failpoint_connectord() -> PathBuf {
    let path = root().join("target/failpoints/connectord");
    assert!(
        path.exists(),
        "{} is not built; tests/run builds it",
        path.display()
    );
    path
}

/// Where programs are looked for.
pub fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// First of the ports that daemons are started on, and how many there are. They lie below those
/// that systems give to connections (from 32,768 on), or one could be gone before it is used.
const PORTS: (u16, u16) = (18_000, 12_000);

/// A port that nobody listens on, and that no other test of this process gets.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` neighbouring ports that nobody listens on, and that no other test of this process
/// gets.
pub fn free_ports(count: u16) -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin at different places.
    let begin = u16::try_from(std::process::id() % 120).unwrap() * 100;
    for _ in 0..PORTS.1 {
        let given = GIVEN.fetch_add(count, Ordering::Relaxed) % PORTS.1;
        let first = PORTS.0 + (begin + given) % PORTS.1;
        let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no {count} ports are free");
}

/// One running Writ with its sandbox CRM.
pub struct World {
    pub folder: tempfile::TempDir,
    pub policyd_port: u16,
    pub connectord_port: u16,
    pub sandbox_port: u16,
    pub policyd: Option<Process>,
    pub connectord: Option<Process>,
    pub sandbox: Option<Process>,
    pub env: Vec<(&'static str, &'static str)>,
    /// Whether agents may call only as often as a fresh configuration says. Most tests ask as fast as they
    /// can, and mean something else.
    pub limited: bool,
    /// Databases of policyd and connectord; none means the files that `init` names.
    pub stores: Option<(String, String)>,
    /// Values of connectord's configuration beside those of `init`, as `a.b=value`.
    pub overrides: Vec<String>,
    /// Connections beside the sandbox CRM: name, system and base URL.
    pub connections: Vec<(&'static str, &'static str, String)>,
    /// What credentials may do beyond their need, by connection, as TOML has a list.
    pub accepted: Vec<(&'static str, &'static str)>,
    /// Sockets of plug-ins, by the connection that asks them.
    pub plugins: Vec<(&'static str, PathBuf)>,
}

impl World {
    /// Everything up, nothing promoted.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(env: &[(&'static str, &'static str)]) -> Self {
        let mut world = Self::prepare(env);
        world.start_sandbox();
        world.start_policyd();
        world.start_connectord(&program("connectord"), &[]);
        world
    }

    /// Adds a connection to a shipped system file, with cards of acme for it, whole, and rules that allow them.
    pub fn beside(
        &mut self,
        (connection, system, base): (&'static str, &'static str, String),
        secret: &str,
        cards: &[(&str, String)],
        rules: &str,
    ) {
        for (name, text) in cards {
            let file = format!("policies/acme/actions/{name}.toml");
            std::fs::write(self.path(&file), text).unwrap();
        }
        std::fs::write(self.path("policies/acme/servers.cedar"), rules).unwrap();
        std::fs::write(self.path("keys/other.secret"), secret).unwrap();
        let add = ["creds", "add", connection, "--file", "keys/other.secret"];
        assert!(self.run("connectord", &add).status.success());
        self.connections.push((connection, system, base));
    }

    /// The folder made by `init`, nothing running.
    pub fn prepare(env: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = |program: &Path, args: &[&str]| {
            let output = Command::new(program)
                .current_dir(folder.path())
                .args(args)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run(&program("policyd"), &["init", "."]);
        run(
            &program("connectord"),
            &["creds", "add", "crm/main", "--file", "keys/sandbox.secret"],
        );
        Self {
            policyd_port: free_port(),
            connectord_port: free_port(),
            sandbox_port: free_port(),
            policyd: None,
            connectord: None,
            sandbox: None,
            env: env.to_vec(),
            limited: false,
            stores: None,
            overrides: Vec::new(),
            connections: Vec::new(),
            accepted: Vec::new(),
            plugins: Vec::new(),
            folder,
        }
    }

    /// Everything up on two fresh databases of a PostgreSQL server, nothing promoted.
    pub async fn start_on(server: &str) -> Self {
        let mut world = Self::prepare(&[]);
        world.stores = Some((
            postgres::fresh_database(server).await,
            postgres::fresh_database(server).await,
        ));
        world.start_sandbox();
        world.start_policyd();
        world.start_connectord(&program("connectord"), &[]);
        world
    }

    pub fn start_sandbox(&mut self) {
        let addr = format!("127.0.0.1:{}", self.sandbox_port);
        let args = [
            "sandbox",
            "serve",
            "--addr",
            &addr,
            "--secret-file",
            "keys/sandbox.secret",
        ];
        let path = self.folder.path();
        self.sandbox = Some(Process::start(
            path,
            "sandbox",
            &program("connectord"),
            &args,
            &self.env,
        ));
    }

    pub fn start_policyd(&mut self) {
        self.policyd = Some(self.policyd_on("policyd", self.policyd_port));
    }

    /// A policyd that serves until it is dropped.
    pub fn start_policyd_once(&self) -> Process {
        self.policyd_on("policyd-once", self.policyd_port)
    }

    /// One more policyd beside the first, over the same database.
    pub fn policyd_replica(&self, port: u16) -> Process {
        self.policyd_on("policyd-replica", port)
    }

    fn policyd_on(&self, name: &str, port: u16) -> Process {
        let own = format!("server.grpc_addr=127.0.0.1:{port}");
        let peer = format!("connectord.addr=https://localhost:{}", self.connectord_port);
        let mut args = vec!["server", "--set", &own, "--set", &peer];
        let store = self.stores.as_ref().map(|(url, _)| store_flag(url));
        args.extend(store.iter().flat_map(|flag| ["--set", flag]));
        args.extend(self.rates().iter().flat_map(|flag| ["--set", flag]));
        let path = self.folder.path();
        Process::start(path, name, &program("policyd"), &args, &self.env)
    }

    pub fn start_connectord(&mut self, program: &Path, env: &[(&'static str, &str)]) {
        let port = self.connectord_port;
        let own = ("connectord", port);
        self.connectord = Some(self.connectord_on(own, program, env, std::iter::empty()));
    }

    /// Overrides that let agents call as often as they can.
    pub(crate) fn rates(&self) -> &'static [&'static str] {
        if self.limited {
            return &[];
        }
        &[
            "limits.agent_per_second=1000000",
            "limits.tenant_per_second=1000000",
            "limits.operator_per_second=1000000",
        ]
    }

    pub fn kill_connectord(&mut self) {
        self.connectord.take().expect("connectord runs").kill();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// connectord's journal, to look at and to edit behind its back.
    pub async fn journal(&self) -> sqlx::SqlitePool {
        let url = format!("sqlite://{}", self.path("connectord.db").display());
        sqlx::SqlitePool::connect(&url).await.unwrap()
    }

    /// Makes actions live for acme.
    pub async fn promote(&self, actions: &[&str]) {
        let mut operator = self.operator().await;
        for action in actions {
            let request = pb::SetActionRolloutRequest {
                name: format!("tenants/acme/actions/{action}"),
                rollout: pb::Rollout::Live.into(),
                reason: "test".into(),
                accept_unseen: true,
                ..pb::SetActionRolloutRequest::default()
            };
            operator.execute.set_action_rollout(request).await.unwrap();
        }
    }

    /// Runs a program of ours in the folder.
    pub fn run(&self, name: &str, args: &[&str]) -> std::process::Output {
        self.answered(name, args, Stdio::null())
    }

    /// The same, with what is answered to its questions.
    pub fn answered(&self, name: &str, args: &[&str], input: Stdio) -> std::process::Output {
        let mut command = Command::new(program(name));
        command
            .current_dir(self.folder.path())
            .args(args)
            .stdin(input);
        command.output().unwrap()
    }

    /// The real changes in the CRM, from its own append-only table.
    pub async fn effects(&self) -> Vec<serde_json::Value> {
        let secret = std::fs::read_to_string(self.path("keys/sandbox.secret")).unwrap();
        let url = format!("http://127.0.0.1:{}/_sandbox/effects", self.sandbox_port);
        let answer = reqwest::Client::new()
            .get(url)
            .bearer_auth(secret)
            .send()
            .await
            .unwrap();
        answer.json().await.unwrap()
    }

    /// A person changes a record in the CRM itself.
    pub fn person_edits(&self, record: &str, field: &str) {
        let url = format!("http://127.0.0.1:{}", self.sandbox_port);
        let args = [
            "sandbox",
            "edit",
            "--url",
            &url,
            "--secret-file",
            "keys/sandbox.secret",
            record,
            field,
        ];
        assert!(self.run("connectord", &args).status.success());
    }

    pub fn fault(&self, kind: &str, count: &str, delay_ms: &str) {
        let url = format!("http://127.0.0.1:{}", self.sandbox_port);
        let args = [
            "sandbox",
            "fault",
            "--url",
            &url,
            "--secret-file",
            "keys/sandbox.secret",
            kind,
            "--count",
            count,
            "--delay-ms",
            delay_ms,
        ];
        let output = self.run("connectord", &args);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub async fn executions(&self) -> Vec<pb::Execution> {
        self.operator().await.executions().await
    }

    /// All export lines of acme.
    pub async fn export(&self) -> Vec<u8> {
        self.operator().await.exported(false).await
    }

    /// The records of acme, each with the `values` that it commits to. Every log begins with the
    /// policies that come into force; those records are left out.
    pub async fn records(&self) -> Vec<serde_json::Value> {
        self.operator().await.all_records().await
    }

    /// Waits until every execution has ended and every report has become a record.
    pub async fn settle(&self) -> (Vec<pb::Execution>, Vec<serde_json::Value>) {
        let started = Instant::now();
        // One connection for all rounds: an operator has 16, and a busy daemon ends them late.
        let mut operator = self.operator().await;
        loop {
            let (executions, records) = (operator.executions().await, operator.all_records().await);
            let ended = executions.iter().all(|execution| {
                use pb::ExecutionState as S;
                let open = [S::Claimed, S::Sending, S::InDoubt].map(i32::from);
                !open.contains(&execution.state) && reported(execution, &records)
            });
            if ended {
                return (executions, records);
            }
            let patience = PATIENCE.saturating_mul(2);
            assert!(started.elapsed() < patience, "not settled: {executions:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every effect has an execution that says it wrote, every such execution has its effect and
    /// its record, each has an ALLOW before it, and the export verifies.
    pub async fn check_everything(&self) {
        let (executions, records) = self.settle().await;
        let effects = self.effects().await;
        let ours = effects
            .iter()
            .filter(|effect| effect["by"] == "connectord")
            .count();
        let wrote: Vec<_> = executions
            .iter()
            .filter(|execution| execution.wrote)
            .collect();
        assert_eq!(
            ours,
            wrote.len(),
            "effects {effects:#?}\nexecutions {executions:#?}"
        );
        for execution in &wrote {
            let allowed = records.iter().any(|record| {
                record["record_id"] == execution.decision_id.as_str()
                    && record["verdict"] == "ALLOW"
            });
            assert!(allowed, "no ALLOW for {execution:?}");
        }
        let export = self.path("export.jsonl");
        std::fs::write(&export, self.export().await).unwrap();
        let output = self.run(
            "policyd",
            &[
                "records",
                "verify",
                "export.jsonl",
                "--trust",
                "keys/public.json",
            ],
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

fn store_flag(url: &str) -> String {
    format!("store.url={url}")
}

fn reported(execution: &pb::Execution, records: &[serde_json::Value]) -> bool {
    let id = execution.name.rsplit('/').next().unwrap_or_default();
    records.iter().any(|record| record["execution_id"] == id)
}
