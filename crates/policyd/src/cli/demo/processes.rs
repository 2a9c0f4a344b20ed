//! The three processes of the demo: started, waited for, and ended by id on every way out.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, Command};
use writ_proto::Reason;
use writ_proto::keyset::{KeySet, public_key};

use crate::cli::daemon::init::{InitArgs, run as init};
use crate::error::AppError;
use crate::output::{Format, Output};

const READY_STEPS_MAX: u32 = 2_000;
const READY_STEP: Duration = Duration::from_millis(5);

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

/// What is shown of the log of a process that ended, in lines.
const TAIL_LINES: usize = 12;

pub(in crate::cli) fn broken(error: &dyn core::fmt::Display) -> AppError {
    AppError::new(Reason::Internal, error.to_string())
}

/// Why a process ended, in its own words: its code and its fix where it told one, or else the end of its log.
pub(in crate::cli) fn ended(name: &str, how: &str, log: &str) -> AppError {
    let lines: Vec<&str> = log.lines().collect();
    let told = lines.iter().enumerate().rev().find_map(|(at, line)| {
        let (code, message) = line.split_once(' ')?;
        Some((Reason::from_code(code)?, message, at))
    });
    let Some((reason, message, at)) = told else {
        let tail = lines.len().saturating_sub(TAIL_LINES);
        let tail = lines.get(tail..).unwrap_or_default().join("\n");
        return AppError::new(Reason::Unavailable, format!("{name} ended {how}:\n{tail}"));
    };
    let error = AppError::new(reason, format!("{name} ended {how}: {message}"));
    let rest = lines.get(at..).unwrap_or_default();
    match rest.iter().find_map(|line| line.strip_prefix("Fix: ")) {
        Some(fix) => error.with_fix(fix),
        None => error,
    }
}

/// The sibling program in our own folder.
pub(in crate::cli) fn sibling() -> Result<PathBuf, AppError> {
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

/// Starts processes of ours in a folder.
pub(in crate::cli) struct Starter<'a> {
    pub(in crate::cli) folder: &'a Path,
}

