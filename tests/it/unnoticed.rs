//! What no other test would miss: one intent is decided once, and each caller hears and says only
//! what is its own.

use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, World, code, note, refund, request_id, stage};
use writ_proto::pb;
use writ_proto::pb::incident_service_client::IncidentServiceClient;

fn alone(change: impl Fn(&World)) -> World {
    let mut world = World::prepare(&[]);
    change(&world);
    world.start_policyd();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn one_intent_is_decided_once_whatever_its_request_id_is() {
    let world = alone(|world| {
        let card = world.path("policies/acme/actions/add_note.toml");
        let text = std::fs::read_to_string(&card).unwrap();
        let intent = "\n[intent]\nby = [\"target\", \"text\"]\nwithin = \"15m\"\n";
        std::fs::write(&card, text + intent).unwrap();
    });
    let mut agent = world.agent().await;
    let first = agent.ask(&note("D-104")).await.decision;
    assert_eq!(first.reason_code, "");
    let second = agent.ask(&note("D-104")).await.decision;
    assert_eq!(second.reason_code, "DUPLICATE_INTENT");
    assert!(second.token.is_empty());
    let other = agent.ask(&note("D-88")).await.decision;
    assert_eq!(other.reason_code, "", "another record");
    let meant = pb::AuthorizeRequest {
        again: true,
        ..Actor::request(&note("D-104"))
    };
    assert_eq!(agent.ask_for(meant).await.decision.reason_code, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_a_decision_without_its_token() {
    let world = alone(|_| {});
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let asked = agent.ask(&note("D-104")).await.decision;
    assert!(!asked.token.is_empty());
    for (actor, shown) in [(&mut agent, true), (&mut operator, false)] {
        let name = asked.name.clone();
        let found = actor
            .authorize
            .get_decision(pb::GetDecisionRequest { name });
        let found = found.await.unwrap().into_inner().decision.unwrap();
        assert_eq!(!found.token.is_empty(), shown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_read_again_after_its_life() {
    let world = alone(|world| {
        let path = world.path("policyd.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let short = config.replace("ttl = \"60s\"", "ttl = \"1s\"");
        assert_ne!(short, config);
        std::fs::write(&path, short).unwrap();
    });
    let mut agent = world.agent().await;
    let asked = agent.ask(&note("D-104")).await.decision;
    let started = Instant::now();
    loop {
        let name = asked.name.clone();
        let request = pb::GetDecisionRequest { name };
        let found = agent.authorize.get_decision(request).await.unwrap();
        if found.into_inner().decision.unwrap().token.is_empty() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "it is still given");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_of_one_tenant_and_another_service_reports_no_outcomes() {
    let world = alone(|_| {});
    let mut agent = world.agent().await;
    let batch = pb::BatchAuthorizeRequest {
        parent: "tenants/globex".into(),
        requests: vec![Actor::request(&note("D-104"))],
    };
    let refused = agent.authorize.batch_authorize(batch).await.unwrap_err();
    assert_eq!(code(&refused), "REQUEST_MALFORMED");

    let outcomes = |count: usize| pb::ReportOutcomesRequest {
        outcomes: vec![pb::Outcome::default(); count],
    };
    for (name, count, wanted) in [
        ("policyd", 1, "SERVICE_REQUIRED"),
        ("connectord", 101, "REQUEST_TOO_LARGE"),
    ] {
        let mut service = world.actor(name).await;
        let refused = service.records.report_outcomes(outcomes(count)).await;
        assert_eq!(code(&refused.unwrap_err()), wanted, "{name}");
    }
    let channel = world.policyd_channel("operator-acme-ops").await;
    let refused = IncidentServiceClient::new(channel)
        .close_incident(pb::CloseIncidentRequest {
            name: format!("tenants/acme/incidents/{}", request_id()),
            reason: "x".repeat(2_001),
        })
        .await;
    assert_eq!(code(&refused.unwrap_err()), "REQUEST_TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_folder_is_gone_is_denied() {
    let world = alone(|_| {});
    let mut agent = world.agent().await;
    assert_eq!(agent.ask(&note("D-104")).await.decision.reason_code, "");
    std::fs::rename(world.path("policies/acme"), world.path("acme")).unwrap();
    let started = Instant::now();
    loop {
        let request = Actor::request(&note("D-104"));
        let answer = agent.authorize.authorize(request).await;
        let allowed =
            answer.is_ok_and(|answer| !answer.into_inner().decision.unwrap().token.is_empty());
        if !allowed {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "it is still allowed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_an_agent_names_a_rule() {
    let world = alone(|_| {});
    let mut agent = world.agent().await;
    // One that is allowed, and one that waits for a person.
    for wish in [refund("O-7", "49.00"), refund("O-9", "900.00")] {
        let asked = agent.ask(&wish).await.decision;
        let request = Actor::request(&wish);
        let mut answers = vec![asked.clone()];
        let validated = pb::AuthorizeRequest {
            validate_only: true,
            ..request.clone()
        };
        answers.push(agent.ask_for(validated).await.decision);
        let simulated = pb::SimulateAuthorizationRequest {
            request: Some(request),
            at: None,
        };
        let answer = agent.authorize.simulate_authorization(simulated).await;
        answers.extend(answer.unwrap().into_inner().decision);
        let name = asked.name.clone();
        let answer = agent
            .authorize
            .get_decision(pb::GetDecisionRequest { name });
        answers.extend(answer.await.unwrap().into_inner().decision);
        if asked.reason_code == "APPROVAL_REQUIRED" {
            let name = asked.name.clone();
            let answer = agent
                .authorize
                .cancel_decision(pb::CancelDecisionRequest { name });
            answers.extend(answer.await.unwrap().into_inner().decision);
        }
        for answer in answers {
            assert!(answer.rule_ids.is_empty(), "{answer:?}");
            if answer.reason_code == asked.reason_code {
                assert_eq!(answer.message, asked.message);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_counts_as_a_denial() {
    let world = alone(|world| {
        let path = world.path("policies/acme/set.toml");
        let set = std::fs::read_to_string(&path).unwrap();
        let rule = "\n[[incident]]\nid = \"noise\"\ndenials = 5\nwindow = \"10m\"\n\
                    halt = \"none\"\n";
        std::fs::write(&path, set + rule).unwrap();
    });
    let mut agent = world.agent().await;
    for _ in 0..5 {
        let mut wish = note("D-104");
        wish.connection = "no connection".into();
        let refused = agent.authorize.authorize(Actor::request(&wish)).await;
        assert_eq!(code(&refused.unwrap_err()), "REQUEST_MALFORMED");
    }
    let channel = world.policyd_channel("operator-acme-ops").await;
    let request = pb::ListIncidentsRequest {
        parent: "tenants/acme".into(),
        page_size: 9,
    };
    let mut client = IncidentServiceClient::new(channel);
    let found = client.list_incidents(request);
    assert_eq!(found.await.unwrap().into_inner().incidents.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_names_no_connection_and_no_type_but_the_cards() {
    let world = alone(|_| {});
    let mut agent = world.agent().await;
    let mut wish = stage("D-104", "qualified");
    wish.connection = "jane/doe".into();
    wish.target.0 = "jane_doe".into();
    agent.ask(&wish).await;
    let mut records = world.records().await;
    assert_eq!(records.len(), 1);
    // What is only committed to stands beside the leaf.
    records[0]["values"].take();
    let leaf = records[0].to_string();
    assert!(!leaf.contains("jane"), "{leaf}");
}
