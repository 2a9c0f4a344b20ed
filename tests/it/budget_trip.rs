//! A limit that fires: the run or agent is halted as by the switch, people are told, and neither
//! is lost when connectord or policyd is away at that moment.

use std::time::Instant;

use e2e::{Actor, PATIENCE, World, note, program};
use sqlx::Row as _;
use writ_proto::pb;

const RUN: &str = "[[budget]]\nid = \"chain\"\nactions = [\"add_note\"]\nscope = \"run\"\n\
                   window = \"run\"\ncalls = 1\non_trip = \"halt\"\n";

fn world() -> World {
    let world = World::prepare(&[]);
    let path = world.path("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    let own = set.split("[[budget]]").next().unwrap().to_owned();
    std::fs::write(&path, own + RUN).unwrap();
    world
}

async fn ask(agent: &mut Actor, run: &str) -> String {
    let request = pb::AuthorizeRequest {
        run_id: run.into(),
        ..Actor::request(&note("D-104"))
    };
    agent.ask_for(request).await.decision.reason_code
}

/// The halt that connectord shows, once it does.
async fn halted(world: &World, scope: &str) -> pb::Halt {
    let mut operator = world.operator().await;
    let started = Instant::now();
    loop {
        let state = operator.halt.list_halts(pb::ListHaltsRequest {}).await;
        let halts = state
            .map(|state| state.into_inner().halts)
            .unwrap_or_default();
        if let Some(halt) = halts.into_iter().find(|halt| halt.scope == scope) {
            return halt;
        }
        assert!(started.elapsed() < PATIENCE, "{scope} is not halted");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Notices and open orders, from policyd's own database.
async fn stored(world: &World) -> (Vec<String>, i64) {
    let config = std::fs::read_to_string(world.path("policyd.toml")).unwrap();
    let file = config
        .split("sqlite://")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let url = format!("sqlite://{}", world.path(file).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let rows = sqlx::query("SELECT dedup_key FROM notice ORDER BY dedup_key")
        .fetch_all(&pool)
        .await;
    let keys = rows.unwrap().iter().map(|row| row.get(0)).collect();
    let open = sqlx::query_scalar("SELECT count(*) FROM budget_trip WHERE done = 0")
        .fetch_one(&pool)
        .await
        .unwrap();
    (keys, open)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_spends_its_budget_is_halted_once_and_others_go_on() {
    let mut world = world();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world.promote(&["add_note"]).await;
    let mut agent = world.agent().await;
    assert_eq!(ask(&mut agent, "r-1").await, "");
    assert_eq!(ask(&mut agent, "r-1").await, "BUDGET_EXCEEDED");
    let halt = halted(&world, "tenant:acme/run:r-1").await;
    assert!(halt.by.contains("budget"), "{halt:?}");
    for part in ["chain", "1 of 1", "add_note", "triage"] {
        assert!(halt.reason.contains(part), "{part}: {}", halt.reason);
    }
    let started = Instant::now();
    while ask(&mut agent, "r-1").await != "HALTED" {
        assert!(started.elapsed() < PATIENCE, "policyd does not hear of it");
    }
    assert_eq!(ask(&mut agent, "r-2").await, "", "another run goes on");
    let mut told = stored(&world).await.0;
    told.retain(|key| key.starts_with("budget:"));
    assert_eq!(told, ["budget:chain:triage:cap"]);
    // An operator lets it go on: the spent budget denies, and does not halt again.
    let cleared = pb::ClearHaltRequest {
        scope: "run:r-1".into(),
        reason: "looked at".into(),
    };
    let mut operator = world.operator().await;
    operator.halt.clear_halt(cleared).await.unwrap();
    let started = Instant::now();
    while ask(&mut agent, "r-1").await != "BUDGET_EXCEEDED" {
        assert!(started.elapsed() < PATIENCE, "the halt stays");
    }
    let started = Instant::now();
    while stored(&world).await.1 > 0 {
        assert!(started.elapsed() < PATIENCE, "the order stays open");
    }
    let halts = operator
        .halt
        .list_halts(pb::ListHaltsRequest {})
        .await
        .unwrap();
    assert!(halts.into_inner().halts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_that_was_ordered_while_connectord_was_away_survives_policyd_too() {
    let mut world = world();
    world.start_sandbox();
    world.start_policyd();
    let mut agent = world.agent().await;
    assert_eq!(ask(&mut agent, "r-1").await, "");
    assert_eq!(ask(&mut agent, "r-1").await, "BUDGET_EXCEEDED");
    // policyd itself takes the run as halted as soon as it is on its way.
    let started = Instant::now();
    while ask(&mut agent, "r-1").await != "HALTED" {
        assert!(started.elapsed() < PATIENCE, "policyd goes on");
    }
    assert_eq!(stored(&world).await.1, 1);
    world.policyd.take().unwrap().kill();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    halted(&world, "tenant:acme/run:r-1").await;
}
