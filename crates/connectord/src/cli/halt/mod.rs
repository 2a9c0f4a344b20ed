//! `connectord halt`: with a certificate it asks a connectord; without one it works on the store
//! itself, which needs no server at all.

mod access;
mod direct;
mod off;
mod remote;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use writ_proto::Reason;
use writ_proto::host::cli::client_files::{chosen, key_beside, named};

use super::Common;
use crate::error::AppError;
use crate::halt::Scope;
use crate::output::{Output, plural};
use crate::{clock, ids};
use direct::Direct;
use remote::Remote;

/// Longest wait for the answers of connectords.
const PATIENCE: Duration = Duration::from_secs(2);
const SCOPES_MAX: usize = 100;
/// After so many halts it is told how many are set.
const PROGRESS: usize = 10;
/// How long it is looked whether the halted names are known.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Halts.
#[derive(Debug, Subcommand)]
pub(crate) enum HaltCommand {
    /// Stop writes of scopes at once.
    On {
        #[command(flatten)]
        scopes: ScopeArgs,
        /// End by itself after a time such as 2h.
        #[arg(long = "for", value_name = "DURATION", value_parser = writ_proto::duration::seconds_of)]
        duration: Option<u32>,
        #[command(flatten)]
        access: Access,
    },
    /// Let them go on; needs a reason.
    Off {
        #[command(flatten)]
        scopes: ScopeArgs,
        #[command(flatten)]
        access: Access,
    },
    /// What is halted, and which connectords obey.
    Status {
        #[command(flatten)]
        access: Access,
    },
    /// Ask every connectord to answer a fresh nonce; fails unless all do.
    Drill {
        #[command(flatten)]
        access: Access,
    },
    /// Devices that may halt from the halt page. On the store only.
    #[command(subcommand)]
    Devices(access::DevicesCommand),
    /// Operators who may resume on the halt page. On the store only.
    #[command(subcommand)]
    Operators(access::OperatorsCommand),
    /// Say that a store which lost or never had its data is right as it stands. On the store only.
    Arm {
        /// Why; recorded.
        #[arg(long)]
        reason: String,
        /// `file://FOLDER` or `redis://HOST:PORT/DB`; that of the configuration if absent.
        #[arg(long)]
        store: Option<String>,
    },
}

/// Which scopes, and why.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// global, tenant:T, connection:C, action:A, agent:G, customer:N, run:R or tenant:T/KIND:NAME;
    /// may be repeated; global if absent. With a certificate KIND:NAME is of your own tenant,
    /// without one of every tenant.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Why; recorded.
    #[arg(long, default_value = "")]
    reason: String,
}

impl ScopeArgs {
    fn is_default(&self) -> bool {
        self.scopes.is_empty()
    }

    fn named(&self) -> Result<Vec<String>, AppError> {
        if self.scopes.len() > SCOPES_MAX {
            return Err(malformed(format!("at most {SCOPES_MAX} scopes")));
        }
        if self.is_default() {
            return Ok(vec!["global".to_owned()]);
        }
        Ok(self.scopes.clone())
    }
}

/// How to reach the halts: a certificate, or the store.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// `file://FOLDER` or `redis://HOST:PORT/DB`; that of the configuration if absent.
    #[arg(long, conflicts_with = "cert")]
    store: Option<String>,
    /// `https://host:port` of connectord; that of connectord.toml beside you if absent.
    #[arg(long, env = "CONNECTORD_ADDR")]
    addr: Option<String>,
    /// Certificate authority, PEM; certs/ca.pem beside the configuration if absent.
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// Own certificate, PEM: asks a connectord instead of the store.
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Own key, PEM; `keys/NAME-tls.pem` beside `certs/NAME.pem` if absent, as `init` makes them.
    #[arg(long)]
    key: Option<PathBuf>,
}

/// A halt as it is printed.
#[derive(Debug)]
struct Shown {
    scope: String,
    by: String,
    reason: String,
    since: i64,
    until: i64,
}

