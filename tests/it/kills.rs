//! connectord is killed again and again at no chosen moment while agents write: nothing is lost, doubled
//! or unrecorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{Actor, World, note, program, refund};

const KILLS: u64 = 60;

/// Writes one after another; answers that never come are taken as they are.
async fn writes(mut agent: Actor, over: Arc<AtomicBool>, number: u32) {
    while !over.load(Ordering::Acquire) {
        // What each leaves can be found again, whatever the others write meanwhile.
        let wish = if number == 0 {
            note("D-104")
        } else {
            refund("O-8", "0.01")
        };
        let request = Actor::request(&wish);
        let call = request.call.clone();
        let Ok(answer) = agent.authorize.authorize(request).await else {
            continue;
        };
        let decision = answer.into_inner().decision.unwrap();
        if decision.token.is_empty() {
            continue;
        }
        let asked = e2e::Asked {
            decision,
            call: call.unwrap(),
            tenant: "acme".into(),
        };
        if agent.present(&asked).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_kills_at_no_chosen_moment_lose_double_and_hide_nothing() {
    let mut world = World::prepare(&[]);
    // Budgets and ceilings of the samples end long before sixty kills do.
    let set = world.path("policies/acme/set.toml");
    let text = std::fs::read_to_string(&set).unwrap();
    let kept = text.split("[[budget]]").next().unwrap();
    std::fs::write(&set, kept).unwrap();
    let file = world.path("systems/sandbox.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let soon = text.replace("settle_after = \"15s\"", "settle_after = \"1s\"");
    assert_ne!(soon, text);
    std::fs::write(&file, soon).unwrap();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world.promote(&["add_note", "refund"]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut agents = Vec::new();
    for number in 0..3 {
        let agent = world.agent().await;
        agents.push(tokio::spawn(writes(agent, Arc::clone(&over), number)));
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..KILLS {
        // xorshift: any moment within a third of a second.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        tokio::time::sleep(Duration::from_millis(seed % 333)).await;
        world.kill_connectord();
        world.start_connectord(&program("connectord"), &[]);
    }
    over.store(true, Ordering::Release);
    for agent in agents {
        agent.await.unwrap();
    }
    let (executions, _) = world.settle().await;
    let wrote = executions.iter().filter(|one| one.wrote).count();
    assert_eq!(wrote, world.effects().await.len());
    assert!(wrote > 60, "{wrote}");
    world.check_everything().await;
}
