//! Durable, signed decisions of policyd beside a bare echo, and the parts of a decision in this process.
//!
//! A number counts only if the record is on disk before the token leaves, so nothing about the servers is special.

pub(crate) mod echo;
mod load;
mod local;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use prost::Message as _;
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;

use crate::fail;
use crate::machine::resident_kb;
use crate::report::{Goal, figure, goal, load_head, load_line, machine, micros, nanos};
use crate::sample::Sample;
use crate::servers::Running;
use load::{Target, ask, closed, open};
use stage::Stage;
use writ_proto::host::cli::printed::Format;

const CALLERS: [usize; 3] = [1, 8, 64];
/// Policies of the tenant under load, and of the larger ones.
const POLICIES: usize = 20;
const POLICIES_MANY: usize = 200;
const POLICIES_MOST: usize = 10_000;
const REQUEST_BYTES: usize = 600;
const RUN_LIMIT: Duration = Duration::from_secs(20);
const OPEN_CALLERS: u32 = 64;
const OPEN_TIME: Duration = Duration::from_secs(3);

/// How much to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Calls of the run with 64 callers; fewer callers make fewer.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(64..=1_000_000))]
    calls: u64,
    /// Times each run is made; the one of median processor time counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    rounds: u8,
    /// Measure a PostgreSQL store too: postgres://... of an empty database.
    #[arg(long)]
    postgres: Option<String>,
    /// Folder on whose disk the records are written.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

pub(crate) async fn run(args: &BenchArgs, output: Format) -> anyhow::Result<()> {
    let stage = Stage::new(&args.dir).await?;
    machine("policyd", stage.folder(), output)?;
    stage.pad(POLICIES)?;
    let daemon = stage.policyd(None).await?;
    let idle = resident_kb(daemon.pid);
    let target = target(&stage, &daemon).await?;
    let mut client = channel_client(&target)?;
    let answer = ask(&mut client, &target.request).await?.encode_to_vec();
    let echo = stage.echo(&answer).await?;
    let floor = Target {
        pid: echo.pid,
        channels: stage.channels(&echo).await?,
        ..target.clone()
    };
    let sizes = format!("{} and {}", target.request.encoded_len(), answer.len());
    figure(output, "request and answer", &sizes, "bytes");
    load_head(output);
    let (mut lone, mut busy) = (None, None);
    for callers in CALLERS {
        let pair = rounds(args, callers, &floor, &target).await?;
        load_line(output, "echo", callers, &pair.0, &pair.0);
        load_line(output, "policyd sqlite FULL", callers, &pair.1, &pair.0);
        if callers == 1 {
            lone = Some(pair.clone());
        }
        busy = Some(pair);
    }
    let (lone, busy) = lone.zip(busy).ok_or_else(|| fail("nothing was measured"))?;
    let paced = open(&target, OPEN_CALLERS, busy.1.rate / 2, OPEN_TIME).await?;
    load_line(output, "  open loop, half rate", 64, &paced, &busy.0);
    daemon.stop().await?;
    if let Some(url) = &args.postgres {
        let daemon = stage.policyd(Some(url)).await?;
        let target = self::target(&stage, &daemon).await?;
        for callers in CALLERS {
            let pair = rounds(args, callers, &floor, &target).await?;
            load_line(output, "policyd postgres", callers, &pair.1, &pair.0);
        }
        daemon.stop().await?;
    }
    let sizes = grown(&stage, args, output, idle).await?;
    echo.stop().await?;
    let goals = Loaded { lone, busy, paced };
    in_process(&stage, output, &goals, &sizes)
}

struct Loaded {
    lone: (Sample, Sample),
    busy: (Sample, Sample),
    paced: Sample,
}

async fn target(stage: &Stage, server: &Running) -> anyhow::Result<Target> {
    let args = r#"{"amount":{"currency":"EUR","value":49.00}}"#;
    let mut request = pb::AuthorizeRequest {
        parent: "tenants/acme".to_owned(),
        request_id: policyd::ids::new_id().to_string(),
        call: Some(pb::ActionCall {
            connection: "crm/main".to_owned(),
            action: "refund".to_owned(),
            target: Some(pb::Target {
                r#type: "order".to_owned(),
                id: "O-7".to_owned(),
            }),
            mode: pb::Mode::Execute.into(),
            precondition: None,
            arguments: Some(pb::action_call::Arguments::ArgsJson(args.to_owned())),
        }),
        reason: "the customer says it arrived broken ".to_owned(),
        ..pb::AuthorizeRequest::default()
    };
    let short = REQUEST_BYTES
        .saturating_sub(request.encoded_len())
        .saturating_sub(1);
    request.reason.push_str(&"x".repeat(short));
    Ok(Target {
        pid: server.pid,
        channels: stage.channels(server).await?,
        request,
    })
}

fn channel_client(
    target: &Target,
) -> anyhow::Result<AuthorizationServiceClient<tonic::transport::Channel>> {
    let channel = target.channels.first().ok_or_else(|| fail("no channel"))?;
    Ok(AuthorizationServiceClient::new(channel.clone()))
}