/// What came of resuming a scope.
#[derive(Debug)]
struct Ended {
    /// As it is stored.
    scope: String,
    /// False where nothing was set for it.
    cleared: bool,
    epoch: u64,
    /// Wider halts that cover it too; none where they are not known.
    still: Option<Vec<String>>,
}

/// A connectord as it is printed.
#[derive(Debug)]
struct Peer {
    name: String,
    /// What it does for others is not told.
    is_shared: bool,
    answered: bool,
    known: bool,
    last: Option<(i64, String)>,
    open: u32,
    finished: u32,
}

/// What a question to all came to.
#[derive(Debug)]
struct Answers {
    nonce: String,
    peers: Vec<Peer>,
    took: Duration,
}

impl Answers {
    fn answered(&self) -> usize {
        self.peers.iter().filter(|peer| peer.answered).count()
    }

    fn complete(&self) -> bool {
        self.answered() == self.peers.len()
    }
}

/// One of the two ways.
enum Halts {
    Direct(Box<Direct>),
    Remote(Box<Remote>),
}

impl Halts {
    async fn open(common: &Common, access: &Access) -> Result<Self, AppError> {
        match &access.cert {
            Some(cert) => {
                let cert = named(cert.clone());
                let key = access.key.clone().unwrap_or_else(|| key_beside(&cert));
                let remote = Remote::open(access, &cert, &key).await?;
                Ok(Self::Remote(Box::new(remote)))
            }
            None => {
                let set = crate::config::variable("WRIT_CERT").filter(|set| !set.is_empty());
                let set = set.map(|_| "WRIT_CERT is set");
                let set = set.or_else(|| chosen().map(|_| "policyd use has chosen a certificate"));
                if let Some(set) = set {
                    tracing::warn!(
                        "{set}, and halt does not use it: without --cert it works on the halt store of this machine; add --cert to ask connectord"
                    );
                }
                let direct = Direct::open(common, access.store.as_deref()).await?;
                Ok(Self::Direct(Box::new(direct)))
            }
        }
    }

    async fn ask(&mut self) -> Result<Answers, AppError> {
        let nonce = nonce()?;
        match self {
            Self::Direct(direct) => direct.drill(&nonce).await,
            Self::Remote(remote) => remote.drill(&nonce).await,
        }
    }
}

/// Fresh, and short enough to read out.
fn nonce() -> Result<String, AppError> {
    let bytes = ids::random::<4>().ok_or_else(|| AppError::of(Reason::Internal))?;
    Ok(hex::encode(bytes))
}

fn malformed(why: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, why)
}

pub(super) async fn run(
    common: &Common,
    command: &HaltCommand,
    output: &Output,
) -> Result<u8, AppError> {
    match command {
        HaltCommand::On {
            scopes,
            duration,
            access,
        } => {
            let mut halts = Halts::open(common, access).await?;
            let named = access.store.is_some();
            on(&mut halts, scopes, (duration.unwrap_or(0), named), output).await
        }
        HaltCommand::Off { scopes, access } => {
            let mut halts = Halts::open(common, access).await?;
            off::run(&mut halts, scopes, output).await
        }
        HaltCommand::Status { access } => {
            let mut halts = Halts::open(common, access).await?;
            status(&mut halts, output).await
        }
        HaltCommand::Drill { access } => {
            let mut halts = Halts::open(common, access).await?;
            drill(&mut halts, output).await
        }
        HaltCommand::Devices(command) => access::devices(common, command, *output).await,
        HaltCommand::Operators(command) => access::operators(common, command, *output).await,
        HaltCommand::Arm { reason, store } => {
            let direct = Direct::open(common, store.as_deref()).await?;
            let state = direct.arm(reason).await?;
            let (halts, epoch) = (state.flags.len(), state.epoch);
            let set = plural(halts, "halt");
            let text = format!(
                "ARMED  epoch {epoch}, {set} set; what is not halted goes on, and writs that were signed before are refused"
            );
            output.line(
                &text,
                &json!({"armed": true, "epoch": epoch, "halts": halts}),
            );
            Ok(0)
        }
    }
}

