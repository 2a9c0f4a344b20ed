//! What a record, a request and a row say is exact: what a daemon does not know of a request is refused, a row that no
//! connectord signed becomes no record, and a decision says what it had heard.

use e2e::{Actor, World, code, stage};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, string};
use tonic::{Code, Request, Status};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::probe::Raw;

/// A field with its key, as it is sent.
fn field(tag: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(tag, &body.to_vec(), &mut out);
    out
}

fn number(tag: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(tag, WireType::Varint, &mut out);
    out.extend_from_slice(body);
    out
}

/// A message, and forms of it that say the same to who reads them carelessly.
fn forms(of: &pb::AuthorizeRequest) -> Vec<(&'static str, Vec<u8>)> {
    let exact = of.encode_to_vec();
    let call = of.call.clone().unwrap();
    let without = pb::AuthorizeRequest {
        call: None,
        ..of.clone()
    };
    let with = |more: &[u8]| {
        let inner = [call.encode_to_vec(), more.to_vec()].concat();
        [without.encode_to_vec(), field(4, &inner)].concat()
    };
    assert_eq!(
        pb::AuthorizeRequest::decode(with(&[]).as_slice()).unwrap(),
        *of,
        "the call is field 4"
    );
    let mode = |bytes: &[u8]| {
        let call = pb::ActionCall {
            mode: 0,
            ..call.clone()
        };
        let inner = [call.encode_to_vec(), number(6, bytes)].concat();
        [without.encode_to_vec(), field(4, &inner)].concat()
    };
    let after = |more: &[u8]| [exact.clone(), more.to_vec()].concat();
    let mut again = Vec::new();
    string::encode(2, &of.request_id, &mut again);
    let mut large = Vec::new();
    encode_varint(1, &mut large);
    vec![
        ("an unknown text", after(&field(900, b"approved"))),
        ("an unknown number", after(&number(901, &large))),
        ("an unknown group", after(&[0xa3, 0x38, 0xa4, 0x38])),
        (
            "an unknown fixed64",
            after(&[0xb1, 0x38, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("a field twice", after(&again)),
        (
            "a large number that would be cut to a small one",
            mode(&[0x82, 0x80, 0x80, 0x80, 0x10]),
        ),
        (
            "a number that would be cut to a negative one",
            mode(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        ("neither true nor false", after(&number(3, &[2]))),
        ("a message in two parts", after(&field(4, &[]))),
        ("an unknown field inside", with(&field(900, b"x"))),
        ("two of a choice", with(&field(4, b"{}"))),
        ("a number in too many bytes", mode(&[0x82, 0x00])),
        ("what no parser reads", after(&[0x0a, 0xff])),
    ]
}

async fn send(world: &World, port: u16, path: &'static str, body: Vec<u8>) -> Result<(), Status> {
    let channel = world.channel("agent-acme-triage", port).await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let body = Request::new(prost::bytes::Bytes::from(body));
    let path = path.parse().unwrap();
    client.unary(body, path, Raw).await.map(|_| ())
}

/// Sends several messages where the method takes one.
async fn send_all(
    world: &World,
    path: &'static str,
    bodies: Vec<prost::bytes::Bytes>,
) -> Result<(), Status> {
    let channel = world.channel("agent-acme-triage", world.policyd_port);
    let mut client = tonic::client::Grpc::new(channel.await.unwrap());
    client.ready().await.unwrap();
    let bodies = Request::new(tokio_stream::iter(bodies));
    let path = path.parse().unwrap();
    client.client_streaming(bodies, path, Raw).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_a_request_is_refused_and_recorded() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let authorize = "/writ.v1.AuthorizationService/Authorize";
    let wish = Actor::request(&stage("D-104", "qualified"));
    let all = forms(&wish);
    for (what, body) in &all {
        let refused = send(&world, world.policyd_port, authorize, body.clone()).await;
        let refused = refused.expect_err(what);
        assert_eq!(
            (code(&refused).as_str(), refused.code()),
            ("REQUEST_MALFORMED", Code::InvalidArgument),
            "{what}"
        );
        assert!(refused.metadata().get("writ-unread").is_none(), "{what}");
    }
    let exact = send(&world, world.policyd_port, authorize, wish.encode_to_vec()).await;
    exact.expect("the exact form is decided");
    // Some runtimes say what would hold anyway, and in another order.
    let other = pb::AuthorizeRequest {
        request_id: e2e::request_id(),
        ..wish.clone()
    };
    let said = [number(3, &[0]), other.encode_to_vec()].concat();
    let said = send(&world, world.policyd_port, authorize, said).await;
    said.expect("a default that is said is the same request");
    let second = pb::AuthorizeRequest {
        request_id: e2e::request_id(),
        ..wish.clone()
    };
    let two = [&second, &wish].map(|one| one.encode_to_vec().into());
    let refused = send_all(&world, authorize, two.to_vec()).await;
    assert_eq!(code(&refused.unwrap_err()), "REQUEST_MALFORMED");
    let records = world.records().await;
    let malformed = records
        .iter()
        .filter(|record| record.to_string().contains("REQUEST_MALFORMED"))
        .count();
    assert_eq!(malformed, all.len() + 1);

    let mut agent = world.agent().await;
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let request = Actor::execute_request(&asked);
    let more = [request.encode_to_vec(), field(900, b"x")].concat();
    let execute = "/writ.v1.ConnectorService/Execute";
    let refused = send(&world, world.connectord_port, execute, more).await;
    assert_eq!(code(&refused.unwrap_err()), "REQUEST_MALFORMED");
    let done = agent.send(request).await.unwrap().execution.unwrap();
    assert_eq!(done.state, i32::from(State::Done), "the writ was not spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_gets_a_writ_it_can_spend_and_spends_it_once() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut old, wish) = (
        world.agent().await,
        Actor::request(&stage("D-104", "qualified")),
    );
    let before = old.ask_for(wish.clone()).await;
    let renewed = world.run("policyd", &["init", "--certs-only"]);
    assert!(renewed.status.success(), "{renewed:?}");
    let mut new = world.agent().await;
    let after = new.ask_for(wish).await;
    assert_eq!(before.decision.name, after.decision.name);
    assert_ne!(before.decision.token, after.decision.token);
    let found = pb::GetDecisionRequest {
        name: after.decision.name.clone(),
    };
    let found = new.authorize.get_decision(found).await.unwrap();
    let found = found.into_inner().decision.unwrap();
    assert_eq!(found.token, after.decision.token, "as it is asked for");
    // Each is bound to its own certificate.
    assert_eq!(new.present(&before).await.unwrap_err(), "TOKEN_POP_FAILED");
    let done = new.present(&after).await.unwrap();
    assert_eq!(done.state, i32::from(State::Done));
    // And both are one writ.
    assert_eq!(old.present(&before).await.unwrap_err(), "TOKEN_REPLAYED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_no_connectord_signed_becomes_no_record() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let done = agent.carry(&stage("D-104", "qualified")).await;
    let (_, records) = world.settle().await;
    world.kill_connectord();
    let forged = pb::Outcome {
        outcome_id: e2e::request_id(),
        tenant: "acme".into(),
        execution_id: done.name.rsplit('/').next().unwrap().to_owned(),
        decision_id: done.decision_id.rsplit('/').next().unwrap().to_owned(),
        status: "UNDONE".into(),
        kind: pb::OutcomeKind::Undo.into(),
        ..pb::Outcome::default()
    };
    let file = world.path("connectord.db");
    let url = format!("sqlite://{}", file.display());
    let rows = sqlx::SqlitePool::connect(&url).await.unwrap();
    let id = uuid::Uuid::parse_str(&forged.outcome_id).unwrap();
    sqlx::query("INSERT INTO outbox (id, body) VALUES (?, ?)")
        .bind(id.as_bytes().to_vec())
        .bind(forged.encode_to_vec())
        .execute(&rows)
        .await
        .unwrap();
    rows.close().await;
    let foreign = |world: &World| {
        let doctor = world.run("connectord", &["doctor"]);
        let told = String::from_utf8(doctor.stdout).unwrap();
        told.contains("1 report in the journal that no connectord")
    };
    assert!(foreign(&world), "doctor counts it");
    world.start_connectord(&e2e::program("connectord"), &[]);
    let next = agent.carry(&stage("D-104", "proposal")).await;
    let mut agent = world.agent().await;
    agent.signed(&next).await;
    let now = world.records().await;
    assert!(now.len() > records.len(), "its own reports went through");
    let told = format!("{now:?}");
    assert!(
        !told.contains(&forged.outcome_id) && !told.contains("UNDONE"),
        "{told}"
    );
    world.kill_connectord();
    assert!(foreign(&world), "it is kept");
    let discard = ["journal", "discard", "--reason", "forged"];
    let dropped = world.run("connectord", &discard);
    let dropped = String::from_utf8(dropped.stdout).unwrap();
    assert!(dropped.contains(&forged.outcome_id), "{dropped}");
    assert!(!foreign(&world), "and gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_behind_a_halt_says_that_it_was_decided_before_it_was_heard() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let wish = stage("D-104", "qualified");
    let asking = tokio::spawn(async move {
        // Until it is denied, and a little beyond.
        let started = std::time::Instant::now();
        let mut denied = 0;
        while denied < 20 {
            denied += u32::from(agent.ask(&wish).await.decision.token.is_empty());
            assert!(started.elapsed() < e2e::PATIENCE);
        }
    });
    super::halt::set(&mut operator, "agent:triage")
        .await
        .unwrap();
    asking.await.unwrap();
    // connectord tells of a halt by itself, which policyd may have heard of before.
    let started = std::time::Instant::now();
    let mut records = world.settle().await.1;
    while !records.iter().any(|record| record["kind"] == "halt_set") {
        assert!(started.elapsed() < e2e::PATIENCE, "the halt is no record");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        records = world.records().await;
    }
    let moment = |record: &serde_json::Value| {
        let time = chrono::DateTime::parse_from_rfc3339(record["time"].as_str().unwrap());
        time.unwrap().timestamp_millis()
    };
    let halt = records.iter().find(|record| record["kind"] == "halt_set");
    let set_ms = moment(halt.expect("the halt is a record"));
    let heard = |record: &serde_json::Value| record["values"]["trace"][0][2].as_i64();
    // The halt has its moment before it is written, and policyd its own before it is answered.
    let slack_ms = 100;
    let (mut before, mut after) = (0, 0);
    for record in records.iter().filter(|record| heard(record).is_some()) {
        let heard_ms = heard(record).unwrap();
        // 0 while it has heard nothing at all.
        assert!((0..=moment(record)).contains(&heard_ms), "{record}");
        match record["verdict"].as_str() {
            Some("ALLOW") => {
                before += 1;
                assert!(
                    heard_ms <= set_ms + slack_ms,
                    "allowed although it was heard: {record}"
                );
            }
            _ => {
                after += 1;
                assert!(
                    heard_ms + slack_ms >= set_ms,
                    "halted by what was not set yet: {record}"
                );
            }
        }
    }
    assert!(after >= 20, "{before} allowed, {after} denied");
}
