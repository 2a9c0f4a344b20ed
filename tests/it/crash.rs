//! connectord is killed at every named point between claim and receipt, and the CRM cuts or
//! delays its answers: nothing is lost, doubled or unrecorded.

use std::time::{Duration, Instant};

use e2e::{Actor, World, failpoint_connectord, program, refund, stage};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

const POINTS: [(&str, Option<bool>); 6] = [
    ("after_claim", Some(false)),
    ("after_before_image", Some(false)),
    ("after_sending_marked", Some(false)),
    ("after_write", Some(true)),
    ("after_read_back", Some(true)),
    ("after_finish", Some(true)),
];

/// Points at which the call may be out.
const OUT: [&str; 3] = ["after_sending_marked", "after_write", "after_read_back"];

/// Milliseconds between the begin of an execution and the moment from which it is counted how late
/// it may still be done.
pub(super) async fn out_after(world: &World, execution: &pb::Execution) -> i64 {
    let span = "SELECT json_extract(body, '$.sent_ms') - json_extract(body, '$.created_ms') \
                FROM execution WHERE id = ?";
    let id = execution.name.rsplit('/').next().unwrap();
    let span = sqlx::query_scalar(span).bind(id);
    span.fetch_one(&world.journal().await).await.unwrap()
}

/// A minute goes by: everything was begun and sent a minute earlier.
pub(super) async fn a_minute_later(world: &World) {
    let earlier = "UPDATE execution SET body = json_set(body, \
                   '$.sent_ms', json_extract(body, '$.sent_ms') - 60000, \
                   '$.created_ms', json_extract(body, '$.created_ms') - 60000)";
    let journal = world.journal().await;
    sqlx::query(earlier).execute(&journal).await.unwrap();
}

