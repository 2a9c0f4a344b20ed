//! Two connectords under load, halted and resumed again and again. What
//! counts is the sandbox CRM's own table of effects: when the last one was committed after the
//! halt was set.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::token::Mode;

use super::stage::Stage;
use super::writs::{Mint, TENANT};
use crate::fail;
use crate::report::figure;
use crate::sample::quantile;
use crate::servers::Running;
use connectord::halt::{Act, Flag, HaltStore, Place, Scope};
use connectord::lab::sandbox::Store;
use connectord::{clock, ids};
use writ_proto::host::cli::printed::Format;

const ARGS_BYTES: usize = 300;
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(1);
/// What a caller waits after a refusal, as an agent would.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);
/// The goal of P12 and of the halt as a whole.
const GOAL_MS: i64 = 1_000;

/// How often, and on which store.
#[derive(Debug, Args)]
pub(crate) struct HaltBenchArgs {
    /// How often it is halted and resumed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    flips: u32,
    /// Callers, half of them at each connectord.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=64))]
    callers: u32,
    /// A Redis for halts that may be changed, instead of a folder of flag files.
    #[arg(long)]
    redis: Option<String>,
    /// Folder on whose disk the journals are written.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// What callers have seen.
#[derive(Debug, Default)]
struct Seen {
    over: AtomicBool,
    /// Unix milliseconds at which each caller's latest refused call began.
    refused: Vec<AtomicU64>,
    /// Unix milliseconds of the first refusal since it was set to zero.
    first: AtomicU64,
}

fn now_ms() -> i64 {
    clock::now().timestamp_millis()
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

pub(crate) async fn run(args: &HaltBenchArgs, output: Format) -> anyhow::Result<bool> {
    let stage = Stage::new(&args.dir).await?;
    let config = stage.config()?;
    let place = match &args.redis {
        Some(url) => Place::parse(url).map_err(fail)?,
        None => config.halt.place.clone(),
    };
    let store = HaltStore::open(&place).await.map_err(fail)?;
    let act = act();
    let epoch = store.arm(&act).await.map_err(fail)?.epoch;
    let mint = Arc::new(Mint::read(stage.folder(), &config)?.in_epoch(epoch));
    let sandbox = stage.sandbox().await?;
    let mut daemons = Vec::new();
    for _ in 0..2 {
        daemons.push(stage.connectord(&sandbox, args.redis.as_deref()).await?);
    }
    let effects = effects(stage.folder()).await?;
    let seen = Arc::new(Seen {
        refused: (0..args.callers).map(|_| AtomicU64::new(0)).collect(),
        ..Seen::default()
    });
    let mut callers = Vec::new();
    for (index, daemon) in (0..seen.refused.len()).zip(daemons.iter().cycle()) {
        let target = stage.target(daemon).await?;
        let channel = super::first(&target)?;
        let client = ConnectorServiceClient::new(channel);
        callers.push(tokio::spawn(call(
            client,
            Arc::clone(&mint),
            index,
            Arc::clone(&seen),
        )));
    }
    let mut last = Vec::new();
    let mut first = Vec::new();
    for _ in 0..args.flips {
        let (to_last, to_first) = flip(&store, &effects, &seen).await?;
        last.push(to_last);
        first.push(to_first);
    }
    seen.over.store(true, Ordering::Release);
    for caller in callers {
        caller.await.map_err(fail)??;
    }
    for server in daemons {
        Running::stop(server).await?;
    }
    sandbox.stop().await?;
    let kind = if args.redis.is_some() {
        "redis"
    } else {
        "files"
    };
    report(kind, "set to first refusal", &mut first, output);
    report(kind, "set to last new effect", &mut last, output);
    let met = !last.is_empty() && quantile(&last, 990) <= GOAL_MS;
    figure(
        output,
        "goal: p99 of the last new effect <= 1000 ms",
        if met { "met" } else { "missed" },
        "",
    );
    Ok(met)
}

fn act() -> Act {
    Act {
        by: "bench".to_owned(),
        reason: "bench".to_owned(),
        at: clock::now().timestamp(),
    }
}

/// Halts once and resumes; milliseconds to the last effect and to the first refusal.
async fn flip(store: &HaltStore, effects: &Store, seen: &Seen) -> anyhow::Result<(i64, i64)> {
    let before = latest(effects).await?;
    wait(async || Ok(latest(effects).await?.0 > before.0 + 4)).await?;
    let scope: Scope = format!("tenant:{TENANT}").parse().map_err(fail)?;
    seen.first.store(0, Ordering::Release);
    let set = now_ms();
    let flag = Flag {
        at_ms: set,
        ..Flag::new(scope.clone(), &act(), ids::new_id().to_string())
    };
    store.set(&flag).await.map_err(fail)?;
    let halted = unsigned(now_ms());
    // A caller waits for each answer: once a call that began after the halt is refused, every
    // earlier one of his has ended.
    wait(async || {
        let refused = |at: &AtomicU64| at.load(Ordering::Acquire) > halted;
        Ok(seen.refused.iter().all(refused))
    })
    .await?;
    let (_, at) = latest(effects).await?;
    let first = i64::try_from(seen.first.load(Ordering::Acquire)).unwrap_or(i64::MAX);
    store.clear(&scope, &act()).await.map_err(fail)?;
    Ok(((at - set).max(0), (first - set).max(0)))
}

async fn wait(mut until: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !until().await? {
        if begun.elapsed() > PATIENCE {
            return Err(fail("the load does not follow the halts"));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// One call after another until it is over, each with a fresh writ.
async fn call(
    mut client: ConnectorServiceClient<tonic::transport::Channel>,
    mint: Arc<Mint>,
    index: usize,
    seen: Arc<Seen>,
) -> anyhow::Result<()> {
    while !seen.over.load(Ordering::Acquire) {
        let request = super::one(mint.requests(1, ARGS_BYTES, Mode::Execute)?)?;
        let begun = unsigned(now_ms());
        let answer = client.execute(request).await;
        let done = answer.is_ok_and(|answer| {
            answer
                .into_inner()
                .execution
                .is_some_and(|execution| execution.wrote)
        });
        if done {
            continue;
        }
        let now = unsigned(now_ms());
        // Only the first of all callers tells the first refusal.
        let _told = seen
            .first
            .compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
        if let Some(refused) = seen.refused.get(index) {
            refused.store(begun, Ordering::Release);
        }
        tokio::time::sleep(REFUSED_PAUSE).await;
    }
    Ok(())
}

/// The sandbox's own file, beside the sandbox.
async fn effects(folder: &Path) -> anyhow::Result<Store> {
    let url = format!("sqlite://{}", folder.join("sandbox.db").display());
    Store::open(&url).await.map_err(fail)
}

/// Number and Unix milliseconds of the latest effect.
async fn latest(effects: &Store) -> anyhow::Result<(i64, i64)> {
    effects.latest_effect().await.map_err(fail)
}

fn report(kind: &str, what: &str, taken: &mut [i64], output: Format) {
    taken.sort_unstable();
    for (name, per_mille) in [("p50", 500), ("p99", 990), ("max", 1_000)] {
        let value = quantile(taken, per_mille).to_string();
        figure(output, &format!("{kind}: {what}, {name}"), &value, "ms");
    }
}
