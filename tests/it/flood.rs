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

/// Calls at once of one operator: more than may wait for their turn.
const AT_ONCE: usize = 100;
/// Halts that are set meanwhile.
const HALTS: usize = 20;

type Calls = tokio::task::JoinSet<Result<(), tonic::Status>>;

async fn list(mut operator: e2e::Actor) -> Result<(), tonic::Status> {
    let list = pb::ListExecutionsRequest {
        parent: "tenants/acme".into(),
        page_size: 1_000,
        ..pb::ListExecutionsRequest::default()
    };
    operator.execute.list_executions(list).await.map(drop)
}

async fn undo(mut operator: e2e::Actor) -> Result<(), tonic::Status> {
    let nothing = pb::BatchUndoRequest {
        parent: "tenants/acme".into(),
        run_id: "nothing".into(),
        dry_run: true,
        ..pb::BatchUndoRequest::default()
    };
    operator.execute.batch_undo(nothing).await.map(drop)
}

/// Of what is not there, which is found out after its turn.
async fn undo_one(mut actor: e2e::Actor, tenant: &str, dry_run: bool) -> Result<(), tonic::Status> {
    let nothing = pb::UndoRequest {
        name: format!("tenants/{tenant}/executions/019b0000-0000-7000-8000-000000000000"),
        reason: "test".into(),
        dry_run,
        ..pb::UndoRequest::default()
    };
    match actor.execute.undo(nothing).await {
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        other => other.map(drop),
    }
}

async fn halt(mut operator: e2e::Actor, number: usize) -> Result<(), tonic::Status> {
    let request = pb::SetHaltRequest {
        scope: format!("run:r-{number}"),
        reason: "looks odd".into(),
        ..pb::SetHaltRequest::default()
    };
    operator.halt.set_halt(request).await.map(drop)
}

/// So many calls at once: the line is full, and whoever comes then is told at once, while the others wait.
async fn line<F>(call: impl Fn(usize) -> F, what: &str) -> Calls
where
    F: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    line_of(AT_ONCE, call, what).await
}

async fn line_of<F>(count: usize, call: impl Fn(usize) -> F, what: &str) -> Calls
where
    F: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    let mut calls = Calls::new();
    for number in 0..count {
        calls.spawn(call(number));
    }
    let refused = loop {
        let ended = tokio::time::timeout(PATIENCE, calls.join_next()).await;
        if let Err(status) = ended.unwrap().unwrap().unwrap() {
            break status;
        }
    };
    let told = refused.message();
    assert!(
        told.starts_with("RATE_LIMITED") && told.contains(what),
        "{refused:?}"
    );
    calls
}

async fn limited() -> World {
    let mut world = World::prepare(&[]);
    world.limited = true;
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn undos_of_many_and_halts_of_an_operator_take_turns_too() {
    let world = limited().await;
    let operator = world.operator().await;
    let other = world.actor("operator-globex-ops").await;
    drop(line(|_| undo(operator.clone()), "more undos than").await);
    drop(line(|number| halt(other.clone(), number), "more halts").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_undos_of_an_agent_and_previews_take_turns_and_an_undo_of_an_operator_does_not() {
    let world = limited().await;
    let agent = world.agent().await;
    // Most of what they cost is free for an agent.
    let call = |_| undo_one(agent.clone(), "acme", false);
    let _undos = line_of(3 * AT_ONCE, call, "more undos than").await;
    let operator = world.actor("operator-globex-ops").await;
    let _previews = line(|_| undo_one(operator.clone(), "globex", true), "more lists").await;
    undo_one(operator, "globex", false).await.unwrap();
}

/// Halts that are paid for before the next has its turn.
const OWED: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_that_is_set_while_the_end_of_an_earlier_one_waits_for_its_turn_stays() {
    let world = limited().await;
    let mut operator = world.operator().await;
    halt(operator.clone(), 0).await.unwrap();
    let mut others = Calls::new();
    for number in 1..OWED {
        others.spawn(halt(operator.clone(), number));
    }
    others.join_next().await.unwrap().unwrap().unwrap();
    let mut ending = operator.clone();
    let ends = pb::ClearHaltRequest {
        scope: "run:r-0".into(),
        reason: "looked at".into(),
    };
    let ends = tokio::spawn(async move { ending.halt.clear_halt(ends).await });
    // By the answers to these it stands in the line.
    for _ in 0..ROUNDS {
        let state = pb::GetHaltStateRequest::default();
        operator.halt.get_halt_state(state).await.unwrap();
    }
    assert!(!ends.is_finished());
    let anew = [
        "halt",
        "on",
        "--scope",
        "tenant:acme/run:r-0",
        "--reason",
        "again",
    ];
    let anew = tokio::task::block_in_place(|| world.run("connectord", &anew));
    assert!(anew.status.success(), "{anew:?}");
    let ended = ends.await.unwrap().unwrap().into_inner();
    assert!(!ended.cleared, "{ended:?}");
    let state = pb::GetHaltStateRequest::default();
    let state = operator
        .halt
        .get_halt_state(state)
        .await
        .unwrap()
        .into_inner();
    let stands = |halt: &pb::Halt| halt.scope.ends_with("run:r-0") && halt.reason == "again";
    assert!(state.halts.iter().any(stands), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_an_operator_take_turns_and_nothing_else_waits_for_them() {
    let world = limited().await;
    let mut operator = world.operator().await;
    let mut lists = line(|_| list(operator.clone()), "more lists").await;
    for number in 0..HALTS {
        halt(operator.clone(), number).await.unwrap();
    }
    undo(operator.clone()).await.unwrap();
    let cards = pb::ListActionsRequest {
        parent: "tenants/acme".into(),
    };
    operator.execute.list_actions(cards).await.unwrap();
    while lists.try_join_next().is_some() {}
    assert!(
        !lists.is_empty(),
        "all lists were answered before the halts"
    );
}
