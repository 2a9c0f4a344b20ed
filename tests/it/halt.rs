//! Halting and resuming: what each scope stops and what goes on, who may, who sees it, what is on
//! record, and what happens when something is gone.

use std::time::{Duration, Instant};

use e2e::{Actor, Asked, PATIENCE, Wish, World, code, free_port, refund, stage};
use serde_json::Value as Json;
use writ_proto::pb;

pub(super) async fn set(actor: &mut Actor, scope: &str) -> Result<pb::Halt, String> {
    let request = pb::SetHaltRequest {
        scope: scope.into(),
        reason: "wrong refunds".into(),
        ..pb::SetHaltRequest::default()
    };
    let answer = actor.halt.set_halt(request).await;
    answer
        .map(|answer| answer.into_inner().halt.unwrap())
        .map_err(|status| code(&status))
}

async fn clear(actor: &mut Actor, scope: &str, reason: &str) -> Result<bool, String> {
    let request = pb::ClearHaltRequest {
        scope: scope.into(),
        reason: reason.into(),
    };
    let answer = actor.halt.clear_halt(request).await;
    answer
        .map(|answer| answer.into_inner().cleared)
        .map_err(|status| code(&status))
}

async fn list(actor: &mut Actor) -> Vec<String> {
    let answer = actor
        .halt
        .list_halts(pb::ListHaltsRequest {})
        .await
        .unwrap();
    let halts = answer.into_inner().halts.into_iter();
    halts.map(|halt| halt.scope).collect()
}

/// A writ, once policyd has heard of the end of a halt.
async fn writ(agent: &mut Actor, wish: &Wish) -> Asked {
    let started = Instant::now();
    loop {
        let asked = agent.ask(wish).await;
        if !asked.decision.token.is_empty() {
            return asked;
        }
        assert!(started.elapsed() < PATIENCE, "{:?}", asked.decision);
    }
}

/// Makes the card of refunds name the customer, as both daemons read it.
fn with_customers(world: &World) {
    let path = world.path("policies/acme/actions/refund.toml");
    let card = std::fs::read_to_string(&path).unwrap();
    if !card.contains("\ncustomer = ") {
        let card = card.replace(
            "target = \"order\"",
            "target = \"order\"\ncustomer = \"customer\"",
        );
        std::fs::write(&path, card).unwrap();
    }
}

