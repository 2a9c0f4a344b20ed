//! A prober learns nothing, becomes an incident and is stopped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, World, refund};
use writ_proto::pb;
use writ_proto::pb::incident_service_client::IncidentServiceClient;

pub(crate) const PROBING: &str = "\n[[incident]]\nid = \"probing\"\nactions = [\"refund\"]\ndenials = 5\n\
                       window = \"10m\"\nhalt = \"agent\"\n";

pub(crate) fn world(set: &str) -> World {
    let mut world = World::prepare(&[]);
    let path = world.path("policies/acme/set.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + set).unwrap();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world
}

async fn incidents(world: &World) -> Vec<pb::Incident> {
    let channel = world.policyd_channel("operator-acme-ops").await;
    let request = pb::ListIncidentsRequest {
        parent: "tenants/acme".into(),
        page_size: 100,
    };
    let mut client = IncidentServiceClient::new(channel);
    let answer = client.list_incidents(request);
    answer.await.unwrap().into_inner().incidents
}

async fn opened(world: &World) -> pb::Incident {
    let started = Instant::now();
    loop {
        if let Some(incident) = incidents(world).await.pop() {
            return incident;
        }
        assert!(started.elapsed() < PATIENCE, "no incident");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn run(world: &World, args: &[&str]) -> String {
    let addr = format!("https://127.0.0.1:{}", world.policyd_port);
    let mut all = args.to_vec();
    all.extend(["--addr", &addr, "--cert", "certs/operator-acme-ops.pem"]);
    let output = world.run("policyd", &all);
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_limits() {
    let world = world(PROBING);
    let mut agent = world.agent().await;
    let (mut low, mut high) = (1_u32, 60_000);
    let (mut told, mut denied, mut halted) = (BTreeSet::new(), 0, 0);
    for step in 0..1_000 {
        // Bisects the limit of an order of 600 euros, and begins again when it is done.
        if high - low < 2 {
            (low, high) = (1 + step % 7, 60_000 - step % 11);
        }
        let amount = low.midpoint(high);
        let asked = refund("O-6", &format!("{}.{:02}", amount / 100, amount % 100));
        let answer = agent.authorize.authorize(Actor::request(&asked)).await;
        let decision = match answer {
            Ok(answer) => answer.into_inner().decision.unwrap(),
            // What is denied so often is only counted.
            Err(status) => {
                assert_eq!(e2e::code(&status), "RATE_LIMITED");
                told.insert((
                    "RATE_LIMITED".into(),
                    status.message().into(),
                    String::new(),
                ));
                halted += 1;
                continue;
            }
        };
        match decision.verdict() {
            pb::Verdict::Allow => low = amount,
            _ => high = amount,
        }
        match decision.reason_code.as_str() {
            "NOT_PERMITTED" => denied += 1,
            "HALTED" => halted += 1,
            _ => {}
        }
        assert!(decision.rule_ids.is_empty() && decision.counter_offer.is_none());
        told.insert((decision.reason_code, decision.message, decision.remedy));
    }
    assert_eq!(denied, 5, "the fifth denial stops the agent");
    assert!(halted > 900, "{halted}");
    for (code, message, remedy) in &told {
        let digits = |text: &str| text.chars().any(|sign| sign.is_ascii_digit());
        let role = code == "APPROVAL_REQUIRED";
        assert!(
            !digits(message) && (role || !digits(remedy)),
            "{code} {message} {remedy}"
        );
    }
    assert!(told.len() <= 5, "one answer for each code: {told:#?}");
    let found = incidents(&world).await;
    assert_eq!(found.len(), 1, "once a window, not for each denial");
    assert_eq!((found[0].denials, found[0].agent.as_str()), (5, "triage"));
    assert_eq!(found[0].reason_codes, ["NOT_PERMITTED"]);
    let records = world.records().await;
    let opened = records
        .iter()
        .filter(|record| record["kind"] == "incident_opened");
    assert_eq!(opened.count(), 1);
    let known = records.iter().any(|record| {
        let rules = record["rules"].as_array().unwrap();
        rules.iter().any(|rule| rule == "refund-small")
    });
    assert!(known, "the record has the whole reason");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_shown_and_closed_by_a_record_and_only_once() {
    let world = world(&PROBING.replace("\"agent\"", "\"none\""));
    let mut agent = world.agent().await;
    for _ in 0..6 {
        agent.ask(&refund("O-6", "300.00")).await;
    }
    let incident = opened(&world).await;
    let id = incident.name.rsplit('/').next().unwrap().to_owned();
    let listed = run(&world, &["incidents", "ls", "--open"]);
    assert!(
        listed.contains(&id) && listed.contains("no halt"),
        "{listed}"
    );
    let empty = run(&world, &["incidents", "close", &id, "--reason", " "]);
    assert!(empty.contains("a reason is required"), "{empty}");
    let closed = run(&world, &["incidents", "close", &id, "--reason", "a test"]);
    assert!(
        closed.contains("closed") && closed.contains("acme/ops: a test"),
        "{closed}"
    );
    let again = run(&world, &["incidents", "close", &id, "--reason", "a test"]);
    assert!(again.contains("ALREADY_CLOSED"), "{again}");
    let shown = run(&world, &["incidents", "show", &id]);
    assert!(shown.contains("5 denials in 600 s by probing"), "{shown}");
    let started = Instant::now();
    while !run(&world, &["notices", "ls"]).contains("no sink is configured") {
        assert!(started.elapsed() < PATIENCE, "the notice waits");
    }
    let records = world.records().await;
    let kinds: Vec<_> = records
        .iter()
        .filter(|record| record["record_id"] == id.as_str())
        .map(|record| (record["kind"].as_str().unwrap(), record["version"].as_u64()))
        .collect();
    assert_eq!(
        kinds,
        [("incident_opened", Some(1)), ("incident_closed", Some(2))]
    );
    // It is counted anew: what was before the end of the incident opens no other.
    let open = || run(&world, &["incidents", "ls", "--open"]);
    for denial in 1..=5 {
        assert!(!open().contains("probing"), "after {denial} denials");
        agent.ask(&refund("O-6", "300.00")).await;
    }
    assert!(open().contains("probing"));
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_tokens_count_and_those_of_another_tenant_do_not() {
    let world = world(PROBING);
    let mut foreign = world.actor("agent-globex-triage").await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&refund("O-7", "1.00")).await;
    let mut request = Actor::execute_request(&asked);
    request.token = vec![1; 64];
    for _ in 0..6 {
        assert_eq!(
            foreign.send(request.clone()).await.unwrap_err(),
            "TOKEN_MALFORMED"
        );
    }
    world.settle().await;
    let refused = |records: &[serde_json::Value]| {
        let refused = records
            .iter()
            .filter(|record| record["kind"] == "token_refused");
        refused.count()
    };
    assert_eq!(
        refused(&world.records().await),
        0,
        "not in the log of another tenant"
    );
    assert!(
        incidents(&world).await.is_empty(),
        "an agent of another tenant"
    );
    for _ in 0..5 {
        assert_eq!(
            agent.send(request.clone()).await.unwrap_err(),
            "TOKEN_MALFORMED"
        );
    }
    let incident = opened(&world).await;
    assert_eq!(incident.reason_codes, ["TOKEN_MALFORMED"]);
    let started = Instant::now();
    loop {
        let decision = agent.ask(&refund("O-7", "1.00")).await.decision;
        if decision.reason_code == "HALTED" {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "not stopped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_without_a_record_counts_too() {
    let world = world(PROBING);
    let mut agent = world.agent().await;
    for step in 0..5 {
        let mut request = Actor::request(&refund("O-6", "300.00"));
        if step % 2 == 0 {
            request.validate_only = true;
            agent.authorize.authorize(request).await.unwrap();
        } else {
            let request = pb::SimulateAuthorizationRequest {
                request: Some(request),
                at: None,
            };
            agent
                .authorize
                .simulate_authorization(request)
                .await
                .unwrap();
        }
    }
    assert_eq!(incidents(&world).await.len(), 1);
    let decision = agent.ask(&refund("O-7", "1.00")).await.decision;
    assert_eq!(decision.reason_code, "HALTED");
    let records = world.records().await;
    assert_eq!(
        records.len(),
        2,
        "the incident and the halted request: {records:#?}"
    );
}
