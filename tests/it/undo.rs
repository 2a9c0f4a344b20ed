//! The undo of many writes, and what it means for the action.

use e2e::{Wish, World, stage};
use serde_json::Value as Json;
use writ_proto::pb;

use super::rollout::present;

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

pub(super) fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
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
    assert_eq!(last.unwrap()["status"], "dry_run");
}

fn nothing_is_undone_without_a_yes(world: &World, undo: &[&str]) {
    // Where nobody answers, nothing is undone.
    let (code, told) = run(world, undo);
    assert!(
        code == Some(2) && told.contains("nobody answered"),
        "{told}"
    );
    let asked = operator(world, undo);
    let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let file = world.path("answer");
    let mut answered = |answer: &str, more: &[&'static str]| {
        std::fs::write(&file, answer).unwrap();
        let input = std::fs::File::open(&file).unwrap();
        asked.extend(more);
        let output = world.answered("connectord", &asked, input.into());
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&told).into_owned(),
        )
    };
    for (answer, wanted) in [
        ("n\n", "nothing was undone"),
        ("policyd story\n", "the answer was"),
    ] {
        let (code, told) = answered(answer, &[]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("undo 50 writes? [y/N]"), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
    // Whoever reads JSON is asked nothing.
    let (code, told) = answered("y\n", &["--output", "json"]);
    assert!(
        code == Some(2) && told.contains("nobody answered"),
        "{told}"
    );
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
    // Found by one command, and halted by one.
    let find = [
        "executions",
        "ls",
        "--agent",
        "triage",
        "--since",
        "1h",
        "-o",
        "jsonl",
    ];
    let (_, found) = run(&world, &[&find[..], &["--limit", "100"]].concat());
    assert_eq!(found.matches("\"set_stage\"").count(), 50, "{found}");
    let halt = [
        "halt",
        "on",
        "--scope",
        "agent:triage",
        "--reason",
        "wrong mails",
    ];
    assert_eq!(run(&world, &halt).0, Some(0));
    let more = agent.ask(&stage("L-1", "new")).await;
    assert!(agent.present(&more).await.is_err());
    let undo = [
        "undo",
        "--since",
        "1h",
        "--agent",
        "triage",
        "--reason",
        "wrong mails",
        "--yes",
    ];
    let (code, planned) = run(&world, &[&undo[..], &["--dry-run"]].concat());
    assert!(planned.contains("would undo 49 of 50"), "{planned}");
    assert_eq!(code, Some(1), "one of them cannot be undone");
    nothing_is_undone_without_a_yes(&world, &undo[..7]);
    assert_eq!(world.effects().await.len(), 51);
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
    // A name that matches nothing may be a slip: it is told, and is no success.
    let (code, nobody) = run(&world, &["undo", "--since", "1h", "--agent", "seller"]);
    assert!(
        nobody.contains("no live write of acme matches --agent seller"),
        "{nobody}"
    );
    assert_eq!(code, Some(1), "{nobody}");
    let by_kind = [
        "undo",
        "--since",
        "1h",
        "--target",
        "order/D-104",
        "--dry-run",
    ];
    let (code, other) = run(&world, &by_kind);
    assert!(
        other.contains("deal/D-104 was written too") || code == Some(1),
        "{other}"
    );

    let effects = world.effects().await;
    assert_eq!(effects.len(), 50 + 1 + 49);
    let left = effects
        .iter()
        .rfind(|effect| effect["id"] == "L-7")
        .unwrap();
    assert_eq!(left["by"], "person", "nothing was overwritten");
    told(&world).await;
    world.check_everything().await;
}

/// The records say who asked, by which rule, for what and when, and that and by whom it was undone.
async fn told(world: &World) {
    let (executions, records) = world.settle().await;
    let written: Vec<_> = executions
        .iter()
        .filter(|one| one.agent == "triage")
        .collect();
    assert!(written.len() >= 50);
    for execution in written.iter().filter(|one| one.wrote) {
        let of_it = |record: &&Json| record["record_id"] == execution.decision_id.as_str();
        let mut own = records.iter().filter(of_it);
        let decided = own.next().unwrap();
        assert_eq!(decided["agent"], "triage");
        assert_eq!(decided["rules"], serde_json::json!(["set-stage"]));
        assert!(decided["time"].is_string() && decided["policy"].is_string());
        let target = &execution.target.as_ref().unwrap().id;
        if target == "L-7" {
            continue;
        }
        let undo = executions.iter().find(|one| {
            one.name == execution.undone_by || one.name.ends_with(&execution.undone_by)
        });
        assert_eq!(undo.unwrap().agent, "ops", "undone by whom");
        let undone = own.find(|record| record["kind"] == "undo").unwrap();
        let committed = undone["committed"].to_string();
        for name in ["by", "before", "after", "target_id", "note"] {
            assert!(committed.contains(name), "{name}: {undone}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_takes_later_writes_to_one_record_for_undone() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let mut newest = None;
    for value in ["qualified", "proposal", "qualified"] {
        let done = agent.carry(&stage("D-104", value)).await;
        agent.signed(&done).await;
        newest = Some(done);
    }
    let undo = ["undo", "--since", "1h", "--agent", "triage", "--dry-run"];
    let (code, planned) = run(&world, &undo);
    assert!(planned.contains("would undo 3 of 3"), "{planned}");
    assert_eq!(code, Some(0), "{planned}");
    for step in [
        "\"qualified\" -> \"proposal\"",
        "\"proposal\" -> \"qualified\"",
        "\"qualified\" -> \"new\"",
    ] {
        assert!(planned.contains(step), "{step}: {planned}");
    }
    assert_eq!(world.effects().await.len(), 3, "nothing was written");
    // What a person changed is refused, and so is everything below it.
    world.person_edits("deals/D-104", "stage=lost");
    let (code, planned) = run(&world, &undo);
    assert!(planned.contains("would undo 0 of 3"), "{planned}");
    let id = newest.unwrap().name.rsplit('/').next().unwrap().to_owned();
    assert_eq!(planned.matches(&format!("undo {id} first")).count(), 2);
    assert_eq!(code, Some(1), "{planned}");
}
