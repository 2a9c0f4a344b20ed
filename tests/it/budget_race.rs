//! A hundred thousand holds of one against a cap of a thousand: exactly a thousand are allowed,
//! by one process over SQLite and by two over PostgreSQL.

use std::collections::BTreeMap;

use e2e::postgres::server;
use e2e::{Actor, Process, World, free_port, note};
use writ_proto::limits::BATCH_ITEMS_MAX;
use writ_proto::pb;

const HOLDS: usize = 100_000;
const CAP: usize = 1_000;
const CALLERS: usize = 12;
const BUDGET: &str = "[[budget]]\nid = \"race\"\nactions = [\"add_note\"]\nscope = \"tenant\"\n\
                      window = \"day\"\nrecords = 1000\n";

/// Only this budget counts.
fn with_budget(world: &World) {
    let path = world.path("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    let own = set.split("[[budget]]").next().unwrap();
    std::fs::write(&path, format!("{own}{BUDGET}")).unwrap();
}

/// Answers by verdict and reason; what only asks to come back later is asked again, under the
/// same ids, so that every request is decided once.
async fn ask(mut agent: Actor, batches: usize) -> BTreeMap<(i32, String), usize> {
    let mut told = BTreeMap::new();
    for _ in 0..batches {
        let fresh = std::iter::repeat_with(|| Actor::request(&note("D-104")));
        let mut requests: Vec<_> = fresh.take(BATCH_ITEMS_MAX).collect();
        while !requests.is_empty() {
            let message = pb::BatchAuthorizeRequest {
                parent: "tenants/acme".into(),
                requests: requests.clone(),
            };
            let answer = agent.authorize.batch_authorize(message).await;
            let Ok(answer) = answer else { continue };
            let mut again = Vec::new();
            for (request, item) in requests.into_iter().zip(answer.into_inner().items) {
                use pb::batch_authorize_item::Outcome;
                match item.outcome.unwrap() {
                    Outcome::Decision(decision) => {
                        let key = (decision.verdict, decision.reason_code);
                        *told.entry(key).or_default() += 1;
                    }
                    // Of alike denials the first hundred of a minute are decisions, the rest is counted.
                    Outcome::Error(error) if error.message.contains("only counted") => {
                        let key = (i32::from(pb::Verdict::Deny), error.reason_code);
                        *told.entry(key).or_default() += 1;
                    }
                    Outcome::Error(_) => again.push(request),
                }
            }
            requests = again;
        }
    }
    told
}

/// Many callers over connections of their own, at every process.
async fn race(world: &World, ports: &[u16]) {
    let each = HOLDS / BATCH_ITEMS_MAX / CALLERS + 1;
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let port = ports[caller % ports.len()];
        let agent = world.actor_of("agent-acme-triage", port).await;
        tasks.push(tokio::spawn(ask(agent, each)));
    }
    let mut told: BTreeMap<(i32, String), usize> = BTreeMap::new();
    for task in tasks {
        for (key, count) in task.await.unwrap() {
            *told.entry(key).or_default() += count;
        }
    }
    let count = |verdict: pb::Verdict, reason: &str| {
        let key = (i32::from(verdict), reason.to_owned());
        told.get(&key).copied().unwrap_or_default()
    };
    assert_eq!(count(pb::Verdict::Allow, ""), CAP, "{told:?}");
    let recorded = count(pb::Verdict::Deny, "BUDGET_EXCEEDED");
    assert!(recorded >= 100, "{told:?}");
    let denied = recorded + count(pb::Verdict::Deny, "RATE_LIMITED");
    assert_eq!(CAP + denied, each * BATCH_ITEMS_MAX * CALLERS, "{told:?}");
    assert!(CAP + denied >= HOLDS);
    let figures = world.budget("race", "tenant").await.figures.unwrap();
    let found = [
        figures.limit,
        figures.held,
        figures.spent,
        figures.remaining,
    ];
    assert_eq!(found, ["1000", "1000", "0", "0"]);
}

fn started(mut world: World) -> World {
    with_budget(&world);
    world.start_policyd();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_holds_reach_a_cap_of_a_thousand_exactly_on_sqlite() {
    let world = started(World::prepare(&[]));
    race(&world, &[world.policyd_port]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_over_one_postgresql_reach_the_cap_exactly_together() {
    let Some(server) = server() else { return };
    let mut world = World::prepare(&[]);
    let url = e2e::postgres::fresh_database(&server).await;
    world.stores = Some((url, String::new()));
    let world = started(world);
    let port = free_port();
    let _second: Process = world.policyd_replica(port);
    race(&world, &[world.policyd_port, port]).await;
}