/// Echo and daemon in turn, a few times; of each the run of median processor time.
async fn rounds(
    args: &BenchArgs,
    callers: usize,
    floor: &Target,
    target: &Target,
) -> anyhow::Result<(Sample, Sample)> {
    let share = match callers {
        1 => 20,
        8 => 4,
        _ => 1,
    };
    let calls = (args.calls / share).max(1);
    let (mut floors, mut samples) = (Vec::new(), Vec::new());
    for server in [floor, target] {
        closed(server, callers, (calls / 10).max(1), RUN_LIMIT).await?;
    }
    for _ in 0..args.rounds {
        floors.push(closed(floor, callers, calls, RUN_LIMIT).await?);
        samples.push(closed(target, callers, calls, RUN_LIMIT).await?);
    }
    Ok((Sample::median(floors)?, Sample::median(samples)?))
}

/// Memory and start of the daemon as its policies grow.
#[derive(Debug, Default)]
struct Sizes {
    idle_kb: u64,
    loaded_kb: u64,
    ready_many_ms: u64,
    ready_most_ms: u64,
}

async fn grown(
    stage: &Stage,
    args: &BenchArgs,
    output: Format,
    idle: Option<u64>,
) -> anyhow::Result<Sizes> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let absent = || fail("the memory of the server cannot be read");
    let mut sizes = Sizes {
        idle_kb: idle.ok_or_else(absent)?,
        ..Sizes::default()
    };
    stage.pad(POLICIES_MANY)?;
    let daemon = stage.policyd(None).await?;
    sizes.ready_many_ms = millis(daemon.ready);
    let target = target(stage, &daemon).await?;
    let sample = closed(&target, 64, args.calls, RUN_LIMIT).await?;
    sizes.loaded_kb = resident_kb(daemon.pid).ok_or_else(absent)?;
    load_line(
        output,
        "policyd, 200 policies",
        64,
        &sample,
        &Sample::default(),
    );
    daemon.stop().await?;
    stage.pad(POLICIES_MOST)?;
    let daemon = stage.policyd(None).await?;
    sizes.ready_most_ms = millis(daemon.ready);
    daemon.stop().await?;
    Ok(sizes)
}

fn in_process(stage: &Stage, output: Format, loaded: &Loaded, sizes: &Sizes) -> anyhow::Result<()> {
    let tokens = local::tokens()?;
    for (what, time) in [
        ("sign", tokens.sign),
        ("verify_strict", tokens.verify_strict),
        ("mint: claims, CBOR, COSE_Sign1, sign", tokens.mint),
        ("full verify, 300-byte arguments", tokens.full_300),
        ("full verify, 2-KiB arguments", tokens.full_2k),
    ] {
        figure(output, what, &micros(time), "us");
    }
    let tenant = stage.folder().join("policies/acme");
    let mut decisions = Vec::new();
    for policies in [POLICIES, POLICIES_MANY, 2_000, POLICIES_MOST] {
        let time = local::decision(&tenant, policies, 0)?;
        figure(
            output,
            &format!("decision, {policies} policies in the set"),
            &micros(time),
            "us",
        );
        decisions.push(time);
    }
    let (few, many) = (
        local::decision(&tenant, POLICIES, 100)?,
        local::decision(&tenant, POLICIES, 100_000)?,
    );
    figure(output, "decision, 100 entities", &micros(few), "us");
    figure(output, "decision, 100,000 entities", &micros(many), "us");
    let parts = Parts {
        tokens,
        policies: (
            first(&decisions),
            decisions.last().copied().unwrap_or_default(),
        ),
        entities: (few, many),
    };
    goals(output, loaded, sizes, &parts);
    Ok(())
}

fn first(times: &[u64]) -> u64 {
    times.first().copied().unwrap_or_default()
}

/// Nanoseconds of what was measured in this process.
struct Parts {
    tokens: local::TokenTimes,
    /// A decision in the smallest and in the largest set.
    policies: (u64, u64),
    /// A decision beside few and beside many entities.
    entities: (u64, u64),
}

/// The goals of docs/performance.md, in hundredths, for what this program can measure.
const GOALS: [Goal; 10] = [
    Goal::new(
        "P1",
        "server CPU of a decision over the echo, 64 callers",
        550,
    ),
    Goal::new("P4", "full verify over verify_strict", 125),
    Goal::new("P6", "one caller: p50 over the echo's", 500),
    Goal::new("P6", "p99 in ms at half the maximum rate, open loop", 500),
    Goal::new("P7", "decision at 10,000 policies over 20", 130),
    Goal::new("P7", "decision at 100,000 entities over 100", 120),
    Goal::new("P10", "memory idle, MB", 3_000),
    Goal::new("P10", "memory with 200 policies under load, MB", 6_400),
    Goal::new("P10", "ready with 200 policies, ms", 15_000),
    Goal::new("P10", "ready with 10,000 policies, ms", 250_000),
];

fn goals(output: Format, loaded: &Loaded, sizes: &Sizes, parts: &Parts) {
    let (tokens, lone, busy) = (&parts.tokens, &loaded.lone, &loaded.busy);
    let found = [
        (busy.1.cpu_ns, busy.0.cpu_ns),
        (tokens.full_300, tokens.verify_strict),
        (nanos(lone.1.p50), nanos(lone.0.p50)),
        (nanos(loaded.paced.p99), 1_000_000),
        (parts.policies.1, parts.policies.0),
        (parts.entities.1, parts.entities.0),
        (sizes.idle_kb, 1_024),
        (sizes.loaded_kb, 1_024),
        (sizes.ready_many_ms, 1),
        (sizes.ready_most_ms, 1),
    ];
    for (wanted, (over, under)) in GOALS.into_iter().zip(found) {
        goal(output, wanted, over, under);
    }
}