impl Starter<'_> {
    pub(in crate::cli) fn spawn(
        &self,
        name: &str,
        program: &Path,
        args: &[&str],
    ) -> Result<Child, AppError> {
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
    pub(in crate::cli) async fn ready(
        &self,
        name: &str,
        child: &mut Child,
    ) -> Result<(), AppError> {
        let file = self.folder.join(format!("{name}.ready"));
        for _ in 0..READY_STEPS_MAX {
            if file.exists() {
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                let log = self.folder.join(format!("{name}.log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                return Err(ended(name, &format!("with {status}"), &log));
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
    pub(in crate::cli) async fn seal(&self, connectord: &Path) -> Result<(), AppError> {
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
            "connection=[{{name=\"crm/main\", system=\"sandbox\", base_url=\"http://127.0.0.1:{}\", tenants=[\"acme\", \"globex\"]}}]",
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
        processes.introduce(output)?;
        Ok(processes)
    }

    fn introduce(&self, output: Output) -> Result<(), AppError> {
        let pid = |index: usize| self.children.get(index).and_then(Child::id).unwrap_or(0);
        let [sandbox, policyd, connectord] = [pid(0), pid(1), pid(2)];
        let seen = self.secret_seen(policyd)?;
        let text = format!(
            "  policyd     pid {policyd:<7} gRPC {}\n  \
             connectord  pid {connectord:<7} gRPC {}   halt: touch {}/state/halt/global\n  \
             sandbox     pid {sandbox:<7} CRM  {}\n  \
             CRM secret found with: agent {} | policyd {} | connectord yes, sealed\n \
             #  {:<43} {:<20} what happened",
            self.policyd_url,
            self.connectord_url,
            self.folder.display(),
            self.sandbox_url,
            word(seen.agent),
            word(seen.policyd),
            "the agent asks",
            "policy said"
        );
        let value = json!({"policyd": {"pid": policyd, "url": self.policyd_url},
            "connectord": {"pid": connectord, "url": self.connectord_url},
            "sandbox": {"pid": sandbox, "url": self.sandbox_url},
            "secret_found_with": {"agent": seen.agent, "policyd": seen.policyd}});
        output.line(&text, &value);
        if seen.agent || seen.policyd {
            return Err(broken(&"the CRM secret is where it must not be"));
        }
        Ok(())
    }

    /// Looks for the CRM secret in what the agent holds and in what policyd was given.
    fn secret_seen(&self, policyd: u32) -> Result<Seen, AppError> {
        let secret = std::fs::read(self.folder.join("keys/sandbox.secret"));
        let secret = secret.map_err(|error| broken(&error))?;
        let holds = |path: PathBuf| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(secret.len()).any(|part| part == secret)
        };
        let own = |name: &str| holds(self.folder.join(name));
        let process = |name: &str| holds(PathBuf::from(format!("/proc/{policyd}/{name}")));
        Ok(Seen {
            agent: own("certs/agent-acme-triage.pem") || own("keys/agent-acme-triage-tls.pem"),
            policyd: process("cmdline")
                || process("environ")
                || own("policyd.toml")
                || own("policyd.db")
                || own("policyd.db-wal")
                || own("policyd.log"),
        })
    }

    /// The keys that anybody may verify with, proven by the root that connectord pins.
    pub(super) fn trusted_keys(&self) -> Result<KeySet, AppError> {
        let read = |name: &str| {
            std::fs::read_to_string(self.folder.join(name)).map_err(|error| broken(&error))
        };
        let config: toml::Table =
            toml::from_str(&read("connectord.toml")?).map_err(|error| broken(&error))?;
        let root = config.get("trust").and_then(|trust| trust.get("root_key"));
        let root = root.and_then(|root| public_key(&hex::decode(root.as_str()?).ok()?));
        let root = root.ok_or_else(|| broken(&"connectord.toml pins no key"))?;
        KeySet::parse_document(&read("keys/public.json")?, &root).map_err(|error| broken(&error))
    }
}

/// Where the CRM secret was found.
struct Seen {
    agent: bool,
    policyd: bool,
}

const fn word(found: bool) -> &'static str {
    if found { "YES" } else { "no" }
}

/// Takes the folder for this run. A throw-away one of an earlier run is removed, one in use or of
/// somebody else is not.
pub(super) fn claim(folder: &Path, throw_away: bool) -> Result<std::fs::File, AppError> {
    let refuse = |why: &str| {
        let message = format!(
            "{}: {why}; use --keep DIR for another folder",
            folder.display()
        );
        AppError::new(Reason::ConfigInvalid, message)
    };
    let mark = folder.join("demo.lock");
    if folder.exists() {
        if !throw_away {
            return Err(refuse("it is there already"));
        }
        let old = std::fs::File::open(&mark).map_err(|_| refuse("it is not of a demo"))?;
        old.try_lock().map_err(|_| refuse("a demo runs in it"))?;
        std::fs::remove_dir_all(folder).map_err(|error| broken(&error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| broken(&error))?;
    let lock = std::fs::File::create(&mark).map_err(|error| broken(&error))?;
    lock.try_lock().map_err(|_| refuse("a demo runs in it"))?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_an_ended_demo_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("demo");
        let lock = claim(&folder, true).unwrap();
        assert!(claim(&folder, true).is_err(), "it is in use");
        drop(lock);
        std::fs::write(folder.join("left"), "x").unwrap();
        drop(claim(&folder, true).unwrap());
        assert!(!folder.join("left").exists());
        assert!(claim(&folder, false).is_err(), "kept data is never removed");
        std::fs::remove_file(folder.join("demo.lock")).unwrap();
        assert!(claim(&folder, true).is_err(), "it is of somebody else");
    }

    #[test]
    fn a_process_that_ended_is_told_in_its_own_words() {
        let log = "2026-11-28 INFO begins\nCREDENTIAL_MISSING no credential for crm/main\nFix: add one\nMore: explain\n";
        let error = ended("connectord", "at the start", log);
        assert_eq!(error.reason, Reason::CredentialMissing);
        assert_eq!(
            error.public,
            "connectord ended at the start: no credential for crm/main"
        );
        assert_eq!(error.fix(), "add one");
        let silent = ended("sandbox", "at the start", &"a line\n".repeat(40));
        assert_eq!(silent.reason, Reason::Unavailable);
        assert_eq!(silent.public.matches("a line").count(), TAIL_LINES);
    }
}