/// A scope as it was typed, as it is stored, and the epoch then.
type Set = (String, (String, u64));

/// Sets all scopes before anything is looked up; as far as it came, and why no further.
async fn set_all(
    halts: &mut Halts,
    args: &ScopeArgs,
    (seconds, output): (u32, &Output),
) -> Result<(Vec<Set>, Option<AppError>), AppError> {
    let mut set = Vec::new();
    let scopes = args.named()?;
    let all = scopes.len();
    for (at, scope) in scopes.into_iter().enumerate() {
        if at > 0 && at % PROGRESS == 0 {
            output.note(&format!("{at} of {all} halts are set"));
        }
        let one = match halts {
            Halts::Direct(direct) => direct.set(&scope, &args.reason, seconds).await,
            Halts::Remote(remote) => remote.set(&scope, &args.reason, seconds).await,
        };
        match one {
            Ok(one) => set.push((scope, one)),
            Err(error) => {
                return Ok((set, Some(off::so_far("NOT SET", (all - at, &scope), error))));
            }
        }
    }
    Ok((set, None))
}

async fn on(
    halts: &mut Halts,
    args: &ScopeArgs,
    (seconds, named): (u32, bool),
    output: &Output,
) -> Result<u8, AppError> {
    let (set, failed) = set_all(halts, args, (seconds, output)).await?;
    let mut misspelt = 0_u8;
    // That it halts is told soon, whatever else this certificate is busy with.
    let until = tokio::time::Instant::now() + LOOK_MAX;
    for (scope, (stored, epoch)) in set {
        let strange = match halts {
            Halts::Remote(remote) => remote.strange_until(&stored, until).await,
            Halts::Direct(_) => None,
        };
        let certain = strange.as_ref().is_some_and(|(_, certain)| *certain);
        misspelt |= u8::from(certain);
        // Nothing of that name is there to be halted.
        let word = if certain { "SET" } else { "HALTED" };
        let text = format!("{word} {stored}{}", every_tenant(&stored));
        output.line(
            &text,
            &json!({"scope": stored, "state": "HALTED", "epoch": epoch}),
        );
        match halts {
            Halts::Remote(_) => {
                if let Some((why, _)) = strange {
                    output.line(&format!("WARNING: {why}"), &json!({"warning": why}));
                }
            }
            // The store knows no agents, actions or customers.
            Halts::Direct(_) if scope.contains(':') => {
                output.note(
                    "set in the halt store itself, which knows no names: a misspelt scope stops nothing. With --cert connectord looks whether the name exists",
                );
            }
            Halts::Direct(_) => {}
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if args.is_default() {
        output.note("nothing was named with --scope, so everything is halted: --scope tenant:T, action:A or agent:G halts less");
    }
    let answers = halts.ask().await?;
    if answers.peers.is_empty() {
        let text = if named {
            "WARNING: no connectord uses the store given with --store. The halt is set there and stops nothing until a connectord starts on it; \
             leave --store out to use the store of connectord.toml"
        } else {
            "WARNING: no connectord runs on this store; the halt is set and holds as soon as one starts"
        };
        output.line(text, &json!({"connectors": 0}));
        // A store that somebody typed may be another than the one that is meant.
        return Ok(misspelt | u8::from(named));
    }
    let (answered, all) = (answers.answered(), answers.peers.len());
    let took = answers.took.as_millis();
    let text = format!(
        "{answered} of {} acknowledged in {took} ms; policyd stops allowing it within a second",
        plural(all, "connectord")
    );
    let value = json!({"acknowledged": answered, "connectors": all, "ms": took});
    output.line(&text, &value);
    silent(&answers, output);
    Ok(misspelt | u8::from(!answers.complete()))
}

fn every_tenant(scope: &str) -> &'static str {
    if scope.starts_with("tenant:") {
        ""
    } else {
        "  (every tenant)"
    }
}

/// The halts that cover all of a scope, without its own.
fn wider<'a>(scope: &Scope, halts: impl Iterator<Item = &'a Scope>) -> Vec<String> {
    halts
        .filter(|halt| *halt != scope && halt.includes(scope))
        .map(ToString::to_string)
        .collect()
}

