//! Rollout: the would-have log, promotion with it in view, and time-boxed live.

pub(super) mod promoted;

use std::time::Instant;

use e2e::{Actor, PATIENCE, Wish, World, stage};
use writ_proto::pb;

use super::undo::run;

async fn shift(
    operator: &mut Actor,
    change: impl FnOnce(&mut pb::SetActionRolloutRequest),
) -> Result<pb::SetActionRolloutResponse, String> {
    let mut request = pb::SetActionRolloutRequest {
        name: "tenants/acme/actions/set_stage".into(),
        rollout: pb::Rollout::Live.into(),
        reason: "two calm weeks".into(),
        ..pb::SetActionRolloutRequest::default()
    };
    change(&mut request);
    let answer = operator.execute.set_action_rollout(request).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| e2e::code(&status))
}

pub(super) async fn present(agent: &mut Actor, wish: &Wish) -> Result<pb::Execution, String> {
    let asked = agent.ask(wish).await;
    agent.present(&asked).await
}

fn is_mark(record: &serde_json::Value) -> bool {
    let status = record["status"].as_str();
    status.is_some_and(|status| status.starts_with("SURPRISE_"))
}

/// The records of a world, once so many marks are among them: the last report may be under way.
async fn with_marks(world: &World, count: usize) -> Vec<serde_json::Value> {
    let started = Instant::now();
    loop {
        let (_, records) = world.settle().await;
        if records.iter().filter(|record| is_mark(record)).count() == count {
            return records;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "marks are records: {records:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_shows_the_log_needs_a_reason_and_asks_twice_after_a_surprise() {
    let world = World::start();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    assert_eq!(
        shift(&mut operator, |_| {}).await.unwrap_err(),
        "NOTHING_SEEN"
    );
    let mut dry = stage("D-104", "qualified");
    dry.mode = pb::Mode::DryRun;
    let first = present(&mut agent, &dry).await.unwrap();
    let mut closed = stage("D-88", "new");
    closed.mode = pb::Mode::DryRun;
    assert_eq!(
        present(&mut agent, &closed).await.unwrap().reason_code,
        "STATE_NOT_ALLOWED"
    );

    let none = shift(&mut operator, |request| request.reason = " ".into()).await;
    assert_eq!(none.unwrap_err(), "REQUEST_MALFORMED");
    let mark = async |surprise: &str| {
        let request = pb::MarkSurpriseRequest {
            name: first.name.clone(),
            surprise: surprise.into(),
        };
        let mut operator = world.operator().await;
        operator.execute.mark_surprise(request).await.unwrap();
    };
    mark("the deal was closed by hand").await;
    assert_eq!(
        shift(&mut operator, |_| {}).await.unwrap_err(),
        "SURPRISES_MARKED"
    );
    let (_, log) = run(&world, &["wouldhave", "ls", "--action", "set_stage"]);
    for shown in [
        "would change deal D-104: stage \"new\" -> \"qualified\"  | policy said ALLOW | not written",
        "marked as a surprise: the deal was closed by hand",
        "would be refused: STATE_NOT_ALLOWED\n",
    ] {
        assert!(log.contains(shown), "{shown}\n{log}");
    }
    let (_, marked) = run(&world, &["wouldhave", "ls", "--surprise", "-o", "jsonl"]);
    assert_eq!(marked.lines().count(), 1, "{marked}");

    let accepted = shift(&mut operator, |request| request.accept_surprises = true)
        .await
        .unwrap();
    assert_eq!((accepted.would_have_rows, accepted.surprises), (2, 1));
    assert!(
        present(&mut agent, &stage("D-104", "qualified"))
            .await
            .unwrap()
            .wrote
    );
    // Going back needs no second question, and the log goes on since the promotion.
    let back = shift(&mut operator, |request| {
        request.rollout = pb::Rollout::DryRun.into()
    })
    .await;
    assert_eq!(back.unwrap().would_have_rows, 0);
    // A row that is older than the promotion counts when it is marked after it.
    mark("the customer called").await;
    assert_eq!(
        shift(&mut operator, |_| {}).await.unwrap_err(),
        "SURPRISES_MARKED"
    );
    mark("").await;
    let none = run(&world, &["wouldhave", "ls", "--surprise"]).1;
    assert_eq!(none.trim(), "nothing to list");

    let records = with_marks(&world, 3).await;
    let is_moved = |record: &&serde_json::Value| record["kind"] == "rollout_changed";
    let notes: Vec<&str> = records
        .iter()
        .filter(is_moved)
        .filter_map(|record| {
            record["outcome"]["note"]
                .as_str()
                .or(record["note"].as_str())
        })
        .collect();
    assert_eq!(
        records
            .iter()
            .filter(is_moved)
            .filter(|record| !is_mark(record))
            .count(),
        2,
        "{notes:?}"
    );
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_boxed_live_ends_by_itself_and_the_end_is_a_record() {
    let world = World::start();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let now = e2e::now_seconds();
    let until = |seconds: i64| Some(prost_types::Timestamp { seconds, nanos: 0 });
    for wrong in [now - 60, now + 31 * 86_400] {
        let refused = shift(&mut operator, |request| request.until = until(wrong)).await;
        assert_eq!(refused.unwrap_err(), "REQUEST_MALFORMED");
    }
    let dry = shift(&mut operator, |request| {
        (request.until, request.rollout) = (until(now + 60), pb::Rollout::DryRun.into());
    });
    assert_eq!(
        dry.await.unwrap_err(),
        "REQUEST_MALFORMED",
        "it writes nothing"
    );
    let answer = shift(&mut operator, |request| {
        (request.until, request.accept_unseen) = (until(now + 4), true);
    })
    .await
    .unwrap();
    assert_eq!(answer.action.unwrap().rollout_until, until(now + 4));
    assert!(
        present(&mut agent, &stage("D-104", "qualified"))
            .await
            .unwrap()
            .wrote
    );
    let started = std::time::Instant::now();
    while present(&mut agent, &stage("D-104", "proposal")).await != Err("DRY_RUN_ONLY".into()) {
        assert!(started.elapsed() < PATIENCE);
        world.person_edits("deals/D-104", "stage=new");
    }
    loop {
        let moves = world.records().await;
        let moves = moves
            .iter()
            .filter(|record| record["kind"] == "rollout_changed")
            .count();
        if moves == 2 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{moves} records");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
