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
