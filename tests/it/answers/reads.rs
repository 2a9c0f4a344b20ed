//! What is read, what a dry run builds, where nobody is sent, and what the file says of undo.

use std::time::{Duration, Instant};

use e2e::crm::{Crm, Fails};
use e2e::{PATIENCE, Wish, refund, stage};
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::super::rollout::present;
use super::{found, world, world_with};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_read_is_carried_as_it_is_and_what_cannot_be_read_is_named() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    for literal in [
        "0.30000000000000004",
        "18446744073709551615",
        "1e30",
        "-0.1e-40",
        r#"{"a":[1e99]}"#,
    ] {
        crm.reset();
        crm.fails(Fails::Literal("owner", literal));
        let done = present(&mut agent, &stage("D-104", "qualified"))
            .await
            .unwrap();
        assert_eq!(done.state, i32::from(State::Done), "{literal}: {done:?}");
    }
    for (fails, part) in [
        (
            Fails::Lacks("stage"),
            "field stage: the answer has nothing at /stage",
        ),
        (
            Fails::Literal("stage", "{\"id\":7}"),
            "field stage: holds {\"id\":7}",
        ),
        (Fails::Alias("D-0104"), "D-0104"),
    ] {
        crm.reset();
        crm.fails(fails.clone());
        for mode in [pb::Mode::DryRun, pb::Mode::Execute] {
            let wish = Wish {
                mode,
                ..stage("D-104", "qualified")
            };
            let failed = present(&mut agent, &wish).await.unwrap();
            let code = if matches!(fails, Fails::Alias(_)) {
                "TARGET_MISMATCH"
            } else {
                "FIELD_UNREADABLE"
            };
            assert_eq!(
                (failed.reason_code.as_str(), failed.wrote),
                (code, false),
                "{fails:?}: {failed:?}"
            );
            assert!(
                failed.message.contains(part),
                "{fails:?}: {}",
                failed.message
            );
        }
        assert_eq!(crm.field("deals", "D-104", "stage"), "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_sends_nobody_elsewhere() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    let elsewhere = Crm::start().await;
    crm.fails(Fails::Redirects(format!(
        "http://127.0.0.1:{}/refunds",
        elsewhere.port
    )));
    let paid = present(&mut agent, &refund("O-7", "5.00")).await.unwrap();
    assert_eq!(paid.state, i32::from(State::InDoubt), "{paid:?}");
    let held = elsewhere.held();
    assert!(
        held.writes.is_empty() && held.reads == 0,
        "nothing went to where it pointed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_builds_the_very_request_that_the_live_run_sends() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..refund("O-7", "5.00")
    };
    let planned = present(&mut agent, &dry).await.unwrap();
    assert!(
        planned.requests.is_empty(),
        "the system's paths are not for agents"
    );
    let mut operator = world.operator().await;
    let shown = found(&mut operator, &planned.name).await.requests;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(
        shown[0].starts_with("POST /refunds [Idempotency-Key: "),
        "{shown:?}"
    );
    present(&mut agent, &refund("O-7", "5.00")).await.unwrap();
    let sent = crm.held().writes.clone();
    let body = |line: &str| -> Json {
        serde_json::from_str(line.get(line.find('{').unwrap()..).unwrap()).unwrap()
    };
    assert_eq!(body(&shown[0]), body(&sent[0]));
    let secret = std::fs::read_to_string(world.path("keys/sandbox.secret")).unwrap();
    assert!(!shown[0].contains(secret.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_calls_not_undone_is_not_undone() {
    let (world, crm) = world_with("undo = \"restore\"", "undo = \"none\"").await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let moved = present(&mut agent, &stage("D-104", "qualified"))
        .await
        .unwrap();
    assert!(moved.wrote, "{moved:?}");
    agent.signed(&moved).await;
    let kept = operator.undo(&moved).await;
    assert_eq!(
        (kept.undone, kept.reason_code.as_str()),
        (false, "UNDO_IMPOSSIBLE"),
        "{kept:?}"
    );
    assert_eq!(crm.field("deals", "D-104", "stage"), json!("qualified"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_credential_does_not_find_is_no_proof() {
    let (world, crm) = world().await;
    let mut agent = world.agent().await;
    crm.fails(Fails::NoFilter);
    let lost = present(&mut agent, &refund("O-7", "6.00")).await.unwrap();
    let looked = async |times: usize| {
        let (started, reads) = (Instant::now(), crm.held().reads);
        while crm.held().reads < reads + times {
            assert!(started.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // The same token in another form is another credential as far as anybody can tell.
    let secret = std::fs::read_to_string(world.path("keys/sandbox.secret")).unwrap();
    let other = json!({"token": secret.trim()}).to_string();
    std::fs::write(world.path("other.secret"), other).unwrap();
    let args = ["creds", "rotate", "crm/main", "--file", "other.secret"];
    assert!(world.run("connectord", &args).status.success());
    // Until a look was made with it, nobody could tell anyway.
    looked(3).await;
    crm.fails(Fails::No);
    looked(4).await;
    let doubt = found(&mut agent, &lost.name).await;
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
}
