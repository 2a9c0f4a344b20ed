//! Verification and durable claim of connectord beside a bare echo, and the parts of a verification in this process.
//!
//! A number counts only if the claim is on disk before the answer, so nothing about the servers is special.

pub(crate) mod halt;
mod load;
mod local;
pub(crate) mod serve;
mod stage;
mod writs;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use prost::Message as _;
use tonic::transport::Channel;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::token::Mode;

use crate::fail;
use crate::machine::resident_kb;
use crate::report::{Goal, figure, goal, load_head, load_line, machine, micros, nanos};
use crate::sample::Sample;
use crate::servers::Running;
use load::{Target, ask, closed};
use serve::Work;
use stage::Stage;
use writ_proto::host::cli::printed::Format;
use writs::Mint;

const CALLERS: [usize; 3] = [1, 8, 64];
const ARGS_BYTES: usize = 300;
const RUN_LIMIT: Duration = Duration::from_secs(20);
/// The whole daemon makes this part of the calls: it talks to the sandbox CRM in each.
const WHOLE_PART: u64 = 8;

/// How much to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Calls of the run with 64 callers; fewer callers make fewer.
    #[arg(long, default_value_t = 16_000, value_parser = clap::value_parser!(u64).range(640..=200_000))]
    calls: u64,
    /// Times each run is made; the one of median processor time counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    rounds: u8,
    /// Folder on whose disk the journal is written.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// Two servers over the same requests.
struct Pair {
    echo: Target,
    claim: Target,
}

pub(crate) async fn run(args: &BenchArgs, output: Format) -> anyhow::Result<()> {
    let stage = Stage::new(&args.dir).await?;
    machine("connectord", stage.folder(), output)?;
    let config = stage.config()?;
    let mint = Mint::read(stage.folder(), &config)?;
    let sandbox = stage.sandbox().await?;
    let daemon = stage.connectord(&sandbox, None).await?;
    let idle = resident_kb(daemon.pid);
    let whole = stage.target(&daemon).await?;
    let mut client = ConnectorServiceClient::new(first(&whole)?);
    let request = one(mint.requests(1, ARGS_BYTES, Mode::DryRun)?)?;
    let request_bytes = request.encoded_len();
    let answer = ask(&mut client, request).await?;
    let echo = stage.measured(Work::Echo, &answer).await?;
    let claim = stage.measured(Work::Claim, &answer).await?;
    let sizes = format!("{request_bytes} and {}", answer.encoded_len());
    figure(output, "request and answer", &sizes, "bytes");
    let pair = Pair {
        echo: stage.target(&echo).await?,
        claim: stage.target(&claim).await?,
    };
    load_head(output);
    let (mut lone, mut busy) = (None, None);
    for callers in CALLERS {
        let (floor, claimed) = rounds(args, &mint, &pair, callers).await?;
        load_line(output, "echo", callers, &floor, &floor);
        load_line(output, "verify + claim", callers, &claimed, &floor);
        for (what, mode) in [
            ("whole, dry run", Mode::DryRun),
            ("whole, live", Mode::Execute),
        ] {
            let requests =
                mint.requests(calls(args, callers) / WHOLE_PART + 1, ARGS_BYTES, mode)?;
            let sample = closed(&whole, callers, requests, RUN_LIMIT).await?;
            load_line(output, what, callers, &sample, &floor);
        }
        if callers == 1 {
            lone = Some((floor.clone(), claimed.clone()));
        }
        busy = Some((floor, claimed));
    }
    let (lone, busy) = lone.zip(busy).ok_or_else(|| fail("nothing was measured"))?;
    let memory = (idle, resident_kb(daemon.pid));
    for server in [daemon, echo, claim, sandbox] {
        Running::stop(server).await?;
    }
    in_process(&mint, &config, output, &(lone, busy, memory))
}

fn first(target: &Target) -> anyhow::Result<Channel> {
    let channel = target.channels.first().cloned();
    channel.ok_or_else(|| fail("no channel"))
}

fn one<T>(items: Vec<T>) -> anyhow::Result<T> {
    let item = items.into_iter().next();
    item.ok_or_else(|| fail("no request"))
}

fn calls(args: &BenchArgs, callers: usize) -> u64 {
    let share = match callers {
        1 => 20,
        8 => 4,
        _ => 1,
    };
    (args.calls / share).max(1)
}

/// Echo and claim in turn, a few times; of each the run of median processor time.
async fn rounds(
    args: &BenchArgs,
    mint: &Mint,
    pair: &Pair,
    callers: usize,
) -> anyhow::Result<(Sample, Sample)> {
    let calls = calls(args, callers);
    let fresh = |calls: u64| mint.requests(calls, ARGS_BYTES, Mode::Execute);
    for server in [&pair.echo, &pair.claim] {
        closed(server, callers, fresh((calls / 10).max(1))?, RUN_LIMIT).await?;
    }
    let (mut floors, mut claims) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let requests = fresh(calls)?;
        // The echo spends nothing, so both get the same requests.
        floors.push(closed(&pair.echo, callers, requests.clone(), RUN_LIMIT).await?);
        claims.push(closed(&pair.claim, callers, requests, RUN_LIMIT).await?);
    }
    Ok((Sample::median(floors)?, Sample::median(claims)?))
}

/// The runs of one caller and of many, and the memory before and after, in kilobytes.
type Loaded = (
    (Sample, Sample),
    (Sample, Sample),
    (Option<u64>, Option<u64>),
);

/// The goals of docs/performance.md, in hundredths, for what this program can measure.
const GOALS: [Goal; 5] = [
    Goal::new(
        "P4",
        "checks 2 to 18, 300-byte arguments, over verify_strict",
        125,
    ),
    Goal::new(
        "P5",
        "server CPU of verify + claim over the echo, 64 callers",
        500,
    ),
    Goal::new("P6", "one caller: p50 over the echo's", 500),
    Goal::new("P10", "memory idle, MB", 3_000),
    Goal::new("P10", "memory under load, MB", 6_400),
];

fn in_process(
    mint: &Mint,
    config: &connectord::config::Config,
    output: Format,
    (lone, busy, memory): &Loaded,
) -> anyhow::Result<()> {
    let catalog = connectord::catalog::Files::new(config.clone()).load(&Default::default(), 0)?;
    let card = catalog
        .cards
        .get(&(writs::TENANT.to_owned(), writs::ACTION.to_owned()));
    let card = card.map(|held| &held.card);
    let parts = local::parts(mint, config, card.ok_or_else(|| fail("no card"))?)?;
    for (what, time) in [
        ("check 1: halt folder read, nothing halted", parts.halts),
        ("verify_strict", parts.verify_strict),
        ("checks 2 to 18, 300-byte arguments", parts.full_300),
        ("checks 2 to 18, 2-KiB arguments", parts.full_2k),
    ] {
        figure(output, what, &micros(time), "us");
    }
    let absent = || fail("the memory of the server cannot be read");
    let found = [
        (parts.full_300, parts.verify_strict),
        (busy.1.cpu_ns, busy.0.cpu_ns),
        (nanos(lone.1.p50), nanos(lone.0.p50)),
        (memory.0.ok_or_else(absent)?, 1_024),
        (memory.1.ok_or_else(absent)?, 1_024),
    ];
    for (wanted, (over, under)) in GOALS.into_iter().zip(found) {
        goal(output, wanted, over, under);
    }
    Ok(())
}
