//! One tenant misbehaves in every way at once; its neighbour is answered, and none of its calls is
//! refused. What it costs the neighbour is printed: `cargo test --release -p e2e neighbours:: -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{Actor, World, note, refund, stage};
use writ_proto::pb;

/// Calls of the quiet tenant in each phase, and the pause between two of them.
const CALLS: usize = 300;
const PAUSE: Duration = Duration::from_millis(10);
/// One dry run for so many decisions.
const DRY_RUN_EACH: usize = 3;
const BATCHES: usize = 42;
const BATCH: usize = 100;

fn quiet_wish() -> e2e::Wish {
    e2e::Wish {
        tenant: "globex".into(),
        mode: pb::Mode::DryRun,
        ..stage("D-104", "qualified")
    }
}

/// How long each decision and each dry run of it took.
async fn measured(quiet: &mut Actor) -> (Vec<Duration>, Vec<Duration>) {
    let (mut asking, mut trying) = (Vec::new(), Vec::new());
    for call in 0..CALLS {
        let began = Instant::now();
        let asked = quiet.ask(&quiet_wish()).await;
        asking.push(began.elapsed());
        assert_eq!(
            asked.decision.reason_code, "",
            "the quiet tenant is refused"
        );
        // Dry runs count against the ceiling of their card: not every one is made.
        if call % DRY_RUN_EACH == 0 {
            let began = Instant::now();
            quiet.present(&asked).await.unwrap();
            trying.push(began.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    (asking, trying)
}

fn p99(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1_000.0
}

/// Everything that an agent of acme can send to policyd and connectord, again and again.
async fn noise(mut agent: Actor, kind: usize, over: Arc<AtomicBool>) -> u64 {
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        sent += 1;
        match kind % 6 {
            // Batches as large as they may be.
            0..=2 => {
                let requests = (0..BATCH).map(|_| Actor::request(&note("D-104"))).collect();
                let batch = pb::BatchAuthorizeRequest {
                    parent: "tenants/acme".into(),
                    requests,
                };
                agent.authorize.batch_authorize(batch).await.ok();
            }
            // Requests that cannot be read.
            3 => {
                let mut request = Actor::request(&note("D-104"));
                request.request_id = "no id".into();
                agent.authorize.authorize(request).await.ok();
            }
            // Denials, which make incidents.
            4 => {
                let asked = agent
                    .authorize
                    .authorize(Actor::request(&refund("O-7", "120.01")));
                asked.await.ok();
            }
            // Tokens that are none.
            _ => {
                let asked = e2e::Asked {
                    decision: pb::Decision {
                        token: vec![0xd2; 500],
                        ..pb::Decision::default()
                    },
                    call: Actor::request(&note("D-104")).call.unwrap(),
                    tenant: "acme".into(),
                };
                agent.present(&asked).await.ok();
            }
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_tenant_refuses_nothing_to_its_neighbour() {
    let world = World::start();
    let mut quiet = world.actor("agent-globex-triage").await;
    let (mut asking, mut trying) = measured(&mut quiet).await;
    let alone = (p99(&mut asking), p99(&mut trying));
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for kind in 0..BATCHES {
        let agent = world.agent().await;
        tasks.push(tokio::spawn(noise(agent, kind, Arc::clone(&over))));
    }
    let broken = world.path("policies/acme/broken.cedar");
    std::fs::write(broken, "permit (principal, action").unwrap();
    let (mut asking, mut trying) = measured(&mut quiet).await;
    over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for task in tasks {
        sent += task.await.unwrap();
    }
    let beside = (p99(&mut asking), p99(&mut trying));
    println!(
        "p99 of a decision: alone {:.1} ms, beside {:.1} ms, {:.1} times; of a dry run: alone {:.1} ms, beside {:.1} ms, \
         {:.1} times; the neighbour sent {sent} calls",
        alone.0,
        beside.0,
        beside.0 / alone.0,
        alone.1,
        beside.1,
        beside.1 / alone.1
    );
}
