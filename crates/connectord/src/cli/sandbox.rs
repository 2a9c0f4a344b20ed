//! `connectord sandbox`.

mod copy;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use writ_proto::Reason;

use super::Common;
use super::server::{ready, stop};
use crate::error::AppError;
use crate::lab::sandbox::{KINDS, Store, bind, serve};
use crate::output::{Output, plural};
use crate::private_file::read_private;

/// The sandbox CRM.
#[derive(Debug, Subcommand)]
pub(super) enum SandboxCommand {
    /// Serve it on loopback.
    Serve {
        /// Address, where port 0 takes a free one; that of the connection in connectord.toml if absent, or else
        /// 127.0.0.1:7380.
        #[arg(long)]
        addr: Option<SocketAddr>,
        /// SQLite file.
        #[arg(long, default_value = "sandbox.db")]
        db: PathBuf,
        /// File with the bearer secret, mode 0600.
        #[arg(long)]
        secret_file: PathBuf,
        /// Writes the address here as JSON once it serves.
        #[arg(long)]
        ready_file: Option<PathBuf>,
    },
    /// Add the sample records that are missing, and deals L-1 to L-n for load.
    Seed {
        /// SQLite file.
        #[arg(long, default_value = "sandbox.db")]
        db: PathBuf,
        /// How many load deals.
        #[arg(long, default_value_t = 0)]
        deals: u32,
    },
    /// Add a copy of your own records with everything scrubbed that is not named.
    Copy(copy::CopyArgs),
    /// Start over. Effects go too, so only a stopped sandbox is reset.
    Reset {
        /// SQLite file.
        #[arg(long, default_value = "sandbox.db")]
        db: PathBuf,
    },
    /// Records of a kind, or the effects.
    Show {
        /// SQLite file.
        #[arg(long, default_value = "sandbox.db")]
        db: PathBuf,
        /// contacts, deals, orders, tickets, notes, tasks, refunds or effects; or one record, such as deal/D-104.
        #[arg(default_value = "effects")]
        kind: String,
    },
    /// Change fields of a record of a running sandbox, as a person would.
    Edit {
        /// `http://127.0.0.1:PORT`; that of the connection in connectord.toml if absent.
        #[arg(long, visible_alias = "addr")]
        url: Option<String>,
        /// File with the bearer secret, mode 0600.
        #[arg(long)]
        secret_file: PathBuf,
        /// Kind and id, such as `deal/D-104`.
        record: String,
        /// field=value; a value that is JSON is taken as such.
        fields: Vec<String>,
    },
    /// Make the next writes of a running sandbox fail.
    Fault {
        /// `http://127.0.0.1:PORT`; that of the connection in connectord.toml if absent.
        #[arg(long, visible_alias = "addr")]
        url: Option<String>,
        /// File with the bearer secret, mode 0600.
        #[arg(long)]
        secret_file: PathBuf,
        /// slow, rate_limited, rate_limited_bare, error_before, error_after, answer_lost, late_commit.
        kind: String,
        /// For how many writes; 0 switches faults off.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Milliseconds, for slow and late_commit.
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
    },
}

fn broken(error: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::StoreUnavailable, error.to_string())
}

