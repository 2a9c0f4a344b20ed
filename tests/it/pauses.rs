//! Each check that stands right before the one write: the process stands still at a named point, the
//! world changes meanwhile, and nothing may be written any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use e2e::{Actor, World, failpoint_connectord, stage};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::halt::set;
use super::rollout::promoted::{action, change, changed};

/// A world whose connectord stands still at a point, with an action that is live.
async fn pausing(mut world: World, pause: &str) -> World {
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&failpoint_connectord(), &[("CONNECTORD_PAUSE_AT", pause)]);
    world.promote(&["set_stage"]).await;
    world
}

/// How often connectord has logged a line.
fn logged(world: &World, line: &str) -> usize {
    let log = world.connectord.as_ref().unwrap().logged();
    log.matches(line).count()
}

/// Waits until it logs a line once more.
pub(super) async fn logs(world: &World, line: &str, before: usize) {
    let started = Instant::now();
    while logged(world, line) <= before {
        assert!(started.elapsed() < e2e::PATIENCE, "{line} was not logged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn line_of(point: &str) -> String {
    format!("pause point {point}")
}

/// Waits until it stands there for the first time.
async fn stands(world: &World, point: &str) {
    logs(world, &line_of(point), 0).await;
}

/// A call that stands still at a point while something happens; how it ended.
async fn meanwhile(
    world: &World,
    pause: &str,
    happens: impl AsyncFnOnce(&mut Actor),
) -> pb::Execution {
    let point = pause.split_once('=').unwrap().0;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let before = logged(world, &line_of(point));
    let call = tokio::spawn(async move { agent.present(&asked).await });
    logs(world, &line_of(point), before).await;
    happens(&mut operator).await;
    let ended = call.await.unwrap().unwrap();
    assert_eq!(ended.state, i32::from(State::Failed), "{ended:?}");
    assert!(
        !ended.wrote && world.effects().await.is_empty(),
        "{ended:?}"
    );
    ended
}

async fn clear(operator: &mut Actor, scope: &str) {
    let request = pb::ClearHaltRequest {
        scope: scope.into(),
        reason: "test".into(),
    };
    operator.halt.clear_halt(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_after_the_look_stops_the_write() {
    let pause = "after_sending_marked=1500";
    let world = pausing(World::prepare(&[]), pause).await;
    let halted = meanwhile(&world, pause, async |operator| {
        set(operator, "tenant:acme").await.unwrap();
    });
    assert_eq!(halted.await.reason_code, "HALTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_that_came_and_went_after_the_look_stops_the_write() {
    let pause = "after_sending_marked=1500";
    let world = pausing(World::prepare(&[]), pause).await;
    let revoked = meanwhile(&world, pause, async |operator| {
        set(operator, "agent:triage").await.unwrap();
        clear(operator, "agent:triage").await;
    });
    assert_eq!(revoked.await.reason_code, "TOKEN_REVOKED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_writes_no_more() {
    let pause = "after_sending_marked=11000";
    let world = pausing(World::prepare(&[]), pause).await;
    let late = meanwhile(&world, pause, async |_| {}).await;
    assert_eq!(late.reason_code, "TOKEN_EXPIRED");
    assert!(late.message.contains("stood still"), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writ_that_expired_after_the_look_writes_no_more() {
    let pause = "after_sending_marked=4000";
    let mut world = World::prepare(&[]);
    super::retry::short_lived(&mut world);
    let world = pausing(world, pause).await;
    let late = meanwhile(&world, pause, async |_| {}).await;
    assert_eq!(late.reason_code, "TOKEN_EXPIRED");
    assert!(!late.message.contains("stood still"), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demotion_or_a_narrower_card_during_the_look_stops_the_write() {
    let pause = "after_before_image=4000";
    let world = pausing(World::prepare(&[]), pause).await;
    let demoted = meanwhile(&world, pause, async |operator| {
        let request = pb::SetActionRolloutRequest {
            name: "tenants/acme/actions/set_stage".into(),
            rollout: pb::Rollout::DryRun.into(),
            reason: "test".into(),
            ..pb::SetActionRolloutRequest::default()
        };
        operator.execute.set_action_rollout(request).await.unwrap();
    });
    assert_eq!(demoted.await.reason_code, "DRY_RUN_ONLY");

    // As an operator at another connectord promotes a card that has not this value.
    world.promote(&["set_stage"]).await;
    let journal = world.journal().await;
    let narrowed = meanwhile(&world, pause, async |_| {
        let narrower = "UPDATE rollout SET card = replace(card, '\"qualified\", ', ''), \
                        revision = revision + 1 WHERE action = 'set_stage'";
        sqlx::query(narrower).execute(&journal).await.unwrap();
    });
    let narrowed = narrowed.await;
    assert_eq!(narrowed.reason_code, "DRY_RUN_ONLY");
    assert!(narrowed.message.contains("newer card"), "{narrowed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_allows_less_during_the_look_stops_the_write() {
    let pause = "after_before_image=9000";
    let world = pausing(World::prepare(&[]), pause).await;
    let lowered = meanwhile(&world, pause, async |operator| {
        let card = "policies/acme/actions/set_stage.toml";
        let before = action(operator).await.card_digest;
        change(
            &world,
            card,
            "rollout_max = \"live\"",
            "rollout_max = \"dry_run\"",
        );
        changed(operator, &before).await;
    });
    assert_eq!(lowered.await.reason_code, "DRY_RUN_ONLY");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_whose_window_ends_or_whose_agent_is_halted_meanwhile_writes_nothing() {
    let pause = "undo_after_intent=4000";
    let world = pausing(World::prepare(&[]), pause).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    let journal = world.journal().await;
    let (journal, id) = (&journal, done.name.rsplit('/').next().unwrap());
    let window = async |seconds: i64| {
        let until = (e2e::now_seconds() + seconds) * 1_000;
        let ends = "UPDATE execution SET body = json_set(body, '$.undo_until_ms', ?) WHERE id = ?";
        let ends = sqlx::query(ends).bind(until).bind(id);
        assert_eq!(ends.execute(journal).await.unwrap().rows_affected(), 1);
    };
    // The pause is longer.
    window(2).await;
    let late = operator.undo(&done).await;
    assert!(
        !late.undone && late.reason_code == "UNDO_EXPIRED",
        "{late:?}"
    );
    window(3_600).await;
    let undone = done.clone();
    let point = line_of("undo_after_intent");
    let before = logged(&world, &point);
    let call = tokio::spawn(async move { agent.undo(&undone).await });
    logs(&world, &point, before).await;
    set(&mut operator, "agent:triage").await.unwrap();
    let kept = call.await.unwrap();
    assert!(!kept.undone && kept.reason_code == "HALTED", "{kept:?}");
    assert_eq!(world.effects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_between_two_undos_of_one_record_is_not_overwritten() {
    let world = pausing(World::prepare(&[]), "undo_after_finish=8000").await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    for to in ["qualified", "proposal"] {
        let done = agent.carry(&stage("D-104", to)).await;
        agent.signed(&done).await;
    }
    let request = pb::BatchUndoRequest {
        parent: "tenants/acme".into(),
        run_id: "test".into(),
        reason: "wrong".into(),
        ..pb::BatchUndoRequest::default()
    };
    let undo = tokio::spawn(async move { operator.execute.batch_undo(request).await });
    stands(&world, "undo_after_finish").await;
    world.person_edits("deals/D-104", "stage=lost");
    let items = undo.await.unwrap().unwrap().into_inner().items;
    let told = items.iter();
    let told = told.map(|item| (item.undone, item.reason_code.as_str()));
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(true, ""), (false, "PRECONDITION_FAILED")]);
    let last = world.effects().await.pop().unwrap();
    assert_eq!(last["by"], "person", "nothing was overwritten");
}

/// Where a process is stopped by a signal, and whether the write or the undo has happened there.
const STOPS: [(&str, usize); 10] = [
    ("after_claim", 0),
    ("after_before_image", 0),
    ("after_sending_marked", 0),
    ("after_write", 1),
    ("after_read_back", 1),
    ("after_finish", 1),
    ("undo_after_intent", 1),
    ("undo_after_write", 2),
    ("undo_after_read_back", 2),
    ("undo_after_finish", 2),
];
/// Longer than any process is waited for before another one takes over.
const STOPPED: Duration = Duration::from_secs(120);
/// Time for the signal to come while the process stands at the point, also on a machine that is busy.
const STANDS_MS: u32 = 30_000;
/// Worlds that start at once: each has four processes.
const STARTING_MAX: usize = 3;

fn signal(world: &World, name: &str) {
    let id = world.connectord.as_ref().unwrap().id().to_string();
    let sent = std::process::Command::new("kill")
        .args([name, &id])
        .status();
    assert!(sent.unwrap().success());
}

/// Stops one of two replicas at a point for two minutes; what the CRM has seen afterwards.
async fn stopped_at(
    (server, starting): (String, Arc<Semaphore>),
    (point, before): (&'static str, usize),
) {
    let start = starting.acquire_owned().await.unwrap();
    let mut world = World::prepare(&[]);
    world.stores = Some((
        e2e::postgres::fresh_database(&server).await,
        e2e::postgres::fresh_database(&server).await,
    ));
    let world = pausing(world, &format!("{point}={STANDS_MS}")).await;
    let port = e2e::free_port();
    let _replica = world.replica(port);
    let mut agent = world.agent().await;
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let call = if point.starts_with("undo_") {
        let done = agent.present(&asked).await.unwrap();
        agent.signed(&done).await;
        let mut operator = world.operator().await;
        tokio::spawn(async move { operator.try_undo(&done).await.map(|_| ()) })
    } else {
        let mut agent = agent.clone();
        tokio::spawn(async move { agent.present(&asked).await.map(|_| ()) })
    };
    stands(&world, point).await;
    signal(&world, "-STOP");
    drop(start);
    tokio::time::sleep(STOPPED).await;
    let there = world.effects().await.len();
    assert_eq!(
        there, before,
        "{point}: what had happened when it was stopped"
    );
    signal(&world, "-CONT");
    // The caller has given up or gets an answer; either way the truth is in the journal.
    drop(tokio::time::timeout(Duration::from_secs(20), call).await);
    let (executions, _) = world.settle().await;
    let wrote = executions.iter().filter(|one| one.wrote).count();
    let effects = world.effects().await.len();
    assert_eq!(wrote, effects, "{point}: {executions:#?}");
    let (most, undone) = (if point.starts_with("undo_") { 2 } else { 1 }, effects == 2);
    assert!(effects <= most, "{point}: {effects} effects");
    let marked = executions.iter().any(|one| !one.undone_by.is_empty());
    assert_eq!(marked, undone, "{point}: {executions:#?}");
    world.check_everything().await;
}

// Each world starts its processes on a thread of its own: a handshake that waited for one would be given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn a_stop_of_two_minutes_anywhere_beside_a_replica_doubles_and_hides_nothing() {
    let Some(server) = e2e::postgres::server() else {
        return;
    };
    let starting = Arc::new(Semaphore::new(STARTING_MAX));
    let all = STOPS.map(|stop| {
        let shared = (server.clone(), Arc::clone(&starting));
        tokio::spawn(stopped_at(shared, stop))
    });
    for one in all {
        one.await.unwrap();
    }
}
