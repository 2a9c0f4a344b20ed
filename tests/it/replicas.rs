//! Many processes over one PostgreSQL, and a PostgreSQL that goes away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::postgres::{Cluster, server};
use e2e::{Actor, World, code, free_port, note, refund, stage};
use writ_proto::pb;

#[tokio::test(flavor = "multi_thread")]
async fn one_token_a_thousand_times_at_two_processes_has_one_effect() {
    const CALLERS: usize = 32;
    const EACH: usize = 32;
    let Some(server) = server() else { return };
    let world = World::start_on(&server).await;
    let port = free_port();
    let _replica = world.replica(port);
    world.promote(&["refund"]).await;
    let mut agents = [
        world.agent().await,
        world.actor_at("agent-acme-triage", port).await,
    ];
    let asked = agents[0].ask(&refund("O-7", "49.00")).await;
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let (mut agent, asked) = (agents[caller % 2].clone(), asked.clone());
        tasks.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..EACH {
                answers.push(agent.present(&asked).await.map(|_| ()));
            }
            answers
        }));
    }
    let (mut done, mut refused) = (0, 0);
    for task in tasks {
        for answer in task.await.unwrap() {
            match answer {
                Ok(()) => done += 1,
                Err(code) => {
                    assert_eq!(code, "TOKEN_REPLAYED");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((done, refused), (1, CALLERS * EACH - 1));
    assert_eq!(world.effects().await.len(), 1);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_an_operator_set_and_find_each_others_executions() {
    let Some(server) = server() else { return };
    let world = World::start_on(&server).await;
    let port = free_port();
    let _replica = world.replica(port);
    world.promote(&["set_stage"]).await;
    let mut there = world.actor_at("agent-acme-triage", port).await;
    let asked = there.ask(&stage("D-104", "qualified")).await;
    let execution = there.present(&asked).await.unwrap();
    assert_eq!(execution.state, i32::from(pb::ExecutionState::Done));
    let mut here = world.operator().await;
    assert!(here.undo(&execution).await.undone);
    assert_eq!(world.effects().await.len(), 2);
    world.check_everything().await;
}

/// What one caller was told.
#[derive(Default)]
struct Told {
    allowed: BTreeSet<String>,
    codes: BTreeSet<String>,
    slowest: Duration,
}

async fn caller(mut agent: Actor, over: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    while !over.load(Ordering::Relaxed) {
        let request = Actor::request(&note("D-104"));
        let call = request.call.clone().unwrap();
        let started = Instant::now();
        let answer = agent.authorize.authorize(request).await;
        told.slowest = told.slowest.max(started.elapsed());
        match answer {
            Ok(answer) => {
                let decision = answer.into_inner().decision.unwrap();
                told.allowed.insert(decision.name.clone());
                let asked = e2e::Asked {
                    decision,
                    call,
                    tenant: "acme".into(),
                };
                let started = Instant::now();
                if let Err(code) = agent.present(&asked).await {
                    told.codes.insert(code);
                }
                told.slowest = told.slowest.max(started.elapsed());
            }
            Err(status) => {
                told.codes.insert(code(&status));
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_under_load_stops_everything_and_service_returns_by_itself() {
    let cluster = Cluster::start();
    let world = World::start_on(&cluster.url()).await;
    world.promote(&["add_note"]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        tasks.push(tokio::spawn(caller(world.agent().await, Arc::clone(&over))));
    }
    let started = Instant::now();
    while world.effects().await.len() < 20 {
        let log = || world.connectord.as_ref().unwrap().logged();
        assert!(started.elapsed() < e2e::PATIENCE, "no load: {}", log());
    }
    cluster.cut();
    let mut agent = world.agent().await;
    let refused = agent
        .authorize
        .authorize(Actor::request(&note("D-104")))
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "STORE_UNAVAILABLE");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    cluster.again();
    let started = Instant::now();
    loop {
        let request = Actor::request(&note("D-104"));
        if agent.authorize.authorize(request).await.is_ok() {
            break;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "service did not return");
    }
    over.store(true, Ordering::Relaxed);
    let mut allowed = BTreeSet::new();
    for task in tasks {
        let told = task.await.unwrap();
        assert!(told.slowest < Duration::from_secs(8), "{:?}", told.slowest);
        let known = [
            "STORE_UNAVAILABLE",
            "BUDGET_EXCEEDED",
            "OUTCOME_UNKNOWN",
            "RATE_LIMITED",
        ];
        for code in &told.codes {
            assert!(known.contains(&code.as_str()), "{code}");
        }
        allowed.extend(told.allowed);
    }
    let records = world.records().await;
    for name in allowed {
        let id = name.rsplit('/').next().unwrap();
        let found = records.iter().any(|record| record["record_id"] == id);
        assert!(found, "no record of {name}");
    }
    without_fsync(&world, &cluster).await;
}

/// A server that answers before it has written keeps no records: its database is not opened.
async fn without_fsync(world: &World, cluster: &Cluster) {
    let (database, _) = world.stores.as_ref().unwrap();
    let own = format!("store.url={database}");
    let opens = || {
        let accept = ["store", "accept", "--reason", "test", "--set", &own];
        let output = world.run("policyd", &accept);
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (opened, said) = opens();
    assert!(opened, "{said}");
    let url = format!("{}/postgres", cluster.url());
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    for sql in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
        sqlx::query(sql).execute(&pool).await.unwrap();
    }
    let started = Instant::now();
    let fsync = async || -> String {
        let shown = sqlx::query_scalar("SHOW fsync").fetch_one(&pool);
        shown.await.unwrap()
    };
    while fsync().await != "off" {
        assert!(started.elapsed() < e2e::PATIENCE, "fsync stays on");
    }
    let (opened, said) = opens();
    assert!(!opened && said.contains("STORE_UNAVAILABLE"), "{said}");
}
