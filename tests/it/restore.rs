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
    // Whoever looks without a daemon is not told that nothing is halted.
    let ended = ["halt", "off", "--scope", "tenant:acme", "--reason", "over"];
    for direct in [&["halt", "status"][..], &ended] {
        let told = world.run("connectord", direct);
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        let unknown = !told.status.success() && said.contains("HALT_UNKNOWN");
        assert!(unknown, "{direct:?}: {told:?}");
    }
    let looked = world.connected(&["doctor"]).output().unwrap();
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    let unknown = !looked.status.success() && said.contains("HALT_UNKNOWN");
    assert!(unknown && !said.contains("halts: none"), "{said}");
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
    std::fs::write(&trust, new).unwrap();
    other_marks_are_told(&world);
}

/// Sees that a start which would be refused is told where something else is remembered than there is.
fn other_marks_are_told(world: &World) {
    let path = world.path("state/connectord-marks.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let in_an_hour = kept["clock_ms"].as_i64().unwrap() + 3_600_000;
    for (name, other, wanted) in [
        ("trust_digest", "00".into(), "was in force here"),
        ("clock_ms", in_an_hour.into(), "behind what this connectord"),
    ] {
        let mut marks = kept.clone();
        marks[name] = other;
        std::fs::write(&path, marks.to_string()).unwrap();
        let doctor = world.run("connectord", &["doctor"]);
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned()
            + &String::from_utf8_lossy(&doctor.stderr);
        assert!(
            said.contains("the server would not start") && said.contains(wanted),
            "{name}: {said}"
        );
    }
}

/// Waits until so many records of acme are remembered outside the database.
async fn logged(world: &World, least: u64) {
    let started = std::time::Instant::now();
    let size = || {
        let text = std::fs::read_to_string(world.path("state/policyd-marks.json")).ok()?;
        let marks: serde_json::Value = serde_json::from_str(&text).ok()?;
        let logs = marks["logs"].as_object()?.values().next()?;
        logs["acme"]["size"].as_u64()
    };
    while size().is_none_or(|size| size < least) {
        assert!(started.elapsed() < e2e::PATIENCE, "{:?}", size());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_yesterday_is_not_continued() {
    let mut world = World::start();
    world.agent().await.ask(&stage("D-104", "qualified")).await;
    world.policyd.take().unwrap().kill();
    let (database, backup) = (world.path("policyd.db"), world.path("yesterday.db"));
    copy(&database, &backup);
    world.start_policyd();
    let mut agent = world.agent().await;
    for _ in 0..3 {
        agent.ask(&stage("D-104", "proposal")).await;
    }
    logged(&world, 5).await;
    world.policyd.take().unwrap().kill();
    copy(&backup, &database);
    let start = || {
        let output = world.run(
            "policyd",
            &["server", "--set", "server.grpc_addr=127.0.0.1:0"],
        );
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = start();
    assert!(
        said.contains("STORE_RESTORED") && said.contains("policyd store accept"),
        "{said}"
    );
    assert!(
        said.contains("acme: 5 records are remembered, and the log has 2"),
        "{said}"
    );
    // While a writ of a decision that is lost may live, nobody goes on.
    let accept = ["store", "accept", "--reason", "the disk died"];
    let early = world.run("policyd", &accept);
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(
        !early.status.success() && said.contains("may be valid until"),
        "{said}"
    );
    let marks = world.path("state/policyd-marks.json");
    let text = std::fs::read_to_string(&marks).unwrap();
    let mut long_ago: serde_json::Value = serde_json::from_str(&text).unwrap();
    long_ago["clock_ms"] = 1_700_000_000_000_i64.into();
    std::fs::write(&marks, long_ago.to_string()).unwrap();
    let accepted = world.run("policyd", &accept);
    assert!(accepted.status.success(), "{accepted:?}");
    world.start_policyd();
    world.agent().await.ask(&stage("D-104", "qualified")).await;
    let kinds: Vec<String> = world
        .records()
        .await
        .iter()
        .map(|record| record["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["evaluated", "store_restored", "evaluated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_another_record_in_an_old_place_is_not_continued() {
    let mut world = World::start();
    world.agent().await.ask(&stage("D-104", "qualified")).await;
    logged(&world, 2).await;
    world.policyd.take().unwrap().kill();
    // Another database with as many records, such as that of a test.
    for ending in ["", "-wal", "-shm"] {
        let _absent = std::fs::remove_file(world.path(&format!("policyd.db{ending}")));
    }
    let marks = world.path("state/policyd-marks.json");
    let kept = std::fs::read(&marks).unwrap();
    std::fs::remove_file(&marks).unwrap();
    world.start_policyd();
    world.agent().await.ask(&stage("D-104", "qualified")).await;
    world.policyd.take().unwrap().kill();
    std::fs::write(&marks, kept).unwrap();
    let output = world.run(
        "policyd",
        &["server", "--set", "server.grpc_addr=127.0.0.1:0"],
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("STORE_RESTORED") && said.contains("another one than is remembered"),
        "{said}"
    );
}

/// Puts the tables of a backup back under a policyd that runs.
async fn put_back(world: &World, backup: &Path) {
    let url = format!("sqlite://{}", world.path("policyd.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let attach = format!("ATTACH '{}' AS old", backup.display());
    let mut sql = vec![attach, "BEGIN IMMEDIATE".to_owned()];
    for table in [
        "record",
        "log_head",
        "decision",
        "record_version",
        "outcome",
    ] {
        sql.push(format!("DELETE FROM main.{table}"));
        sql.push(format!(
            "INSERT INTO main.{table} SELECT * FROM old.{table}"
        ));
    }
    sql.push("COMMIT".to_owned());
    for one in sql {
        sqlx::query(sqlx::AssertSqlSafe(one))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_back_under_a_running_policyd_ends_all_signing() {
    let world = World::start();
    world.agent().await.ask(&stage("D-104", "qualified")).await;
    logged(&world, 2).await;
    let backup = world.path("yesterday.db");
    let url = format!("sqlite://{}", world.path("policyd.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let copy = format!("VACUUM INTO '{}'", backup.display());
    sqlx::query(sqlx::AssertSqlSafe(copy))
        .execute(&pool)
        .await
        .unwrap();
    let mut agent = world.agent().await;
    for _ in 0..3 {
        agent.ask(&stage("D-104", "proposal")).await;
    }
    logged(&world, 5).await;
    put_back(&world, &backup).await;
    let started = std::time::Instant::now();
    let said = loop {
        let request = Actor::request(&stage("D-104", "qualified"));
        match agent.authorize.authorize(request).await {
            Err(status) => break status.message().to_owned(),
            Ok(_) => assert!(started.elapsed() < e2e::PATIENCE, "nobody notices"),
        }
    };
    assert!(said.starts_with("STORE_RESTORED"), "{said}");
    let parent = "tenants/acme".to_owned();
    let head = pb::GetCheckpointRequest { parent };
    let signed = world.operator().await.records.get_checkpoint(head).await;
    assert!(signed.unwrap_err().message().starts_with("STORE_RESTORED"));
    let addr = format!("https://localhost:{}", world.policyd_port);
    let health = [
        "health",
        "--addr",
        &addr,
        "--cert",
        "certs/operator-acme-ops.pem",
    ];
    let started = std::time::Instant::now();
    while world.run("policyd", &health).status.success() {
        assert!(started.elapsed() < e2e::PATIENCE, "it says that it serves");
    }
}

#[tokio::test]
async fn a_trust_document_of_yesterday_is_not_believed() {
    let world = World::prepare(&[]);
    let ok = |args: &[&str]| {
        let output = world.run("policyd", args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let before = ok(&["keys", "ls"]);
    let old = before
        .lines()
        .find(|line| line.contains("decision"))
        .unwrap();
    let old = old.split(' ').next().unwrap().to_owned();
    ok(&["keys", "rotate", "--use", "decision"]);
    let document = world.path("keys/public.json");
    let yesterday = std::fs::read(&document).unwrap();
    ok(&["keys", "revoke", &old]);
    let free = ["server", "--set", "server.grpc_addr=127.0.0.1:0"];
    let newest = std::fs::read(&document).unwrap();
    // What revoked a key remembers that it did.
    std::fs::write(&document, &yesterday).unwrap();
    let output = world.run("policyd", &["keys", "revoke", &old]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is older than"), "{said}");
    std::fs::write(&document, &newest).unwrap();
    // A start remembers the newest one; every command and start after it refuses what is older.
    let started = world.start_policyd_once();
    drop(started);
    std::fs::write(&document, &yesterday).unwrap();
    for args in [&free[..], &["keys", "rotate", "--use", "decision"]] {
        let output = world.run("policyd", args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("TRUST_INVALID") && said.contains("is older than"),
            "{said}"
        );
    }
    std::fs::write(&document, newest).unwrap();
    ok(&["keys", "rotate", "--use", "decision"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_and_another_configuration_are_records() {
    let mut world = World::prepare(&[]);
    world.start_policyd();
    world.policyd.take().unwrap().kill();
    let rotated = world.run("policyd", &["keys", "rotate", "--use", "decision"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let path = world.path("policyd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("ttl = \"60s\"", "ttl = \"90s\"")).unwrap();
    let kinds = async |world: &World| -> Vec<String> {
        let records = world.records().await;
        let kind = |record: &serde_json::Value| record["kind"].as_str().unwrap().to_owned();
        records.iter().map(kind).collect()
    };
    world.start_policyd();
    let mut found = kinds(&world).await;
    found.sort();
    assert_eq!(found, ["config_changed", "key_added", "key_retired"]);
    let told = format!("{:?}", world.records().await);
    assert!(
        told.contains("token.ttl") && !told.contains("server.grpc_addr"),
        "{told}"
    );
    // A start that changes nothing says nothing.
    world.policyd.take().unwrap().kill();
    world.start_policyd();
    assert_eq!(kinds(&world).await.len(), 3);
}
