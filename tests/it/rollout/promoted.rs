//! What was promoted binds: cards and system files that change under a live action.

use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, Wish, World, stage};
use writ_proto::pb;

use super::{present, shift};

/// Changes a file of a world.
pub(crate) fn change(world: &World, file: &str, from: &str, to: &str) {
    let path = world.path(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} holds {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// What a call comes to once both daemons have read the changed files.
async fn after_change(agent: &mut Actor, wish: &Wish) -> String {
    let started = Instant::now();
    loop {
        let asked = agent.ask(wish).await;
        let refused = if asked.decision.token.is_empty() {
            asked.decision.reason_code
        } else {
            match agent.present(&asked).await {
                Ok(done) if done.wrote => return "DONE".to_owned(),
                Ok(done) => done.reason_code,
                Err(code) => code,
            }
        };
        let late = ["CARD_MISMATCH", "ARGS_SCHEMA", "INVALID_ARGUMENTS"];
        if !late.contains(&refused.as_str()) {
            return refused;
        }
        assert!(started.elapsed() < PATIENCE, "{refused}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const CARD: &str = "policies/acme/actions/set_stage.toml";

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_newer_card_allows_is_a_dry_run_until_it_is_promoted_in_view() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    change(&world, CARD, "\"lost\"]", "\"lost\", \"paused\"]");
    let paused = stage("D-104", "paused");
    assert_eq!(after_change(&mut agent, &paused).await, "DRY_RUN_ONLY");
    let known = stage("D-104", "qualified");
    assert_eq!(after_change(&mut agent, &known).await, "DONE", "goes on");

    let blind = shift(&mut operator, |_| {}).await;
    assert_eq!(blind.unwrap_err(), "CARD_CHANGED");
    let other = shift(&mut operator, |request| request.card_digest = vec![9; 32]).await;
    assert_eq!(other.unwrap_err(), "CARD_CHANGED");
    let seen = action(&mut operator).await;
    assert!(!seen.pending.is_empty(), "{seen:?}");
    shift(&mut operator, |request| {
        request.card_digest = seen.card_digest.clone()
    })
    .await
    .unwrap();
    assert_eq!(after_change(&mut agent, &paused).await, "DONE");

    // Less holds at once, also for a writ that was signed while the wider card was in force.
    let early = agent.ask(&stage("D-104", "lost")).await;
    change(&world, CARD, "\"lost\", ", "");
    changed(&mut operator, &seen.card_digest).await;
    let refused = agent.present(&early).await;
    assert_eq!(refused.unwrap_err(), "DRY_RUN_ONLY");
}

pub(crate) async fn action(operator: &mut Actor) -> pb::Action {
    action_of(operator, "set_stage").await
}

async fn action_of(operator: &mut Actor, action: &str) -> pb::Action {
    let request = pb::GetActionRequest {
        name: format!("tenants/acme/actions/{action}"),
    };
    let seen = operator.execute.get_action(request).await.unwrap();
    seen.into_inner().action.unwrap()
}

/// Waits until connectord has read a changed card.
pub(crate) async fn changed(operator: &mut Actor, before: &[u8]) {
    let started = Instant::now();
    while action(operator).await.card_digest == before {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until connectord has read a change that is not promoted.
pub(crate) async fn pending(operator: &mut Actor, action: &str, what: &str) {
    let started = Instant::now();
    loop {
        let seen = action_of(operator, action).await.pending;
        if seen.iter().any(|line| line.contains(what)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_ceilings_and_a_system_file_hold_as_they_were_promoted() {
    let world = World::prepare(&[]);
    let states = "when = { stage = [\"new\", \"qualified\", \"proposal\"] }";
    change(&world, CARD, states, "when = { stage = [\"new\"] }");
    let caps = "records_per_day = 500";
    let few = "records_per_day = 3\nrecords_per_customer_per_day = 1";
    change(&world, CARD, caps, few);
    let target = "target = \"deal\"";
    let owned = format!("{target}\ncustomer = \"customer\"");
    change(&world, CARD, target, &owned);
    let world = crate::halt::up(world);
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    change(&world, CARD, "when = { stage = [\"new\"] }", states);
    change(&world, CARD, few, caps);
    change(&world, CARD, "\"lost\"]", "\"lost\", \"paused\"]");
    pending(&mut operator, "set_stage", "when").await;
    // Once policyd signs this, it has read all of it.
    let paused = stage("D-104", "paused");
    assert_eq!(after_change(&mut agent, &paused).await, "DRY_RUN_ONLY");
    let first = stage("D-104", "qualified");
    assert_eq!(after_change(&mut agent, &first).await, "DONE");
    let second = stage("D-104", "proposal");
    assert_eq!(after_change(&mut agent, &second).await, "STATE_NOT_ALLOWED");
    // One record a customer was promoted, and three in all, counting the one that was refused.
    world.person_edits("deals/D-104", "stage=new");
    for wish in [&first, &stage("D-88", "qualified")] {
        assert_eq!(after_change(&mut agent, wish).await, "BUDGET_EXCEEDED");
    }
    world.person_edits("deals/D-104", "stage=qualified");
    change(
        &world,
        "systems/sandbox.toml",
        "expect = \"/id\"",
        "expect = \"/stage\"",
    );
    pending(&mut operator, "set_stage", "system file").await;
    assert_eq!(after_change(&mut agent, &second).await, "DRY_RUN_ONLY");
    // By what nobody promoted an agent changes nothing, an undo neither; an operator sees what he does.
    let request = pb::ListExecutionsRequest {
        parent: "tenants/acme".into(),
        action: "set_stage".into(),
        mode: pb::Mode::Execute.into(),
        page_size: 50,
        ..pb::ListExecutionsRequest::default()
    };
    let listed = operator.execute.list_executions(request).await.unwrap();
    let mut all = listed.into_inner().executions.into_iter();
    let done = all.find(|one| one.wrote).unwrap();
    let refused = agent.undo(&done).await;
    assert_eq!(refused.reason_code, "UNDO_IMPOSSIBLE", "{refused:?}");
    assert!(
        refused.message.contains("nobody promoted that"),
        "{refused:?}"
    );
    assert!(operator.undo(&done).await.undone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_goes_no_further_than_its_limit_and_promotes_nothing_by_itself() {
    let world = World::prepare(&[]);
    change(
        &world,
        CARD,
        "rollout_max = \"live\"",
        "rollout_max = \"dry_run\"",
    );
    let world = crate::halt::up(world);
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let over = shift(&mut operator, |request| request.accept_unseen = true).await;
    assert_eq!(over.unwrap_err(), "DRY_RUN_ONLY");

    let mut dry = stage("D-104", "qualified");
    dry.mode = pb::Mode::DryRun;
    present(&mut agent, &dry).await.unwrap();
    // An action that was used is moved by people alone.
    let before = action(&mut operator).await.card_digest;
    let path = world.path(CARD);
    let card = std::fs::read_to_string(&path).unwrap();
    let card = card.replace("rollout_max = \"dry_run\"", "rollout_max = \"live\"");
    let card = card.replace("rollout = \"dry_run\"", "rollout = \"live\"");
    std::fs::write(&path, card).unwrap();
    changed(&mut operator, &before).await;
    let live = stage("D-104", "qualified");
    assert_eq!(after_change(&mut agent, &live).await, "DRY_RUN_ONLY");
    shift(&mut operator, |_| {}).await.unwrap();
    // policyd takes the changed card a moment later; until then its writs are of the old one.
    let started = Instant::now();
    while after_change(&mut agent, &live).await != "DONE" {
        assert!(started.elapsed() < PATIENCE);
    }
    let lowered = stage("D-104", "proposal");
    let (early, before) = (
        agent.ask(&lowered).await,
        action(&mut operator).await.card_digest,
    );
    let card = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, card.replace("\"live\"", "\"dry_run\"")).unwrap();
    changed(&mut operator, &before).await;
    let refused = agent.present(&early).await;
    assert_eq!(refused.unwrap_err(), "DRY_RUN_ONLY");
    let started = Instant::now();
    while after_change(&mut agent, &lowered).await != "DRY_RUN_ONLY" {
        assert!(started.elapsed() < PATIENCE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_added_at_nine_without_a_restart_and_without_one_refusal() {
    let world = World::prepare(&[]);
    change(
        &world,
        CARD,
        "records_per_day = 500",
        "records_per_day = 50000",
    );
    let set = world.path("policies/acme/set.toml");
    let text = std::fs::read_to_string(&set).unwrap();
    std::fs::write(&set, text.split("[[budget]]").next().unwrap()).unwrap();
    let world = crate::halt::up(world);
    world.promote(&["set_stage"]).await;
    let mut operator = world.operator().await;
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (mut agent, ended) = (world.agent().await, std::sync::Arc::clone(&over));
    // As many writes as one agent makes one after another, which is more than fifty a second.
    let writes = tokio::spawn(async move {
        let mut written = 0_u32;
        for stages in ["qualified", "proposal"].iter().cycle() {
            if ended.load(std::sync::atomic::Ordering::Acquire) {
                return written;
            }
            let asked = agent.ask(&stage("D-104", stages)).await;
            assert!(!asked.decision.token.is_empty(), "{:?}", asked.decision);
            let done = agent.present(&asked).await;
            let done = done.unwrap_or_else(|refused| panic!("after {written}: {refused}"));
            assert!(done.wrote, "after {written}: {done:?}");
            written += 1;
        }
        written
    });
    let before = action(&mut operator).await.card_digest;
    change(&world, CARD, "\"lost\"]", "\"lost\", \"paused\"]");
    changed(&mut operator, &before).await;
    let mut other = world.agent().await;
    let paused = stage("D-105", "paused");
    assert_eq!(after_change(&mut other, &paused).await, "DRY_RUN_ONLY");
    let seen = action(&mut operator).await;
    assert!(
        seen.pending.iter().any(|line| line.contains("paused")),
        "{seen:?}"
    );
    shift(&mut operator, |request| {
        request.card_digest = seen.card_digest
    })
    .await
    .unwrap();
    // D-105 is locked, which the CRM says itself: it came as far as the CRM.
    assert_eq!(after_change(&mut other, &paused).await, "SYSTEM_REFUSED");
    tokio::time::sleep(Duration::from_millis(500)).await;
    over.store(true, std::sync::atomic::Ordering::Release);
    assert!(writes.await.unwrap() > 50);
}
