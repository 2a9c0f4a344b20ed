//! What an answer means: a change counts only when it was seen, and what nobody can tell is a doubt.

mod reads;

use std::time::{Duration, Instant};

use e2e::crm::{Crm, Fails};
use e2e::{Actor, PATIENCE, Wish, World, refund, stage};
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::rollout::present;
use super::rollout::promoted::{change, pending};
use super::undo::run;

/// A world whose CRM fails as it is told, with doubts that are settled soon.
async fn world() -> (World, Crm) {
    world_with("settle_after = \"15s\"", "settle_after = \"1s\"").await
}

/// The same with one more change of its system file.
async fn world_with(from: &str, to: &str) -> (World, Crm) {
    let crm = Crm::start().await;
    let mut world = World::prepare(&[]);
    world.sandbox_port = crm.port;
    let file = world.path("systems/sandbox.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    let text = text.replacen(from, to, 1);
    let soon = text.replace("settle_after = \"15s\"", "settle_after = \"1s\"");
    std::fs::write(file, soon.replace("timeout = \"8s\"", "timeout = \"2s\"")).unwrap();
    if to.contains("undo = \"none\"") {
        // What is not undone is not called reversible.
        for card in std::fs::read_dir(world.path("policies/acme/actions")).unwrap() {
            let card = card.unwrap().path();
            let text = std::fs::read_to_string(&card).unwrap();
            std::fs::write(card, text.replace("\"reversible\"", "\"compensable\"")).unwrap();
        }
    }
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world
        .promote(&["set_stage", "refund", "fill_phone", "log_deal"])
        .await;
    (world, crm)
}

fn phone(number: &str) -> Wish {
    Wish {
        action: "fill_phone".into(),
        target: ("contact".into(), "C-2".into()),
        args: json!({ "phone": number }).to_string(),
        ..stage("", "")
    }
}

async fn found(agent: &mut Actor, name: &str) -> pb::Execution {
    let request = pb::GetExecutionRequest { name: name.into() };
    let found = agent.execute.get_execution(request).await.unwrap();
    found.into_inner().execution.unwrap()
}

/// Waits until an execution stands somewhere.
pub(super) async fn settled(agent: &mut Actor, name: &str, state: State) -> pb::Execution {
    let started = Instant::now();
    loop {
        let execution = found(agent, name).await;
        if execution.state == i32::from(state) {
            return execution;
        }
        assert!(started.elapsed() < PATIENCE, "{execution:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Bodies and media types that come instead of a change.
const INSTEAD: [(u16, &str, &str); 9] = [
    (
        200,
        r#"{"success":false,"errors":["rejected"]}"#,
        "application/json",
    ),
    (200, "<html>Request Rejected</html>", "text/html"),
    (202, r#"{"job":1}"#, "application/json"),
    (200, "null", "application/json"),
    (200, "[]", "application/json"),
    (200, "", "application/json"),
    (201, "created", "text/plain"),
    (200, r#"{"id":null}"#, "application/json"),
    (502, "<html>Bad gateway</html>", "text/html"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_2xx_that_proves_nothing_is_a_doubt_and_never_done() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    let mut doubts = Vec::new();
    for (number, (status, body, media)) in INSTEAD.into_iter().enumerate() {
        crm.fails(Fails::Instead(status, body, media));
        let paid = present(&mut agent, &refund("O-7", &format!("1.{number:02}")))
            .await
            .unwrap();
        assert_eq!(
            paid.state,
            i32::from(State::InDoubt),
            "{status} {body}: {paid:?}"
        );
        assert!(!paid.wrote && paid.reason_code == "OUTCOME_UNKNOWN");
        let moved = present(&mut agent, &stage("D-104", "qualified"))
            .await
            .unwrap();
        assert_eq!(
            moved.state,
            i32::from(State::InDoubt),
            "{status} {body}: {moved:?}"
        );
        doubts.extend([paid.name, moved.name]);
    }
    crm.fails(Fails::No);
    for name in doubts {
        let ended = settled(&mut agent, &name, State::ReconciledNotApplied).await;
        assert!(!ended.wrote);
    }
    assert_eq!(
        (crm.count("refunds"), crm.field("deals", "D-104", "stage")),
        (0, json!("new"))
    );
    let spent = world.settle().await;
    assert!(spent.0.iter().all(|execution| !execution.wrote));
    // One look that found nothing was believed of none of them.
    let url = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = sqlx::SqlitePool::connect(&url).await.unwrap();
    let sql = "SELECT count(*) FROM execution WHERE json_extract(body, '$.looked') = 1";
    let looked: i64 = sqlx::query_scalar(sql).fetch_one(&journal).await.unwrap();
    assert_eq!(usize::try_from(looked).unwrap(), spent.0.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_although_the_answer_said_otherwise_is_found() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    for status in [408, 409, 412, 500, 502, 503, 504] {
        crm.reset();
        crm.fails(Fails::DoneBut(status));
        let moved = present(&mut agent, &stage("D-104", "qualified"))
            .await
            .unwrap();
        assert_eq!(
            moved.state,
            i32::from(State::InDoubt),
            "{status}: {moved:?}"
        );
        let paid = present(&mut agent, &refund("O-7", "5.00")).await.unwrap();
        // A refund carries no version: nothing that came back can mean that one was old.
        assert_eq!(paid.state, i32::from(State::InDoubt), "{status}: {paid:?}");
        crm.fails(Fails::No);
        for name in [&moved.name, &paid.name] {
            let ended = settled(&mut agent, name, State::ReconciledApplied).await;
            assert!(ended.wrote, "{status}");
        }
        assert_eq!(crm.count("refunds"), 1, "{status}");
    }
    // What the file declares as "refused before anything happened" is believed.
    for status in [400, 404, 422, 401, 403] {
        crm.reset();
        crm.fails(Fails::Instead(
            status,
            r#"{"message":"the stage is closed"}"#,
            "application/json",
        ));
        let failed = present(&mut agent, &stage("D-104", "qualified"))
            .await
            .unwrap();
        let code = if status < 404 && status > 400 {
            "SYSTEM_DENIED"
        } else {
            "SYSTEM_REFUSED"
        };
        assert_eq!(
            (failed.state, failed.reason_code.as_str()),
            (i32::from(State::Failed), code),
            "{status}"
        );
        assert!(
            failed.message.contains("the stage is closed"),
            "{status}: {}",
            failed.message
        );
    }
    // How late a call may still be done is counted from when its answer was given up.
    crm.reset();
    crm.fails(Fails::Hangs(Duration::from_secs(3)));
    let given_up = present(&mut agent, &stage("D-104", "qualified"))
        .await
        .unwrap();
    assert_eq!(given_up.state, i32::from(State::InDoubt), "{given_up:?}");
    let out = super::crash::out_after(&world, &given_up).await;
    assert!(out > 1_900, "its time was two seconds: {out} ms");
    crm.fails(Fails::No);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_system_did_not_take_is_not_done() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    crm.fails(Fails::Pretends);
    let failed = present(&mut agent, &stage("D-104", "qualified"))
        .await
        .unwrap();
    assert_eq!(
        (failed.state, failed.reason_code.as_str()),
        (i32::from(State::Failed), "NOT_TAKEN"),
        "{failed:?}"
    );
    crm.fails(Fails::Normalises);
    let other = present(&mut agent, &stage("D-104", "qualified"))
        .await
        .unwrap();
    assert!(
        other.state == i32::from(State::Done) && other.wrote && other.seen_other,
        "{other:?}"
    );
    assert_eq!(
        other.changes[0].after_json.as_deref(),
        Some("\"qualified\""),
        "what we wrote is the plan"
    );
    agent.signed(&other).await;
    let undo = world.operator().await.undo(&other).await;
    assert_eq!(
        (undo.undone, undo.reason_code.as_str()),
        (false, "PRECONDITION_FAILED")
    );
    crm.reset();
    crm.fails(Fails::PersonAfter("won"));
    let ours = present(&mut agent, &stage("D-104", "qualified"))
        .await
        .unwrap();
    assert!(ours.seen_other, "{ours:?}");
    agent.signed(&ours).await;
    crm.fails(Fails::No);
    let undo = world.operator().await.undo(&ours).await;
    assert!(
        !undo.undone && undo.message.contains("now it is \"won\""),
        "{undo:?}"
    );
    assert_eq!(
        crm.field("deals", "D-104", "stage"),
        "won",
        "the person's value stays"
    );
    // A person put back what stood there: whether ours was taken over, nobody can tell.
    crm.reset();
    crm.fails(Fails::PersonAfter("new"));
    let doubt = agent.carry(&stage("D-104", "qualified")).await;
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
}

/// A write, the field that it sets, how its undo fails, and what is told of that.
type FailedUndo = (
    Wish,
    (&'static str, &'static str, &'static str),
    Fails,
    &'static str,
);

fn undos_that_fail() -> [FailedUndo; 8] {
    [
        (
            phone("+31 6 1"),
            ("contacts", "C-2", "phone"),
            Fails::IgnoresNull,
            "NOT_TAKEN",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::Pretends,
            "NOT_TAKEN",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::Instead(200, r#"{"success":false}"#, "application/json"),
            "OUTCOME_UNKNOWN",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::Instead(200, "<html>", "text/html"),
            "OUTCOME_UNKNOWN",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::Instead(422, r#"{"message":"locked"}"#, "application/json"),
            "SYSTEM_REFUSED",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::Instead(403, "{}", "application/json"),
            "SYSTEM_DENIED",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::Limits(7),
            "SYSTEM_RATE_LIMITED",
        ),
        (
            stage("D-104", "qualified"),
            ("deals", "D-104", "stage"),
            Fails::DoneBut(500),
            "OUTCOME_UNKNOWN",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn undone_means_that_the_record_shows_it() {
    let (world, crm) = world().await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    for (wish, (kind, id, field), fails, code) in undos_that_fail() {
        crm.reset();
        let before = crm.field(kind, id, field);
        let done = present(&mut agent, &wish).await.unwrap();
        agent.signed(&done).await;
        let ours = crm.field(kind, id, field);
        crm.fails(fails.clone());
        let item = operator.undo(&done).await;
        assert_eq!(
            (item.undone, item.reason_code.as_str()),
            (false, code),
            "{fails:?}: {item:?}"
        );
        if matches!(fails, Fails::Limits(_)) {
            assert!(item.message.contains("wait 7 s"), "{item:?}");
        }
        let happened = fails == Fails::DoneBut(500);
        assert_eq!(crm.field(kind, id, field) == ours, !happened, "{fails:?}");
        crm.fails(Fails::No);
        // Asking again works: at once where it failed for certain, after it was settled where it did not.
        let started = Instant::now();
        loop {
            let again = operator.undo(&done).await;
            if again.undone || again.reason_code == "ALREADY_UNDONE" {
                break;
            }
            assert_eq!(again.reason_code, "OUTCOME_UNKNOWN", "{fails:?}: {again:?}");
            assert!(started.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(crm.field(kind, id, field), before, "{fails:?}");
    }
    // Two that have looked at the same moment: one of them writes.
    crm.reset();
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    let wrote = crm.held().writes.len();
    crm.fails(Fails::HangsReading(Duration::from_millis(500)));
    let mut other = world.operator().await;
    let both = tokio::join!(operator.try_undo(&done), other.try_undo(&done));
    assert_eq!(crm.held().writes.len(), wrote + 1, "{both:?}");
    // What a person wrote right after it is not what stood there before.
    crm.reset();
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    crm.fails(Fails::PersonAfter("won"));
    let item = operator.undo(&done).await;
    assert_eq!(
        (item.undone, item.reason_code.as_str()),
        (false, "OUTCOME_UNKNOWN"),
        "{item:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_person_may_have_written_is_a_doubt_and_a_person_settles_it() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    crm.fails(Fails::Instead(500, "{}", "application/json"));
    let doubt = present(&mut agent, &stage("D-104", "qualified"))
        .await
        .unwrap();
    crm.edit("deals", "D-104", "stage", json!("qualified"));
    crm.fails(Fails::No);
    let reads = crm.held().reads;
    let started = Instant::now();
    while crm.held().reads < reads + 3 {
        assert!(
            started.elapsed() < PATIENCE,
            "it is looked at again and again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let still = found(&mut agent, &doubt.name).await;
    assert!(
        still.state == i32::from(State::InDoubt) && !still.wrote,
        "{still:?}"
    );

    let id = doubt.name.rsplit('/').next().unwrap();
    let (code, said) = run(&world, &["executions", "settle", id, "--not-applied"]);
    assert!(code != Some(0) && said.contains("--reason"), "{said}");
    let (code, said) = run(
        &world,
        &[
            "executions",
            "settle",
            id,
            "--not-applied",
            "--reason",
            "Ada set it by hand",
        ],
    );
    assert!(
        code == Some(0) && said.contains("RECONCILED_NOT_APPLIED"),
        "{said}"
    );
    let ended = found(&mut agent, &doubt.name).await;
    assert!(!ended.wrote && ended.settled_by == "ops", "{ended:?}");
    let (code, said) = run(
        &world,
        &["executions", "settle", id, "--applied", "--reason", "x"],
    );
    assert!(
        code != Some(0) && said.contains("nothing to settle"),
        "{said}"
    );
    let started = Instant::now();
    let is_told = |record: &Json| {
        record["execution_id"] == id && record["status"] == "RECONCILED_NOT_APPLIED"
    };
    while !world.records().await.iter().any(is_told) {
        assert!(started.elapsed() < PATIENCE, "it becomes a record");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_the_server_ignored_finds_nothing() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    let first = present(&mut agent, &refund("O-7", "5.00")).await.unwrap();
    assert_eq!(first.state, i32::from(State::Done));
    crm.fails(Fails::NoFilter);
    let lost = present(&mut agent, &refund("O-7", "6.00")).await.unwrap();
    // What was not asked for stands there, so this may be a page of many: nobody can tell.
    let (started, reads) = (Instant::now(), crm.held().reads);
    while crm.held().reads < reads + 3 {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let doubt = found(&mut agent, &lost.name).await;
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
    // What is not found by another file than it was written by is no proof.
    let (file, mut operator) = ("systems/sandbox.toml", world.operator().await);
    change(&world, file, "keeps = \"24h\"", "keeps = \"23h\"");
    pending(&mut operator, "refund", "system file").await;
    crm.fails(Fails::No);
    let (started, reads) = (Instant::now(), crm.held().reads);
    while crm.held().reads < reads + 4 {
        assert!(started.elapsed() < PATIENCE, "it is looked at still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let doubt = found(&mut agent, &lost.name).await;
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
    change(&world, file, "keeps = \"23h\"", "keeps = \"24h\"");
    let ended = settled(&mut agent, &lost.name, State::ReconciledNotApplied).await;
    assert!(
        !ended.wrote && crm.count("refunds") == 1,
        "an older refund is not this one"
    );
}
