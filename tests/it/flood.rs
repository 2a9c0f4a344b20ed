//! Connections that nobody needs: raw sockets, and idle ones of one agent. Whoever has work gets in.

use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, World, stage};
use tokio::net::TcpStream;
use writ_proto::pb;

const RAW: usize = 1_100;
const IDLE: usize = 1_023;
const ROUNDS: usize = 30;
/// Holds raw sockets to both daemons, and opens each again that is closed.
async fn raw(ports: [u16; 2]) {
    let mut held = Vec::new();
    for number in 0..RAW {
        let port = ports[number % 2];
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            held.push(stream);
        }
    }
    std::future::pending::<()>().await;
}

/// An operator halts by the command line, and an agent of another tenant asks and executes. Returns what each
/// took.
async fn work(world: &World, stranger: &mut Actor) -> [Duration; 2] {
    let started = Instant::now();
    let cert = "certs/operator-acme-ops.pem";
    let addr = format!("https://localhost:{}", world.connectord_port);
    let base = [
        "halt",
        "on",
        "--scope",
        "tenant:acme/run:r-flood",
        "--reason",
        "flood",
    ];
    let halt = [&base[..], &["--cert", cert, "--addr", &addr]].concat();
    let halted = tokio::task::block_in_place(|| world.run("connectord", &halt));
    assert!(halted.status.success(), "{halted:?}");
    let halt = started.elapsed();

    let started = Instant::now();
    let asked = stranger
        .ask(&e2e::Wish {
            tenant: "globex".into(),
            mode: pb::Mode::DryRun,
            ..stage("D-104", "qualified")
        })
        .await;
    stranger.present(&asked).await.unwrap();
    [halt, started.elapsed()]
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_one_keep_nobody_else_out() {
    let world = World::start();
    let ports = [world.policyd_port, world.connectord_port];
    let raw = tokio::spawn(raw(ports));
    let mut idle = Vec::new();
    for number in 0..IDLE {
        // Each is a handshake of its own; what is closed again by the server stays so.
        if let Ok(channel) = world.channel("agent-acme-triage", ports[number % 2]).await {
            idle.push(channel);
        }
    }
    let mut longest = [Duration::ZERO; 2];
    for _ in 0..ROUNDS {
        // A fresh connection each time.
        let mut stranger = world.actor("agent-globex-triage").await;
        let took = work(&world, &mut stranger).await;
        longest = std::array::from_fn(|at| longest[at].max(took[at]));
    }
    assert!(longest.iter().all(|took| *took < PATIENCE), "{longest:?}");
    let [halt, call] = longest;
    println!("{ROUNDS} of {ROUNDS}: a halt took at most {halt:?}, a call {call:?}");
    raw.abort();
    drop(idle);
}

/// Lists at once of one operator: more than may wait for their turn.
const LISTS: usize = 100;
/// Halts that are set meanwhile.
const HALTS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_an_operator_take_turns_and_none_of_its_halts_waits_for_them() {
    let mut world = World::prepare(&[]);
    world.limited = true;
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let mut operator = world.operator().await;
    let mut lists = tokio::task::JoinSet::new();
    for _ in 0..LISTS {
        let mut lister = operator.clone();
        let list = pb::ListExecutionsRequest {
            parent: "tenants/acme".into(),
            page_size: 1_000,
            ..pb::ListExecutionsRequest::default()
        };
        lists.spawn(async move { lister.execute.list_executions(list).await });
    }
    // The line is full: whoever comes then is told at once, and the others wait.
    let refused = loop {
        let ended = tokio::time::timeout(PATIENCE, lists.join_next()).await;
        if let Err(status) = ended.unwrap().unwrap().unwrap() {
            break status;
        }
    };
    assert!(refused.message().starts_with("RATE_LIMITED"), "{refused:?}");
    for number in 0..HALTS {
        let request = pb::SetHaltRequest {
            scope: format!("run:r-{number}"),
            reason: "looks odd".into(),
            ..pb::SetHaltRequest::default()
        };
        operator.halt.set_halt(request).await.unwrap();
    }
    let running = lists.try_join_next();
    assert!(!lists.is_empty(), "all lists were answered: {running:?}");
}