async fn killed_at(point: &str, wrote: bool, wish: &e2e::Wish) {
    let mut world = World::prepare(&[]);
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world.promote(&["set_stage", "refund"]).await;
    world.kill_connectord();
    world.start_connectord(&failpoint_connectord(), &[("CONNECTORD_CRASH_AT", point)]);
    let mut agent = world.agent().await;
    let asked = agent.ask(wish).await;
    let request = Actor::execute_request(&asked);
    let (mut caller, sent) = (agent.clone(), request.clone());
    let call = tokio::spawn(async move { caller.send(sent).await });
    let started = Instant::now();
    while !world
        .connectord
        .as_ref()
        .unwrap()
        .logged()
        .contains(&format!("crash point {point}"))
    {
        assert!(started.elapsed() < e2e::PATIENCE, "{point} was not reached");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.kill_connectord();
    call.await.unwrap().unwrap_err();
    a_minute_later(&world).await;
    world.start_connectord(&program("connectord"), &[]);
    let (executions, _) = world.settle().await;
    assert_eq!(executions.len(), 1, "{point}");
    assert_eq!(executions[0].wrote, wrote, "{point}: {:?}", executions[0]);
    assert_eq!(world.effects().await.len(), usize::from(wrote), "{point}");
    // It may have gone out right before the process ended, whenever that was.
    let out = out_after(&world, &executions[0]).await;
    assert_eq!(out >= 60_000, OUT.contains(&point), "{point}: {out} ms");
    // The retry of the caller that never heard an answer gets that outcome, and no second effect.
    let mut agent = world.agent().await;
    let again = agent.send(request).await;
    if let Ok(again) = again {
        assert!(again.replayed, "{point}");
    }
    assert_eq!(world.effects().await.len(), usize::from(wrote), "{point}");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_loses_doubles_and_hides_nothing_for_an_update() {
    for (point, wrote) in POINTS {
        killed_at(point, wrote.unwrap(), &stage("D-104", "qualified")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_loses_doubles_and_hides_nothing_for_a_refund() {
    for (point, wrote) in POINTS {
        killed_at(point, wrote.unwrap(), &refund("O-7", "49.00")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_the_crm_ends_in_the_truth() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    let table = [
        ("rate_limited", State::Failed, "SYSTEM_RATE_LIMITED", 0),
        ("rate_limited_bare", State::Failed, "SYSTEM_RATE_LIMITED", 0),
        ("slow", State::Done, "", 1),
        (
            "error_after",
            State::ReconciledApplied,
            "OUTCOME_UNKNOWN",
            1,
        ),
        (
            "answer_lost",
            State::ReconciledApplied,
            "OUTCOME_UNKNOWN",
            1,
        ),
        (
            "error_before",
            State::ReconciledNotApplied,
            "OUTCOME_UNKNOWN",
            0,
        ),
    ];
    let mut effects = 0;
    for (fault, state, code, more) in table {
        world.fault(fault, "1", "200");
        let asked = agent.ask(&refund("O-7", "1.00")).await;
        let execution = agent.present(&asked).await.unwrap();
        let (executions, _) = world.settle().await;
        let settled = executions
            .iter()
            .find(|found| found.name == execution.name)
            .unwrap();
        assert_eq!(settled.state, i32::from(state), "{fault}: {settled:?}");
        assert_eq!(settled.reason_code, code, "{fault}");
        if fault == "slow" {
            let out = out_after(&world, settled).await;
            assert!(out > 150, "counted from the answer: {out} ms");
        }
        effects += more;
        assert_eq!(world.effects().await.len(), effects, "{fault}");
    }
    // What was not paid, for certain, counts against no ceiling.
    let url = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = sqlx::SqlitePool::connect(&url).await.unwrap();
    let sql = "SELECT used FROM tally WHERE bucket LIKE 'record/%/O-7/EUR'";
    let cents: i64 = sqlx::query_scalar(sql).fetch_one(&journal).await.unwrap();
    assert_eq!(usize::try_from(cents).unwrap(), 100 * effects);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_after_the_answer_was_given_up_is_found() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    // Later than a call may take: "not there" must not be believed yet.
    world.fault("late_commit", "1", "11000");
    let asked = agent.ask(&refund("O-7", "1.00")).await;
    let execution = agent.present(&asked).await.unwrap();
    assert_eq!(execution.state, i32::from(State::InDoubt));
    let (executions, _) = world.settle().await;
    assert_eq!(executions[0].state, i32::from(State::ReconciledApplied));
    assert_eq!(world.effects().await.len(), 1);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_wait_for_policyd_and_a_caller_that_hangs_up_changes_nothing() {
    let mut world = World::start();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&refund("O-7", "1.00")).await;
    world.policyd.take().unwrap().kill();
    world.fault("slow", "1", "500");
    let (mut caller, request) = (agent.clone(), Actor::execute_request(&asked));
    let call = tokio::spawn(async move { caller.send(request).await });
    let started = Instant::now();
    while world.effects().await.is_empty() {
        assert!(started.elapsed() < e2e::PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    call.abort();
    world.start_policyd();
    let (executions, records) = world.settle().await;
    assert_eq!(executions[0].state, i32::from(State::Done));
    assert!(records.iter().any(|record| record["status"] == "DONE"));
    world.check_everything().await;
    let mode = pb::Mode::Execute;
    assert_eq!(executions[0].mode, i32::from(mode));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_system_does_not_find_after_hours_away_is_left_to_a_person() {
    let mut world = World::prepare(&[]);
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world.promote(&["refund"]).await;
    world.kill_connectord();
    let point = [("CONNECTORD_CRASH_AT", "after_sending_marked")];
    world.start_connectord(&failpoint_connectord(), &point);
    let mut agent = world.agent().await;
    let asked = agent.ask(&refund("O-7", "10.00")).await;
    let call = tokio::spawn(async move { agent.present(&asked).await });
    let started = Instant::now();
    let reached = || {
        world
            .connectord
            .as_ref()
            .unwrap()
            .logged()
            .contains("crash point")
    };
    while !reached() {
        assert!(
            started.elapsed() < e2e::PATIENCE,
            "the crash point is reached"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.kill_connectord();
    call.await.unwrap().unwrap_err();
    // The CRM is away while connectord takes it over, and for two hours more.
    world.sandbox.take().unwrap().kill();
    world.start_connectord(&program("connectord"), &[]);
    let state = async |world: &World| world.executions().await[0].state();
    while state(&world).await != State::InDoubt {
        assert!(started.elapsed() < e2e::PATIENCE, "it is in doubt");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.kill_connectord();
    let earlier = "UPDATE execution SET body = json_set(body, '$.sent_ms', json_extract(body, '$.sent_ms') - 7200000, \
                   '$.created_ms', json_extract(body, '$.created_ms') - 7200000)";
    sqlx::query(earlier)
        .execute(&world.journal().await)
        .await
        .unwrap();
    world.start_sandbox();
    world.start_connectord(&program("connectord"), &[]);
    while state(&world).await == State::InDoubt {
        assert!(started.elapsed() < 2 * e2e::PATIENCE, "a person is asked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let execution = world.executions().await.remove(0);
    assert_eq!(execution.state(), State::Human, "{execution:?}");
    assert!(
        execution.message.contains("put back from a backup"),
        "{execution:?}"
    );
}
