//! Misuse: each must be refused with its code, leave no effect, and be a record.

use std::collections::BTreeSet;
use std::sync::Arc;

use e2e::{Actor, Asked, World, code, refund, stage};
use prost::Message as _;
use writ_proto::pb;
use writ_proto::value::args_from_json;

/// A change of a call, by the name of the field in the proto.
type Change = fn(&mut pb::ExecuteRequest);

fn args(json: &str) -> Option<pb::action_call::Arguments> {
    Some(pb::action_call::Arguments::ArgsCbor(
        args_from_json(json).unwrap().encode(),
    ))
}

fn call(request: &mut pb::ExecuteRequest) -> &mut pb::ActionCall {
    request.call.as_mut().unwrap()
}

fn target(request: &mut pb::ExecuteRequest) -> &mut pb::Target {
    call(request).target.as_mut().unwrap()
}

/// Every field of an execution that is bound, and the codes that may answer.
const MUTATIONS: &[(&str, Change, &[&str])] = &[
    (
        "ExecuteRequest.parent",
        |r| r.parent = "tenants/globex".into(),
        &["TOKEN_SCOPE_MISMATCH"],
    ),
    (
        "ExecuteRequest.request_id",
        |r| r.request_id = "no uuid".into(),
        &["REQUEST_MALFORMED"],
    ),
    (
        "ExecuteRequest.token",
        |r| r.token[60] ^= 1,
        &[
            "TOKEN_BAD_SIGNATURE",
            "TOKEN_UNKNOWN_KEY",
            "TOKEN_BAD_TYP",
            "TOKEN_MALFORMED",
        ],
    ),
    (
        "ExecuteRequest.call",
        |r| r.call = None,
        &["REQUEST_MALFORMED"],
    ),
    (
        "ExecuteRequest.run_id",
        |r| r.run_id = "not a run id".into(),
        &["REQUEST_MALFORMED"],
    ),
    (
        "ActionCall.connection",
        |r| call(r).connection = "crm/other".into(),
        &["TOKEN_SCOPE_MISMATCH"],
    ),
    (
        "ActionCall.action",
        |r| call(r).action = "set_stage".into(),
        &["TOKEN_SCOPE_MISMATCH"],
    ),
    (
        "ActionCall.target",
        |r| call(r).target = None,
        &["TOKEN_SCOPE_MISMATCH"],
    ),
    (
        "Target.type",
        |r| target(r).r#type = "deal".into(),
        &["TOKEN_SCOPE_MISMATCH"],
    ),
    (
        "Target.id",
        |r| target(r).id = "O-8".into(),
        &["TOKEN_SCOPE_MISMATCH"],
    ),
    (
        "ActionCall.args_cbor",
        |r| call(r).arguments = args(r#"{"amount":{"currency":"EUR","value":490.00}}"#),
        &["TOKEN_ARGS_MISMATCH"],
    ),
    (
        "ActionCall.args_cbor",
        |r| call(r).arguments = args(r#"{"amount":{"currency":"USD","value":49.00}}"#),
        &["TOKEN_ARGS_MISMATCH"],
    ),
    (
        "ActionCall.args_cbor",
        |r| call(r).arguments = args("{}"),
        &["TOKEN_ARGS_MISMATCH"],
    ),
    (
        "ActionCall.args_cbor",
        |r| call(r).arguments = Some(pb::action_call::Arguments::ArgsCbor(vec![0xbf, 0xff])),
        &["ARGS_NOT_CANONICAL"],
    ),
    (
        "ActionCall.args_json",
        |r| call(r).arguments = Some(pb::action_call::Arguments::ArgsJson("{}".into())),
        &["REQUEST_MALFORMED"],
    ),
    (
        "ActionCall.mode",
        |r| call(r).mode = pb::Mode::DryRun.into(),
        &["TOKEN_MODE_MISMATCH"],
    ),
    (
        "ActionCall.mode",
        |r| call(r).mode = 99,
        &["REQUEST_MALFORMED"],
    ),
    (
        "ActionCall.precondition",
        |r| call(r).precondition = Some("\"v1\"".into()),
        &["TOKEN_ARGS_MISMATCH"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_field_is_refused_and_no_field_is_forgotten() {
    let descriptors = prost_types::FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let messages = descriptors.file.iter().flat_map(|file| &file.message_type);
    let covered: BTreeSet<&str> = MUTATIONS.iter().map(|(field, ..)| *field).collect();
    for message in
        messages.filter(|m| ["ExecuteRequest", "ActionCall", "Target"].contains(&m.name()))
    {
        for field in &message.field {
            let name = format!("{}.{}", message.name(), field.name());
            assert!(
                covered.contains(name.as_str()),
                "{name} has no mutation here"
            );
        }
    }
    let world = World::start();
    world.promote(&["refund", "set_stage"]).await;
    let mut agent = world.agent().await;
    // Who names another tenant does not learn whether that one is halted.
    let mut others = world.actor("operator-globex-ops").await;
    super::halt::set(&mut others, "tenant:globex")
        .await
        .unwrap();
    for (field, change, codes) in MUTATIONS {
        let asked = agent.ask(&refund("O-7", "49.00")).await;
        let mut request = Actor::execute_request(&asked);
        change(&mut request);
        let got = agent.send(request).await.unwrap_err();
        assert!(codes.contains(&got.as_str()), "{field}: {got}");
    }
    assert!(world.effects().await.is_empty());
    let refused: Vec<_> = world.settle().await.1;
    let unchanged = agent.ask(&refund("O-7", "49.00")).await;
    assert!(
        agent.present(&unchanged).await.unwrap().wrote,
        "the control is accepted"
    );
    assert!(refused.len() >= MUTATIONS.len());
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_presented_a_thousand_times_has_one_effect() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let asked: Arc<Asked> = Arc::new(world.agent().await.ask(&refund("O-7", "1.00")).await);
    let agent = world.agent().await;
    let mut callers = Vec::new();
    for _ in 0..32 {
        let (mut agent, asked) = (agent.clone(), Arc::clone(&asked));
        callers.push(tokio::spawn(async move {
            let (mut done, mut replayed) = (0, 0);
            for _ in 0..32 {
                match agent.present(&asked).await {
                    Ok(_) => done += 1,
                    Err(code) if code == "TOKEN_REPLAYED" => replayed += 1,
                    Err(code) => panic!("{code}"),
                }
            }
            (done, replayed)
        }));
    }
    let (mut done, mut replayed) = (0, 0);
    for caller in callers {
        let (a, b) = caller.await.unwrap();
        done += a;
        replayed += b;
    }
    assert_eq!((done, replayed), (1, 1_023));
    assert_eq!(world.effects().await.len(), 1);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_is_of_no_use_to_another_certificate() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let asked = world.agent().await.ask(&stage("D-104", "qualified")).await;
    for thief in ["agent-acme-seller", "agent-globex-triage"] {
        let mut thief = world.actor(thief).await;
        assert_eq!(thief.present(&asked).await.unwrap_err(), "TOKEN_POP_FAILED");
    }
    let mut operator = world.operator().await;
    assert_eq!(
        operator.present(&asked).await.unwrap_err(),
        "AGENT_REQUIRED"
    );
    assert!(world.effects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colleague_of_the_same_tenant_sees_and_undoes_nothing() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let done = agent.carry(&stage("D-104", "qualified")).await;
    let mut colleague = world.actor("agent-acme-seller").await;
    let execution = pb::GetExecutionRequest {
        name: done.name.clone(),
    };
    let status = colleague.execute.get_execution(execution).await;
    assert_eq!(code(&status.unwrap_err()), "NOT_FOUND");
    assert_eq!(colleague.try_undo(&done).await.unwrap_err(), "NOT_FOUND");
    for (is_own, of, seen) in [
        (false, "triage", 0),
        (true, "triage", 1),
        (true, "", 1),
        (true, "seller", 0),
    ] {
        let looks = if is_own { &mut agent } else { &mut colleague };
        let list = pb::ListExecutionsRequest {
            parent: "tenants/acme".into(),
            agent: of.into(),
            ..Default::default()
        };
        let found = looks.execute.list_executions(list).await.unwrap();
        assert_eq!(found.into_inner().executions.len(), seen, "{of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_finds_nothing_and_an_agent_operates_nothing() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let done = agent.present(&asked).await.unwrap();
    let mut stranger = world.actor("agent-globex-triage").await;
    let decision = pb::GetDecisionRequest {
        name: asked.decision.name.clone(),
    };
    let status = stranger.authorize.get_decision(decision).await.unwrap_err();
    assert_eq!(code(&status), "NOT_FOUND");
    let execution = pb::GetExecutionRequest {
        name: done.name.clone(),
    };
    let status = stranger.execute.get_execution(execution).await.unwrap_err();
    assert_eq!(code(&status), "NOT_FOUND");
    let undo = pb::UndoRequest {
        name: done.name.clone(),
        reason: String::new(),
        dry_run: false,
        unsigned: false,
        request_id: String::new(),
    };
    let status = stranger.execute.undo(undo).await.unwrap_err();
    assert_eq!(code(&status), "NOT_FOUND");
    let batch = pb::BatchUndoRequest {
        parent: "tenants/acme".into(),
        run_id: "test".into(),
        ..Default::default()
    };
    let status = agent.execute.batch_undo(batch).await.unwrap_err();
    assert_eq!(code(&status), "OPERATOR_REQUIRED");
    let export = pb::ExportRecordsRequest {
        parent: "tenants/acme".into(),
        from_seq: 0,
        with_values: false,
    };
    let status = agent.records.export_records(export).await.unwrap_err();
    assert_eq!(code(&status), "OPERATOR_REQUIRED");
    let other = pb::ExportRecordsRequest {
        parent: "tenants/globex".into(),
        from_seq: 0,
        with_values: false,
    };
    let status = world
        .operator()
        .await
        .records
        .export_records(other)
        .await
        .unwrap_err();
    assert_eq!(code(&status), "NOT_FOUND");
    let report = pb::ReportOutcomesRequest { outcomes: vec![] };
    let status = agent.records.report_outcomes(report).await.unwrap_err();
    assert_eq!(code(&status), "SERVICE_REQUIRED");
    let halt = pb::SetHaltRequest {
        scope: "global".into(),
        ..pb::SetHaltRequest::default()
    };
    let status = agent.halt.set_halt(halt).await.unwrap_err();
    assert_eq!(code(&status), "OPERATOR_REQUIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crm_secret_appears_nowhere_but_in_its_sealed_file() {
    let world = World::start_with(&[("RUST_LOG", "trace")]);
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    agent.present(&asked).await.unwrap();
    world.fault("answer_lost", "1", "0");
    let asked = agent.ask(&stage("D-104", "proposal")).await;
    drop(agent.present(&asked).await);
    world.settle().await;
    let secret = std::fs::read_to_string(world.path("keys/sandbox.secret")).unwrap();
    let mut places = vec![world.export().await];
    for process in [&world.policyd, &world.connectord] {
        let process = process.as_ref().unwrap();
        places.push(process.logged().into_bytes());
        places.push(std::fs::read(format!("/proc/{}/cmdline", process.id())).unwrap());
        places.push(std::fs::read(format!("/proc/{}/environ", process.id())).unwrap());
    }
    for file in [
        "keys/credentials.json",
        "connectord.db",
        "connectord.db-wal",
        "policyd.db",
        "policyd.db-wal",
        "policyd.toml",
        "connectord.toml",
    ] {
        places.push(std::fs::read(world.path(file)).unwrap_or_default());
    }
    let found = |place: &Vec<u8>| {
        place
            .windows(secret.len())
            .any(|part| part == secret.as_bytes())
    };
    assert!(!places.iter().any(found));
    assert!(
        places.iter().map(Vec::len).sum::<usize>() > 100_000,
        "trace logs were looked through"
    );
    let config = std::fs::read_to_string(world.path("policyd.toml")).unwrap();
    assert!(!config.contains("credentials") && !config.contains("sandbox"));
}