async fn status(halts: &mut Halts, output: &Output) -> Result<u8, AppError> {
    let (shown, epoch) = match halts {
        Halts::Direct(direct) => direct.list().await?,
        Halts::Remote(remote) => remote.list().await?,
    };
    for halt in &shown {
        let Shown {
            scope,
            by,
            reason,
            since,
            until,
        } = halt;
        let moment = |seconds: i64| {
            let time = chrono::DateTime::from_timestamp(seconds, 0).filter(|_| seconds > 0);
            time.map(|time| time.to_rfc3339()).unwrap_or_default()
        };
        let (since, until) = (moment(*since), moment(*until));
        let end = if until.is_empty() {
            String::new()
        } else {
            format!("  until {until}")
        };
        // Who set it, an agent is not told.
        let by_whom = if by.is_empty() {
            String::new()
        } else {
            format!("  by {by}")
        };
        let why = match reason.as_str() {
            "" => String::new(),
            reason => format!("  because {reason:?}"),
        };
        let text = format!("HALTED {scope}  since {since}{end}{by_whom}{why}");
        output.line(
            &text,
            &json!({"scope": scope, "by": by, "reason": reason, "since": since, "until": until}),
        );
    }
    let text = plural(shown.len(), "halt");
    output.line(&text, &json!({"halts": shown.len(), "epoch": epoch}));
    // Whoever sees a halt of another tenant sees all.
    let of_another = |own: &str| {
        shown.iter().any(|halt| {
            let scope = halt.scope.strip_prefix("tenant:");
            scope.is_some_and(|scope| scope.split('/').next() != Some(own))
        })
    };
    if let Halts::Remote(remote) = halts
        && let Some(own) = remote.tenant()
        && !of_another(own.as_str())
    {
        output.note(&format!(
            "shown: halts of {own}, and halts that cover all tenants at once. Halts of other tenants are not shown"
        ));
    }
    Ok(0)
}

async fn drill(halts: &mut Halts, output: &Output) -> Result<u8, AppError> {
    let answers = halts.ask().await?;
    let (answered, all) = (answers.answered(), answers.peers.len());
    let (nonce, took) = (&answers.nonce, answers.took.as_millis());
    let text = format!("drill: {answered} of {all} connectors answered nonce {nonce} in {took} ms");
    output.line(
        &text,
        &json!({"answered": answered, "connectors": all, "nonce": nonce, "ms": took}),
    );
    let now = clock::now().timestamp_millis();
    for peer in &answers.peers {
        let word = match (peer.answered, peer.known) {
            (false, _) => "SILENT",
            (true, false) => "HALT_UNKNOWN",
            (true, true) => "answered",
        };
        let last = peer.last.as_ref().map_or_else(
            || "no write yet".to_owned(),
            |(at, action)| format!("last write {} s ago ({action})", (now - at).max(0) / 1_000),
        );
        let (open, finished) = (peer.open, peer.finished);
        let text = if peer.is_shared {
            format!("  {}  {word}", peer.name)
        } else {
            let flight = format!("in flight: {finished} finished, {open} open");
            format!("  {}  {word}  {last}  {flight}", peer.name)
        };
        let value = json!({
            "connector": peer.name, "answered": peer.answered, "known": peer.known,
            "last_action": peer.last.as_ref().map(|(_, action)| action),
            "last_write_ms": peer.last.as_ref().map(|(at, _)| at),
            "open": open, "finished": finished,
        });
        let value = if peer.is_shared {
            json!({"connector": peer.name, "answered": peer.answered, "known": peer.known})
        } else {
            value
        };
        output.line(&text, &value);
    }
    // Nobody is not everybody.
    Ok(u8::from(answers.peers.is_empty() || !answers.complete()))
}

fn silent(answers: &Answers, output: &Output) {
    for peer in answers.peers.iter().filter(|peer| !peer.answered) {
        let text = format!("  {} did not answer", peer.name);
        output.line(&text, &json!({"connector": peer.name, "answered": false}));
    }
}