/// What a sandbox said, or that there is none.
async fn heard(
    sent: Result<reqwest::Response, reqwest::Error>,
    url: &str,
) -> Result<reqwest::Response, AppError> {
    let answer = sent.map_err(|_| {
        let message = format!("no sandbox answers at {url}");
        AppError::new(Reason::PeerUnreachable, message)
            .with_fix("start it, or say where it is: --url http://127.0.0.1:PORT")
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let said = answer.text().await.unwrap_or_default();
    let said: String = said.chars().take(SAID_MAX).collect();
    let reason = match status.as_u16() {
        401 | 403 => Reason::CredentialMissing,
        404 => Reason::NotFound,
        412 => Reason::PreconditionFailed,
        _ => Reason::RequestMalformed,
    };
    let fix = match reason {
        Reason::CredentialMissing => {
            "that secret is not the one the sandbox was started with: give the same --secret-file"
        }
        Reason::NotFound => {
            "a record is KIND/ID, such as deals/D-104: connectord sandbox show deals"
        }
        _ => "see connectord sandbox --help",
    };
    Err(AppError::new(reason, format!("{url}: HTTP {status} {said}")).with_fix(fix))
}

/// Characters of an answer that are shown.
const SAID_MAX: usize = 300;

/// Where the sandbox of this folder is: what its connection says.
fn url_of(given: Option<&String>, common: &Common) -> String {
    let config = || {
        let config = common.read().ok()?;
        let own = config.connection.iter().find(|one| one.system == "sandbox");
        own.map(|one| one.base_url.clone())
    };
    let url = given.cloned().or_else(config);
    url.unwrap_or_else(|| "http://127.0.0.1:7380".to_owned())
}

/// Where connectord will look for it.
fn own_addr(common: &Common) -> Result<SocketAddr, AppError> {
    let url = url_of(None, common);
    let addr = url.strip_prefix("http://").unwrap_or(&url);
    let addr = addr.trim_end_matches('/').parse();
    addr.map_err(|_| {
        let message = format!("{url}: the sandbox serves http://IP:PORT on this machine only");
        AppError::new(Reason::ConfigInvalid, message)
            .with_fix("mend base_url of its connection in connectord.toml, or give --addr")
    })
}

/// The secret that the sandbox takes.
fn secret_of(file: &Path) -> Result<zeroize::Zeroizing<String>, AppError> {
    read_private(file).map_err(|refusal| {
        let error = AppError::from(refusal);
        match error.reason {
            Reason::KeyInvalid => error.with_fix(
                "--secret-file is the file with the secret of the sandbox; policyd init makes keys/sandbox.secret",
            ),
            _ => error,
        }
    })
}

async fn open(db: &Path) -> Result<Store, AppError> {
    Store::open(&format!("sqlite://{}", db.display()))
        .await
        .map_err(broken)
}

/// Reads the version and writes against it, as a person's browser would.
/// The kind in `deals`, `deal/D-104` or `deals/D-104`, and the id: a record is named as everywhere else, too.
fn named(text: &str) -> Result<(&'static str, Option<&str>), AppError> {
    let (kind, id) = text
        .split_once('/')
        .map_or((text, None), |(kind, id)| (kind, Some(id)));
    let known = KINDS
        .iter()
        .find(|known| **known == kind || known.strip_suffix('s') == Some(kind));
    let unknown = || {
        let kinds = KINDS.join(", ");
        let message = format!("the sandbox has no kind `{kind}`; it has {kinds}, and effects");
        AppError::new(Reason::RequestMalformed, message)
    };
    Ok((known.copied().ok_or_else(unknown)?, id))
}

async fn edit(url: &str, secret: &str, record: &str, fields: &[String]) -> Result<(), AppError> {
    let client = reqwest::Client::new();
    let (kind, id) = named(record)?;
    let id = id.ok_or_else(|| {
        let message = format!("`{record}` is no record, such as deal/D-104");
        AppError::new(Reason::RequestMalformed, message)
    })?;
    let address = format!("{url}/{kind}/{id}");
    let read = client.get(&address).bearer_auth(secret).send();
    let read = heard(read.await, &address).await?;
    let version = read
        .headers()
        .get("etag")
        .and_then(|value| value.to_str().ok());
    let version = version.ok_or_else(|| broken(format!("{record}: HTTP {}", read.status())))?;
    let mut body = serde_json::Map::new();
    for field in fields {
        let (name, text) = field.split_once('=').ok_or_else(|| {
            AppError::new(
                Reason::RequestMalformed,
                format!("`{field}` is not FIELD=VALUE, such as stage=won"),
            )
        })?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        body.insert(name.to_owned(), value);
    }
    let request = client
        .patch(&address)
        .bearer_auth(secret)
        .header("x-actor", "person");
    let sent = request.header("if-match", version).json(&body).send().await;
    heard(sent, &address).await?;
    Ok(())
}

async fn show(db: &Path, kind: &str, output: &Output) -> Result<(), AppError> {
    let store = open(db).await?;
    if kind == "effects" {
        for effect in store.effects().await.map_err(broken)? {
            let text = format!(
                "{} {} {}/{} {}",
                effect.seq, effect.by, effect.kind, effect.id, effect.change
            );
            output.line(&text, &json!(effect));
        }
        return Ok(());
    }
    let (kind, id) = named(kind)?;
    let mut all = store.list(kind, None).await.map_err(broken)?;
    all.retain(|record| id.is_none_or(|id| record.id == id));
    if let Some(id) = id.filter(|_| all.is_empty()) {
        let message = format!("there is no {kind}/{id} in the sandbox");
        return Err(AppError::new(Reason::NotFound, message));
    }
    for record in all {
        let (id, version, fields) = (&record.id, record.version, &record.fields);
        let text = format!("{kind}/{id} v{version} {fields}");
        output.line(
            &text,
            &json!({"id": id, "version": version, "fields": fields}),
        );
    }
    Ok(())
}

pub(super) async fn run(
    common: &Common,
    command: &SandboxCommand,
    output: &Output,
) -> Result<u8, AppError> {
    match command {
        SandboxCommand::Serve {
            addr,
            db,
            secret_file,
            ready_file,
        } => {
            let addr = match addr {
                Some(addr) => *addr,
                None => own_addr(common)?,
            };
            serve_until_stopped(addr, db, (secret_file, ready_file.as_ref())).await?;
        }
        SandboxCommand::Seed { db, deals } => {
            let seeded = open(db).await?.seed((*deals).min(1_000_000)).await;
            seeded.map_err(broken)?;
            output.line("seeded", &json!({"seeded": true}));
        }
        SandboxCommand::Copy(args) => copy::run(args, *output).await?,
        SandboxCommand::Reset { db } => {
            reset(db).await?;
            output.line("reset", &json!({"reset": true}));
        }
        SandboxCommand::Show { db, kind } => show(db, kind, output).await?,
        SandboxCommand::Edit {
            url,
            secret_file,
            record,
            fields,
        } => {
            let secret = secret_of(secret_file)?;
            let url = url_of(url.as_ref(), common);
            edit(&url, secret.trim(), record, fields).await?;
            output.line(&format!("{record} changed"), &json!({"record": record}));
        }
        SandboxCommand::Fault {
            url,
            secret_file,
            kind,
            count,
            delay_ms,
        } => {
            let secret = secret_of(secret_file)?;
            let body = json!({"kind": kind, "count": count, "delay_ms": delay_ms});
            let url = url_of(url.as_ref(), common);
            fault(&url, secret.trim(), &body).await?;
            output.line(&format!("{kind} for {}", plural(*count, "write")), &body);
        }
    }
    Ok(0)
}

async fn serve_until_stopped(
    addr: SocketAddr,
    db: &Path,
    (secret_file, ready_file): (&Path, Option<&PathBuf>),
) -> Result<(), AppError> {
    let secret = secret_of(secret_file)?.trim().to_owned();
    let taken = |error| AppError::new(Reason::PortInUse, format!("{addr}: {error}"));
    let listener = bind(addr).await.map_err(taken)?;
    let bound = listener.local_addr().map_err(broken)?;
    let _serving = lock(db, File::try_lock_shared)?;
    let store = open(db).await?;
    tracing::info!(http = %bound, "sandbox CRM ready");
    ready(
        ready_file,
        &json!({"http": bound.to_string(), "pid": std::process::id()}),
    )?;
    serve(listener, store, secret, stop()).await.map_err(broken)
}

async fn fault(url: &str, secret: &str, body: &serde_json::Value) -> Result<(), AppError> {
    let address = format!("{url}/_sandbox/faults");
    let request = reqwest::Client::new().post(&address);
    let sent = request.bearer_auth(secret).json(body).send().await;
    heard(sent, &address).await?;
    Ok(())
}

/// Held beside the file while it is served or reset: a reset under a running sandbox would leave
/// that one with records that nobody else sees.
fn lock(db: &Path, take: impl FnOnce(&File) -> Result<(), TryLockError>) -> Result<File, AppError> {
    let path = format!("{}.lock", db.display());
    let wrong = |error: std::io::Error| broken(format!("{path}: {error}"));
    let file = File::create(&path).map_err(wrong)?;
    match take(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(wrong(error)),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{} is in use: stop the sandbox first", db.display());
            Err(broken(text))
        }
    }
}

async fn reset(db: &Path) -> Result<(), AppError> {
    let _alone = lock(db, File::try_lock)?;
    for ending in ["", "-wal", "-shm"] {
        match std::fs::remove_file(format!("{}{ending}", db.display())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(broken(error));
            }
            _ => {}
        }
    }
    open(db).await.map(|_| ())
}