pub(super) fn up(mut world: World) -> World {
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_is_halted_while_others_go_on() {
    let world = World::prepare(&[]);
    with_customers(&world);
    let world = up(world);
    world.promote(&["refund", "set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    // Both writs are there before the halt: connectord alone can stop them.
    let (theirs, others) = (refund("O-7", "1.00"), refund("O-8", "1.00"));
    let (halted, free) = (
        writ(&mut agent, &theirs).await,
        writ(&mut agent, &others).await,
    );
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..theirs.clone()
    };
    let dry = writ(&mut agent, &dry).await;
    let halt = set(&mut operator, "customer:C-1").await.unwrap();
    assert_eq!(halt.scope, "tenant:acme/customer:C-1");
    // A dry run tells nothing of the record either.
    for asked in [&halted, &dry] {
        let failed = agent.present(asked).await.unwrap();
        assert_eq!(
            (failed.wrote, failed.reason_code.as_str()),
            (false, "HALTED")
        );
    }
    assert!(agent.present(&free).await.unwrap().wrote);
    // policyd knows the customer of the order and denies before anything is signed.
    let started = Instant::now();
    while agent.ask(&theirs).await.decision.reason_code != "HALTED" {
        assert!(started.elapsed() < PATIENCE, "policyd did not hear of it");
    }
    let told = agent.ask(&theirs).await.decision;
    assert!(
        !format!("{told:?}").contains("C-1"),
        "which customer it is: {told:?}"
    );
    assert!(!agent.ask(&others).await.decision.token.is_empty());
    clear(&mut operator, "customer:C-1", "found it")
        .await
        .unwrap();
    assert!(agent.carry(&theirs).await.wrote);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_customer_nobody_can_tell_is_halted_with_any_customer() {
    let world = World::prepare(&[]);
    let path = world.path("policies/acme/actions/set_stage.toml");
    let card = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = card
        .lines()
        .filter(|line| !line.starts_with("customer = "))
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let world = up(world);
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let asked = writ(&mut agent, &stage("D-104", "qualified")).await;
    set(&mut operator, "customer:C-9").await.unwrap();
    let failed = agent.present(&asked).await.unwrap();
    assert_eq!(
        (failed.wrote, failed.reason_code.as_str()),
        (false, "HALTED")
    );
    assert!(world.effects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_and_one_agent_are_halted_while_others_go_on() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let wish = refund("O-7", "1.00");
    let asked = writ(&mut agent, &wish).await;
    set(&mut operator, "run:test").await.unwrap();
    assert_eq!(agent.present(&asked).await.unwrap_err(), "HALTED");
    // A writ does not leave the run that it was asked for in, and another run goes on.
    let in_other = |asked: &Asked| pb::ExecuteRequest {
        run_id: "other".into(),
        ..Actor::execute_request(asked)
    };
    let refused = agent.send(in_other(&asked)).await.unwrap_err();
    assert_eq!(refused, "TOKEN_SCOPE_MISMATCH");
    let request = pb::AuthorizeRequest {
        run_id: "other".into(),
        ..Actor::request(&wish)
    };
    let asked = agent.ask_for(request).await;
    let done = agent.send(in_other(&asked)).await.unwrap();
    assert!(done.execution.unwrap().wrote);
    // Another agent's halt stops nothing here, and the own one everything.
    set(&mut operator, "agent:seller").await.unwrap();
    let ask = pb::GetHaltStateRequest {
        run_id: "other".into(),
        ..pb::GetHaltStateRequest::default()
    };
    let state = agent
        .halt
        .get_halt_state(ask.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(state.known && !state.halted, "{state:?}");
    set(&mut operator, "agent:triage").await.unwrap();
    let state = agent.halt.get_halt_state(ask).await.unwrap().into_inner();
    assert_eq!((state.halted, state.reason_code.as_str()), (true, "HALTED"));
    // Who halted it and why is for people.
    let by = state.by.unwrap();
    assert_eq!(
        (by.scope.as_str(), by.reason.as_str(), by.by.as_str()),
        ("tenant:acme/agent:triage", "", "")
    );
    // Before the token is looked at: garbage is told HALTED.
    let garbage = pb::ExecuteRequest {
        token: vec![1; 64],
        ..Actor::execute_request(&asked)
    };
    assert_eq!(agent.send(garbage).await.unwrap_err(), "HALTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_halts_his_own_tenant_and_sees_nothing_of_others() {
    let mut world = World::prepare(&[]);
    world.overrides = vec!["halt.global_operators=[\"acme/ops\"]".into()];
    let world = up(world);
    let mut ours = world.operator().await;
    let mut theirs = world.actor("operator-globex-ops").await;
    // What he types is his own tenant's.
    set(&mut theirs, "agent:triage").await.unwrap();
    assert_eq!(list(&mut theirs).await, ["tenant:globex/agent:triage"]);
    // Who may end every halt sees every one.
    assert_eq!(list(&mut ours).await, ["tenant:globex/agent:triage"]);
    let mut agent = world.agent().await;
    let state = pb::GetHaltStateRequest::default();
    let seen = agent.halt.get_halt_state(state).await.unwrap().into_inner();
    assert!(!seen.halted && seen.halts.is_empty());
    for (scope, refused) in [
        ("global", "GLOBAL_OPERATOR_REQUIRED"),
        ("tenant:*/agent:triage", "GLOBAL_OPERATOR_REQUIRED"),
        ("tenant:acme", "NOT_FOUND"),
        ("tenant:acme/agent:triage", "NOT_FOUND"),
        ("tenant:nosuch", "NOT_FOUND"),
        ("planet:earth", "REQUEST_MALFORMED"),
    ] {
        assert_eq!(
            set(&mut theirs, scope).await.unwrap_err(),
            refused,
            "{scope}"
        );
        let cleared = clear(&mut theirs, scope, "x").await;
        assert_eq!(cleared.unwrap_err(), refused, "{scope}");
    }
    // Those whom the configuration names reach every tenant that there is.
    for scope in ["global", "tenant:*/agent:triage", "tenant:globex"] {
        set(&mut ours, scope).await.unwrap();
    }
    assert_eq!(
        set(&mut ours, "tenant:nosuch").await.unwrap_err(),
        "UNKNOWN_TENANT"
    );
    set(&mut ours, "run:r-1").await.unwrap();
    let seen = list(&mut theirs).await;
    let all = [
        "global",
        "agent:triage",
        "tenant:globex",
        "tenant:globex/agent:triage",
    ];
    assert_eq!(seen.len(), all.len(), "{seen:?}");
    let every = list(&mut ours).await;
    assert!(
        every.contains(&"tenant:acme/run:r-1".to_owned()),
        "{every:?}"
    );
    assert_eq!(every.len(), all.len() + 1, "{every:?}");
    assert_eq!(
        clear(&mut theirs, "global", "x").await.unwrap_err(),
        "GLOBAL_OPERATOR_REQUIRED"
    );
    assert_eq!(
        clear(&mut ours, "global", " ").await.unwrap_err(),
        "REQUEST_MALFORMED"
    );
    assert!(clear(&mut ours, "global", "all is well").await.unwrap());
    assert!(!clear(&mut ours, "global", "again").await.unwrap());
}

/// Kind, scope, operator and reason of each halt on record.
async fn halts(world: &World) -> Vec<(String, String, String, String)> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let line = |record: &Json| {
        let values = &record["values"];
        let cut = record["halt"].as_str()?;
        let scope = values["scope"].as_str().unwrap_or(cut).to_owned();
        let (by, note) = (text(&values["by"]), text(&values["note"]));
        Some((text(&record["kind"]), scope, by, note))
    };
    world.records().await.iter().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_halt_is_one_record_with_scope_operator_and_reason() {
    let world = World::start();
    // Two more connectords would tell the same: a second one with a journal of its own.
    let journal = format!("sqlite://{}", world.path("other.db").display());
    let other = World::replica_with(&world, free_port(), &[format!("store.url={journal}")]);
    let mut operator = world.operator().await;
    set(&mut operator, "agent:triage").await.unwrap();
    clear(&mut operator, "agent:triage", "mended")
        .await
        .unwrap();
    std::fs::write(world.path("state/halt/tenant:acme"), "").unwrap();
    set(&mut operator, "customer:C-1").await.unwrap();
    let expected = 4;
    let started = Instant::now();
    loop {
        let told = halts(&world).await;
        if told.len() >= expected {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Long enough for every connectord to have delivered what it saw: a later act is on record.
    let late = world.run(
        "connectord",
        &[
            "halt",
            "on",
            "--scope",
            "tenant:acme/run:late",
            "--reason",
            "last",
        ],
    );
    assert!(late.status.success());
    let started = Instant::now();
    let told = loop {
        let told = halts(&world).await;
        if told
            .iter()
            .any(|(_, scope, ..)| scope == "tenant:acme/run:late")
        {
            break told;
        }
        assert!(started.elapsed() < PATIENCE, "{told:?}");
    };
    let count = |kind: &str, scope: &str, by: &str, reason: &str| {
        let same = |line: &&(String, String, String, String)| {
            (
                line.0.as_str(),
                line.1.as_str(),
                line.2.as_str(),
                line.3.as_str(),
            ) == (kind, scope, by, reason)
        };
        told.iter().filter(same).count()
    };
    let agent = "tenant:acme/agent:triage";
    assert_eq!(
        count("halt_set", agent, "acme/ops", "wrong refunds"),
        1,
        "{told:?}"
    );
    assert_eq!(
        count("halt_cleared", agent, "acme/ops", "mended"),
        1,
        "{told:?}"
    );
    assert_eq!(count("halt_set", "tenant:acme", "", ""), 1, "{told:?}");
    let customer = "tenant:acme/customer:C-1";
    assert_eq!(
        count("halt_set", customer, "acme/ops", "wrong refunds"),
        1,
        "{told:?}"
    );
    // Without the values the leaves name neither the customer nor the operator nor the reason.
    let leaves = String::from_utf8(world.export().await).unwrap();
    assert!(leaves.contains("tenant:acme/customer:(committed)"));
    for word in ["customer:C-1", "acme/ops", "wrong refunds", "run:late"] {
        assert!(!leaves.contains(word), "{word}");
    }
    drop(other);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn halting_and_undoing_work_while_policyd_is_dead() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let done = agent.carry(&stage("D-104", "qualified")).await;
    let open = writ(&mut agent, &stage("D-104", "proposal")).await;
    agent.signed(&done).await;
    world.policyd.take().unwrap().kill();
    // Whose record it is an undo does not look up: the halt of any customer stops an agent.
    set(&mut operator, "customer:C-9").await.unwrap();
    assert_eq!(agent.undo(&done).await.reason_code, "HALTED");
    clear(&mut operator, "customer:C-9", "found it")
        .await
        .unwrap();
    set(&mut operator, "tenant:acme").await.unwrap();
    assert_eq!(agent.present(&open).await.unwrap_err(), "HALTED");
    let drill = world.run("connectord", &["halt", "drill"]);
    assert!(
        drill.status.success(),
        "{}",
        String::from_utf8_lossy(&drill.stdout)
    );
    assert!(operator.undo(&done).await.undone);
    assert_eq!(world.effects().await.len(), 2);
    clear(&mut operator, "tenant:acme", "found it")
        .await
        .unwrap();
    assert_eq!(agent.present(&open).await.unwrap_err(), "TOKEN_REVOKED");
    world.start_policyd();
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_with_an_end_ends_and_is_on_record() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let on = [
        "halt",
        "on",
        "--scope",
        "tenant:acme",
        "--for",
        "2s",
        "--reason",
        "pause",
    ];
    assert!(world.run("connectord", &on).status.success());
    let before = agent
        .halt
        .get_halt_state(pb::GetHaltStateRequest::default())
        .await;
    assert!(before.unwrap().into_inner().halted);
    assert!(agent.carry(&stage("D-104", "qualified")).await.wrote);
    let started = Instant::now();
    while world.path("state/halt/tenant:acme").exists() {
        assert!(started.elapsed() < PATIENCE, "nobody removed it");
    }
    let started = Instant::now();
    loop {
        let told = halts(&world).await;
        let over = |line: &(String, String, String, String)| {
            line.0 == "halt_cleared" && line.3 == "its time was over"
        };
        if told.iter().any(over) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_name_is_halted_and_said_to_be_odd() {
    let world = World::start();
    let mut agent = world.agent().await;
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..stage("D-104", "qualified")
    };
    let asked = agent.ask(&dry).await;
    agent.present(&asked).await.unwrap();
    let addr = format!("https://localhost:{}", world.connectord_port);
    let cert = "certs/operator-acme-ops.pem";
    for (typed, meant) in [
        ("action:set_stge", Some("set_stage")),
        ("connection:crm/mian", Some("crm/main")),
        ("agent:triagee", None),
        ("action:set_stage", None),
        ("agent:triage", None),
    ] {
        let args = [
            "halt", "on", "--scope", typed, "--reason", "test", "--addr", &addr, "--cert", cert,
        ];
        let halted = tokio::task::block_in_place(|| world.run("connectord", &args));
        let said = String::from_utf8(halted.stdout).unwrap();
        let word = if meant.is_some() { "SET " } else { "HALTED " };
        assert!(said.starts_with(word), "{typed}: {said}");
        let odd = meant.is_some() || typed == "agent:triagee";
        assert_eq!(said.contains("WARNING"), odd, "{typed}: {said}");
        assert!(
            meant.is_none_or(|meant| said.contains(meant)),
            "{typed}: {said}"
        );
    }
    // Neither is a store that nobody uses taken for the one that is meant.
    let elsewhere = format!("file://{}", world.path("state/hlat").display());
    let args = ["halt", "on", "--store", &elsewhere, "--reason", "test"];
    let halted = tokio::task::block_in_place(|| world.run("connectord", &args));
    let said = String::from_utf8(halted.stdout).unwrap();
    assert!(said.contains("no connectord uses the store"), "{said}");
    assert_eq!(halted.status.code(), Some(1), "{said}");
}
