//! A store that was put back is noticed at the start, and nothing is done with it until a person says
//! so; time that went back revives nothing.

use std::path::Path;

use e2e::{Actor, World, program, stage};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

/// The files of a journal.
fn copy(from: &Path, to: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let name = |path: &Path| format!("{}{ending}", path.display());
        let _absent = std::fs::remove_file(name(to));
        if Path::new(&name(from)).exists() {
            std::fs::copy(name(from), name(to)).unwrap();
        }
    }
}

/// Waits until what was done is remembered outside the journal.
async fn remembered(world: &World, id: &str) {
    let started = std::time::Instant::now();
    let marks = world.path("state/connectord-marks.json");
    while !std::fs::read_to_string(&marks).is_ok_and(|text| text.contains(id)) {
        assert!(started.elapsed() < e2e::PATIENCE, "{id}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn refuses(world: &World) -> String {
    let free = "server.grpc_addr=127.0.0.1:0";
    let output = world.run("connectord", &["server", "--set", free]);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_yesterday_executes_no_writ_again() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let request = Actor::execute_request(&asked);
    world.kill_connectord();
    let (journal, backup) = (world.path("connectord.db"), world.path("backup.db"));
    copy(&journal, &backup);
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    let done = agent
        .send(request.clone())
        .await
        .unwrap()
        .execution
        .unwrap();
    assert_eq!(done.state, i32::from(State::Done));
    remembered(&world, done.name.rsplit('/').next().unwrap()).await;
    world.kill_connectord();
    copy(&backup, &journal);

    let said = refuses(&world);
    assert!(
        said.contains("STORE_RESTORED") && said.contains("connectord journal accept"),
        "{said}"
    );
    let accept = ["journal", "accept", "--reason", "the disk died"];
    let accepted = world.run("connectord", &accept);
    assert!(accepted.status.success(), "{accepted:?}");
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    let fresh = agent.ask(&stage("D-104", "proposal")).await;
    let fresh = agent.present(&fresh).await.unwrap_err();
    assert_eq!(fresh, "DRY_RUN_ONLY", "every action is a dry run again");
    world.promote(&["set_stage"]).await;
    let again = agent.send(request).await.unwrap_err();
    assert_eq!(again, "TOKEN_REVOKED", "and writs of before are dead");
    assert_eq!(world.effects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demotion_is_not_undone_by_a_backup() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    world.kill_connectord();
    let (journal, backup) = (world.path("connectord.db"), world.path("backup.db"));
    copy(&journal, &backup);
    world.start_connectord(&program("connectord"), &[]);
    let mut operator = world.operator().await;
    let demote = pb::SetActionRolloutRequest {
        name: "tenants/acme/actions/set_stage".into(),
        rollout: pb::Rollout::DryRun.into(),
        reason: "test".into(),
        ..pb::SetActionRolloutRequest::default()
    };
    operator.execute.set_action_rollout(demote).await.unwrap();
    remembered(&world, "\"moves\":2").await;
    world.kill_connectord();
    copy(&backup, &journal);
    let said = refuses(&world);
    assert!(said.contains("actions were moved"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn halts_and_keys_of_yesterday_are_not_believed() {
    let mut world = World::start();
    let trust = world.path("keys/public.json");
    let old = std::fs::read_to_string(&trust).unwrap();
    let mut operator = world.operator().await;
    super::halt::set(&mut operator, "tenant:acme")
        .await
        .unwrap();
    world.kill_connectord();
    for entry in std::fs::read_dir(world.path("state/halt")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    if !asked.decision.token.is_empty() {
        let halted = agent.present(&asked).await.unwrap_err();
        assert_eq!(halted, "HALT_UNKNOWN");
    }
    let armed = world.run("connectord", &["halt", "arm", "--reason", "looked at it"]);
    assert!(armed.status.success(), "{armed:?}");

    let rotated = world.run("policyd", &["keys", "rotate", "--use", "decision"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let version = |text: &str| -> u64 {
        let found = regex::Regex::new("\"version\": *([0-9]+)").unwrap();
        found.captures(text).unwrap()[1].parse().unwrap()
    };
    let new = std::fs::read_to_string(&trust).unwrap();
    assert!(version(&new) > version(&old));
    remembered(&world, &format!("\"trust\":{}", version(&new))).await;
    world.kill_connectord();
    std::fs::write(&trust, old).unwrap();
    let said = refuses(&world);
    assert!(
        said.contains("TRUST_INVALID") && said.contains("was in force here"),
        "{said}"
    );
}
