//! A system that hangs, with many executions in doubt: nobody else notices, and every doubt is settled
//! when it is back.

use std::time::{Duration, Instant};

use e2e::crm::{Crm, Fails};
use e2e::{PATIENCE, World, program, stage};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

const DOUBTS: usize = 300;
/// How long the system hangs; `WRIT_TEST_HANG_SECONDS` makes it longer.
const HANGS_SECONDS: u64 = 10;

#[expect(
    clippy::disallowed_methods,
    reason = "a longer run is asked for by hand"
)]
fn hangs() -> Duration {
    let longer = std::env::var("WRIT_TEST_HANG_SECONDS").ok();
    Duration::from_secs(
        longer
            .and_then(|text| text.parse().ok())
            .unwrap_or(HANGS_SECONDS),
    )
}

async fn open(world: &World, state: State) -> usize {
    let mut operator = world.operator().await;
    let request = pb::ListExecutionsRequest {
        parent: "tenants/acme".into(),
        page_size: 1_000,
        ..pb::ListExecutionsRequest::default()
    };
    let found = operator.execute.list_executions(request).await.unwrap();
    let found = found.into_inner().executions;
    let stands = |one: &&pb::Execution| one.state == i32::from(state);
    found.iter().filter(stands).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_hangs_with_three_hundred_doubts_delays_nobody_else() {
    let (hung, other) = (Crm::start().await, Crm::start().await);
    let mut world = World::prepare(&[]);
    world.sandbox_port = other.port;
    let file = world.path("systems/sandbox.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // None is settled before all are there, however slow the machine is.
    let late = text.replace("settle_after = \"15s\"", "settle_after = \"40s\"");
    std::fs::write(&file, late.replace("timeout = \"8s\"", "timeout = \"2s\"")).unwrap();
    let card = world.path("policies/acme/actions/add_note.toml");
    let text = std::fs::read_to_string(&card).unwrap();
    let text = text
        .replace("crm/main", "crm/hung")
        .replace("records_per_day = ", "records_per_day = 9");
    std::fs::write(&card, text).unwrap();
    let add = ["creds", "add", "crm/hung", "--file", "keys/sandbox.secret"];
    assert!(world.run("connectord", &add).status.success());
    let base = format!("http://127.0.0.1:{}", hung.port);
    world.connections.push(("crm/hung", "sandbox", base));
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world.promote(&["add_note", "set_stage"]).await;

    hung.fails(Fails::Instead(502, "gone", "text/plain"));
    let mut agent = world.agent().await;
    let note = e2e::Wish {
        connection: "crm/hung".into(),
        ..e2e::note("D-104")
    };
    for _ in 0..DOUBTS {
        let asked = agent.ask(&note).await;
        let doubt = agent.present(&asked).await.unwrap();
        assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
    }
    hung.fails(Fails::HangsReading(hangs() * 2));
    world.kill_connectord();
    // Now each is due: connectord asks the system that hangs at once.
    super::crash::a_minute_later(&world).await;
    let started = Instant::now();
    world.start_connectord(&program("connectord"), &[]);
    let start = started.elapsed();
    assert!(start < PATIENCE, "it waits for no system");
    println!("start with {DOUBTS} doubts of a system that hangs: {start:?}");
    let page = reqwest::get(format!("http://{}/halt", world.http("connectord"))).await;
    assert!(page.is_ok(), "{page:?}");
    let until = Instant::now() + hangs();
    let mut moved = 0;
    for to in ["qualified", "proposal"].iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let mut agent = world.agent().await;
        let asked = agent.ask(&stage("D-104", to)).await;
        let done = agent.present(&asked).await.unwrap();
        assert!(done.wrote, "{done:?}");
        moved += 1;
        // Its card allows some hundreds a day.
        tokio::time::sleep((hangs() / 100).max(Duration::from_millis(100))).await;
    }
    assert!(moved > 20, "the other system is as it was: {moved}");
    assert!(hung.held().hung > 0, "it was asked");
    assert_eq!(open(&world, State::InDoubt).await, DOUBTS);

    hung.fails(Fails::No);
    let started = Instant::now();
    while open(&world, State::ReconciledNotApplied).await < DOUBTS {
        assert!(started.elapsed() < PATIENCE * 4, "every doubt is settled");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(hung.count("notes"), 0);
}
