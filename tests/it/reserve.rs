//! A disk that is almost full: agents are refused, what must go on goes on.

use e2e::{Actor, World, note, program};
use writ_proto::pb;

/// More than any disk has.
const NO_ROOM: &str = "reserve_mb = 4294967295";

/// Makes a daemon take the disk for almost full from its next start on.
fn fill(world: &World, file: &str) {
    let path = world.path(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("reserve_mb = 256"), "{file}");
    std::fs::write(&path, text.replace("reserve_mb = 256", NO_ROOM)).unwrap();
}

fn health(world: &World, (name, port): (&str, u16)) -> Option<i32> {
    let addr = format!("https://localhost:{port}");
    let args = [
        "health",
        "--addr",
        &addr,
        "--cert",
        "certs/agent-acme-triage.pem",
    ];
    world.run(name, &args).status.code()
}

#[tokio::test(flavor = "multi_thread")]
async fn connectord_writes_nothing_and_undoes_halts_and_answers() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&e2e::stage("D-104", "qualified")).await;
    let request = Actor::execute_request(&asked);
    let first = agent
        .send(request.clone())
        .await
        .unwrap()
        .execution
        .unwrap();
    agent.signed(&first).await;
    world.kill_connectord();
    fill(&world, "connectord.toml");
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;

    let fresh = agent.ask(&note("D-104")).await;
    assert_eq!(agent.present(&fresh).await.unwrap_err(), "DISK_RESERVE");
    let preview = pb::PreviewRequest {
        parent: "tenants/acme".into(),
        token: fresh.decision.token.clone(),
        call: Some(fresh.call.clone()),
        run_id: "test".into(),
    };
    let preview = agent.execute.preview(preview).await.unwrap_err();
    assert_eq!(e2e::code(&preview), "DISK_RESERVE");
    // The very same call as before gets its outcome.
    let again = agent.send(request).await.unwrap().execution.unwrap();
    assert_eq!(again.name, first.name);
    let undone = agent.undo(&first).await;
    assert!(undone.undone, "{undone:?}");
    let halted = world.run(
        "connectord",
        &["halt", "on", "--scope", "tenant:acme", "--reason", "x"],
    );
    let said = String::from_utf8_lossy(&halted.stdout).into_owned();
    assert!(said.contains("HALTED tenant:acme"), "{said}");
    let port = world.connectord_port;
    assert_eq!(health(&world, ("connectord", port)), Some(5));
    assert_eq!(world.effects().await.len(), 2, "the write and its undo");
    let doctor = world.run("connectord", &["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("agents are refused below"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policyd_decides_nothing_and_takes_reports_and_answers_operators() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let request = Actor::request(&e2e::stage("D-104", "qualified"));
    let asked = agent.ask_for(request.clone()).await;
    world.policyd.take().unwrap().kill();
    fill(&world, "policyd.toml");
    world.start_policyd();
    let mut agent = world.agent().await;

    let refused = agent.authorize.authorize(Actor::request(&note("D-104")));
    assert_eq!(e2e::code(&refused.await.unwrap_err()), "DISK_RESERVE");
    let unreadable = pb::AuthorizeRequest {
        call: None,
        ..Actor::request(&note("D-104"))
    };
    let unreadable = agent.authorize.authorize(unreadable).await.unwrap_err();
    assert_eq!(e2e::code(&unreadable), "DISK_RESERVE");
    let used = pb::ReportUsageRequest {
        parent: "tenants/acme".into(),
        request_id: e2e::request_id(),
        agent: String::new(),
        run_id: String::new(),
        tokens: 1,
        usd_micros: 0,
    };
    let used = agent.budgets.report_usage(used).await.unwrap_err();
    assert_eq!(e2e::code(&used), "DISK_RESERVE");
    let simulated = pb::SimulateAuthorizationRequest {
        request: Some(Actor::request(&note("D-104"))),
        at: None,
    };
    let simulated = agent.authorize.simulate_authorization(simulated).await;
    assert_eq!(e2e::code(&simulated.unwrap_err()), "DISK_RESERVE");
    // What was decided before is answered.
    let again = agent.ask_for(request).await;
    assert_eq!(
        (&again.decision.name, &again.decision.token),
        (&asked.decision.name, &asked.decision.token)
    );
    // A writ of before is executed, and its report becomes a record.
    let done = agent.present(&asked).await.unwrap();
    agent.signed(&done).await;
    let told = format!("{:?}", world.records().await);
    assert!(told.contains("\"result\""), "{told}");
    let port = world.policyd_port;
    assert_eq!(health(&world, ("policyd", port)), Some(5));
    let own = format!("server.grpc_addr=127.0.0.1:{port}");
    let doctor = world.run("policyd", &["doctor", "--set", &own]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(2), "{said}");
    assert!(
        said.contains("DISK_RESERVE") && said.contains("policyd runs at"),
        "{said}"
    );
}
