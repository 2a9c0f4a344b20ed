//! The AuthZEN API on policyd's port: what agents get, what its samples demand, and what it never gives.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::{World, root};
use reqwest::{Certificate, Client, Identity, Response, StatusCode};
use serde_json::{Value, json};
use writ_proto::pb;
use writ_proto::value::args_from_json;

/// A client with the certificate of an identity.
fn client(world: &World, name: &str) -> Client {
    let read = |path: String| std::fs::read(world.path(&path)).unwrap();
    let mut pem = read(format!("certs/{name}.pem"));
    pem.extend(read(format!("keys/{name}-tls.pem")));
    let ca = Certificate::from_pem(&read("certs/ca.pem".into())).unwrap();
    Client::builder()
        .identity(Identity::from_pem(&pem).unwrap())
        .tls_certs_only([ca])
        .build()
        .unwrap()
}

async fn ask(world: &World, client: &Client, path: &str, body: &Value) -> Response {
    let url = format!("https://localhost:{}{path}", world.policyd_port);
    let request = client.post(url).header("x-request-id", "req-7");
    request.json(body).send().await.unwrap()
}

async fn evaluated(world: &World, client: &Client, body: &Value) -> Value {
    let answer = ask(world, client, "/access/v1/evaluation", body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-request-id"], "req-7");
    answer.json().await.unwrap()
}

fn stage(agent: &str, value: &str) -> Value {
    json!({
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "set_stage", "properties": {"arguments": {"stage": value}}},
        "resource": {"type": "deal", "id": "D-104"},
        "context": {"reason": "asked by mail", "run_id": "test", "decision_token": true},
        "future": {"nested": true},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_asks_over_json_and_executes_with_the_token_it_asked_for() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let own = client(&world, "agent-acme-triage");
    let allowed = evaluated(&world, &own, &stage("triage", "qualified")).await;
    assert_eq!(allowed["decision"], true, "{allowed}");
    assert_eq!(allowed["context"]["verdict"], "ALLOW");
    let token = allowed["context"]["decision_token"].as_str().unwrap();
    let mut agent = world.agent().await;
    let args = args_from_json(r#"{"stage":"qualified"}"#).unwrap();
    let mut call = e2e::Actor::request(&e2e::stage("D-104", "qualified"))
        .call
        .unwrap();
    call.arguments = Some(pb::action_call::Arguments::ArgsCbor(args.encode()));
    let asked = e2e::Asked {
        decision: pb::Decision {
            token: URL_SAFE_NO_PAD.decode(token).unwrap(),
            ..pb::Decision::default()
        },
        call,
        tenant: "acme".into(),
    };
    let done = agent.present(&asked).await.unwrap();
    assert_eq!(done.state(), pb::ExecutionState::Done);
    // Without being asked for, no token leaves; a denial has none, and says why.
    let mut quiet = stage("triage", "qualified");
    quiet["context"] = json!({});
    let quiet = evaluated(&world, &own, &quiet).await;
    assert!(quiet["context"].get("decision_token").is_none());
    let denied = evaluated(&world, &own, &stage("triage", "no such stage")).await;
    assert_eq!(denied["decision"], false);
    assert_eq!(denied["context"]["reason"], "INVALID_ARGUMENTS");
    // Who asks is the certificate, whatever the body says; an operator is no agent.
    let other = evaluated(&world, &own, &stage("seller", "qualified")).await;
    assert_eq!(
        (&other["decision"], &other["context"]["reason"]),
        (&json!(false), &json!("AGENT_REQUIRED"))
    );
    let operator = client(&world, "operator-acme-ops");
    let body = stage("ops", "qualified");
    let refused = ask(&world, &operator, "/access/v1/evaluation", &body).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_its_order_and_ends_as_it_says() {
    let world = World::start();
    let own = client(&world, "agent-acme-triage");
    let good = json!({"resource": {"type": "deal", "id": "D-104"}});
    let bad = json!({"resource": {"type": "order", "id": "O-7"}});
    for (semantic, wanted) in [
        ("execute_all", vec![true, false, true]),
        ("deny_on_first_deny", vec![true, false]),
        ("permit_on_first_permit", vec![true]),
    ] {
        let mut body = stage("triage", "qualified");
        body["resource"] = Value::Null;
        body.as_object_mut().unwrap().remove("resource");
        body["evaluations"] = json!([good, bad, good]);
        body["options"] = json!({"evaluations_semantic": semantic});
        let answer = ask(&world, &own, "/access/v1/evaluations", &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        let found = answer["evaluations"].as_array().unwrap().iter();
        let found: Vec<bool> = found
            .map(|one| one["decision"].as_bool().unwrap())
            .collect();
        assert_eq!(found, wanted, "{semantic}");
    }
    // One that cannot be read is refused, and on record.
    let decided = world.records().await.len();
    let many: Vec<Value> = std::iter::repeat_n(good.clone(), 101).collect();
    for (evaluations, semantic) in [
        (json!("all"), "execute_all"),
        (json!(many), "execute_all"),
        (json!([good, 7]), "execute_all"),
        (json!([good]), "some"),
    ] {
        let mut body = stage("triage", "qualified");
        body["evaluations"] = evaluations;
        body["options"] = json!({"evaluations_semantic": semantic});
        let answer = ask(&world, &own, "/access/v1/evaluations", &body).await;
        assert!(answer.status().is_client_error(), "{body}");
    }
    assert_eq!(world.records().await.len(), decided + 4);
    let url = format!(
        "https://localhost:{}/.well-known/authzen-configuration",
        world.policyd_port
    );
    let known: Value = own.get(url).send().await.unwrap().json().await.unwrap();
    let endpoint = known["access_evaluations_endpoint"].as_str().unwrap();
    assert!(endpoint.ends_with("/access/v1/evaluations"), "{known}");
}

/// Batches that are sent at the same time, of a hundred each; the rate is that of three.
const BATCHES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_costs_as_many_calls_as_it_asks_for() {
    let mut world = World::prepare(&[("POLICYD_LIMITS__AGENT_PER_SECOND", "100")]);
    world.limited = true;
    world.start_policyd();
    let triage = world.agent().await;
    let batch = || pb::BatchAuthorizeRequest {
        parent: "tenants/acme".into(),
        requests: (0..100)
            .map(|_| e2e::Actor::request(&e2e::note("D-104")))
            .collect(),
    };
    let sent: Vec<_> = (0..BATCHES)
        .map(|_| {
            let (mut agent, batch) = (triage.clone(), batch());
            tokio::spawn(async move { agent.authorize.batch_authorize(batch).await })
        })
        .collect();
    let mut refused = 0;
    for one in sent {
        if let Err(status) = one.await.unwrap() {
            assert_eq!(e2e::code(&status), "RATE_LIMITED");
            refused += 1;
        }
    }
    assert!(refused > 0, "gRPC");
    // Another agent has a rate of its own.
    let seller = client(&world, "agent-acme-seller");
    let mut body = stage("seller", "qualified");
    body["evaluations"] = json!(vec![json!({}); 100]);
    let url = format!(
        "https://localhost:{}/access/v1/evaluations",
        world.policyd_port
    );
    let sent: Vec<_> = (0..BATCHES)
        .map(|_| tokio::spawn(seller.post(&url).json(&body).send()))
        .collect();
    let mut statuses = Vec::new();
    for one in sent {
        statuses.push(one.await.unwrap().unwrap().status());
    }
    assert!(
        statuses.contains(&StatusCode::TOO_MANY_REQUESTS),
        "{statuses:?}"
    );
}

/// The requests of the certification scenario (levels Basic and Batch): its subjects are not our agent, so
/// none is permitted; what it calls malformed is 400, and everything else is an answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_specification_are_answered_as_it_demands() {
    let path = root().join("../shared/vectors/authzen/certification_scenario_1_0.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("SKIPPED: {} is not there", path.display());
        return;
    };
    let all: Value = serde_json::from_str(&text).unwrap();
    let world = World::start();
    let own = client(&world, "agent-acme-triage");
    let mut seen = (0, 0);
    for case in all["cases"].as_array().unwrap() {
        let (section, expected) = (
            case["section"].as_str().unwrap(),
            case["expected"].as_str().unwrap(),
        );
        let part = section.split("{#c-").nth(1).unwrap_or_default();
        let path = match part.split('-').next() {
            Some("2") => "/access/v1/evaluation",
            Some("3") => "/access/v1/evaluations",
            // Search is not offered.
            _ => continue,
        };
        let answer = ask(&world, &own, path, &case["request"]).await;
        let status = answer.status();
        if expected.starts_with("HTTP 400") {
            seen.0 += 1;
            assert_eq!(
                status,
                StatusCode::BAD_REQUEST,
                "{section} {}",
                case["variant"]
            );
        } else {
            seen.1 += 1;
            assert_eq!(status, StatusCode::OK, "{section} {}", case["variant"]);
            let body: Value = answer.json().await.unwrap();
            let one = vec![body.clone()];
            for one in body["evaluations"].as_array().unwrap_or(&one) {
                assert_eq!(one["decision"], false, "{section}: {body}");
            }
        }
    }
    println!("{} malformed, {} answered", seen.0, seen.1);
    assert!(seen.0 >= 10 && seen.1 >= 15, "{seen:?}");
    for (body, kind) in [
        ("{", "application/json"),
        ("{}", "text/plain"),
        (r#"{"a":1,"a":2}"#, "application/json"),
    ] {
        let url = format!(
            "https://localhost:{}/access/v1/evaluation",
            world.policyd_port
        );
        let request = own.post(url).header("content-type", kind).body(body);
        let status = request.send().await.unwrap().status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body} {kind}");
    }
}
