//! Rollout: the would-have log, promotion with it in view, time-boxed live, demotion by itself; and
//! the undo of many writes.

use e2e::{Actor, PATIENCE, Wish, World, stage};
use writ_proto::pb;

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

async fn present(agent: &mut Actor, wish: &Wish) -> Result<pb::Execution, String> {
    let asked = agent.ask(wish).await;
    agent.present(&asked).await
}

/// The arguments of a command of an operator of acme.
fn operator(world: &World, args: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let addr = format!("https://localhost:{}", world.connectord_port);
    for (flag, value) in [
        ("--addr", addr.as_str()),
        ("--cert", "certs/operator-acme-ops.pem"),
        ("--key", "keys/operator-acme-ops-tls.pem"),
    ] {
        all.extend([flag.to_owned(), value.to_owned()]);
    }
    all
}

fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let all = operator(world, args);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let output = world.run("connectord", &all);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_shows_the_log_needs_a_reason_and_asks_twice_after_a_surprise() {
    let world = World::start();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
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
        "surprise [x] the deal was closed by hand",
        "would be refused: STATE_NOT_ALLOWED | surprise [ ]",
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
    // Going back needs no second question, and the log begins anew with each move.
    let back = shift(&mut operator, |request| {
        request.rollout = pb::Rollout::DryRun.into()
    })
    .await;
    assert_eq!(back.unwrap().would_have_rows, 0);
    mark("").await;
    let (_, marked) = run(&world, &["wouldhave", "ls", "--surprise"]);
    assert!(marked.is_empty(), "{marked}");

    let (_, records) = world.settle().await;
    let notes: Vec<&str> = records
        .iter()
        .filter(|record| record["kind"] == "rollout_changed")
        .filter_map(|record| {
            record["outcome"]["note"]
                .as_str()
                .or(record["note"].as_str())
        })
        .collect();
    assert_eq!(
        records
            .iter()
            .filter(|record| record["kind"] == "rollout_changed")
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
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let until = |seconds: i64| Some(prost_types::Timestamp { seconds, nanos: 0 });
    for wrong in [now - 60, now + 31 * 86_400] {
        let refused = shift(&mut operator, |request| request.until = until(wrong)).await;
        assert_eq!(refused.unwrap_err(), "REQUEST_MALFORMED");
    }
    let answer = shift(&mut operator, |request| request.until = until(now + 4))
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

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_undone_too_often_goes_back_to_dry_run() {
    let world = World::start();
    world.promote(&["log_deal"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let log = |line: usize| Wish {
        action: "log_deal".into(),
        args: format!("{{\"log\":\"line {line}\"}}"),
        ..stage("D-104", "")
    };
    let mut done = Vec::new();
    for line in 0..20 {
        done.push(present(&mut agent, &log(line)).await.unwrap());
    }
    // The card allows 20 % of the last 20: the fifth undo is one too many.
    for count in 1..=5 {
        assert!(operator.undo(&done.pop().unwrap()).await.undone);
        let request = pb::GetActionRequest {
            name: "tenants/acme/actions/log_deal".into(),
        };
        let action = operator
            .execute
            .get_action(request)
            .await
            .unwrap()
            .into_inner();
        let live = action.action.unwrap().rollout == i32::from(pb::Rollout::Live);
        assert_eq!(live, count < 5, "{count} of 20 undone");
    }
    assert_eq!(
        present(&mut agent, &log(99)).await.unwrap_err(),
        "DRY_RUN_ONLY"
    );
    let (_, records) = world.settle().await;
    let last = records
        .iter()
        .rfind(|record| record["kind"] == "rollout_changed");
    let last = last.unwrap().to_string();
    assert!(last.contains("connectord"), "it was nobody's order: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_wrong_writes_are_undone_by_one_command_and_a_drifted_record_is_left() {
    let world = World::start();
    let seeded = world.run("connectord", &["sandbox", "seed", "--deals", "50"]);
    assert!(seeded.status.success());
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    for deal in 1..=50 {
        let asked = agent.ask(&stage(&format!("L-{deal}"), "lost")).await;
        assert!(agent.present(&asked).await.unwrap().wrote);
    }
    world.person_edits("deals/L-7", "stage=proposal");
    let undo = [
        "undo",
        "--since",
        "1h",
        "--agent",
        "triage",
        "--reason",
        "wrong mails",
    ];
    let (code, planned) = run(&world, &[&undo[..], &["--dry-run"]].concat());
    assert!(planned.contains("would undo 49 of 50"), "{planned}");
    assert_eq!(code, Some(1), "one of them cannot be undone");
    let (_, undone) = run(&world, &undo);
    assert!(undone.contains("undid 49 of 50"), "{undone}");
    assert_eq!(
        undone
            .matches("REFUSED PRECONDITION_FAILED stage: we wrote \"lost\"")
            .count(),
        1
    );
    // As after an interruption: nothing is done twice, what was done before counts.
    let (_, again) = run(&world, &[&undo[..], &["--resume"]].concat());
    assert!(
        again.contains("undid 0 of 1 (49 more were undone before)"),
        "{again}"
    );
    let (_, nobody) = run(&world, &["undo", "--since", "1h", "--agent", "seller"]);
    assert!(nobody.contains("undid 0 of 0"), "{nobody}");

    let effects = world.effects().await;
    assert_eq!(effects.len(), 50 + 1 + 49);
    let left = effects
        .iter()
        .rfind(|effect| effect["id"] == "L-7")
        .unwrap();
    assert_eq!(left["by"], "person", "nothing was overwritten");
    world.check_everything().await;
}
