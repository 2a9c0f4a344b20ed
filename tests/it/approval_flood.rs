//! A flood of requests that want a person: few of an agent wait at a time, the rest is denied, and
//! what nobody decides in time is denied too.

use std::collections::BTreeMap;
use std::time::Instant;

use e2e::{Actor, PATIENCE, World, program, stage};
use writ_proto::pb;
use writ_proto::pb::batch_authorize_item::Outcome;

const BATCH: usize = 100;
const FLOOD: usize = 10_000;
/// How many may wait where the set does not say.
const WAITING: usize = 20;

fn won() -> pb::AuthorizeRequest {
    Actor::request(&stage("D-104", "won"))
}

/// How often each reason code was answered.
async fn flood(agent: &mut Actor, count: usize) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for _ in 0..count / BATCH {
        let message = pb::BatchAuthorizeRequest {
            parent: "tenants/acme".into(),
            requests: std::iter::repeat_with(won).take(BATCH).collect(),
        };
        let answer = agent.authorize.batch_authorize(message).await.unwrap();
        for item in answer.into_inner().items {
            let code = match item.outcome.unwrap() {
                Outcome::Decision(decision) => {
                    assert!(decision.token.is_empty());
                    decision.reason_code
                }
                // Of alike denials the first hundred of a minute are decisions.
                Outcome::Error(error) => error.reason_code,
            };
            *told.entry(code).or_default() += 1;
        }
    }
    told
}

async fn look(agent: &mut Actor, name: &str) -> pb::Decision {
    let request = pb::GetDecisionRequest { name: name.into() };
    let answer = agent.authorize.get_decision(request).await.unwrap();
    answer.into_inner().decision.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_leave_a_short_queue() {
    let world = World::start();
    let mut agent = world.agent().await;
    let first = agent.ask_for(won()).await.decision;
    assert_eq!(first.reason_code, "APPROVAL_REQUIRED");
    assert!(
        first.expire_time.is_some(),
        "until when a person may decide"
    );
    let only = pb::AuthorizeRequest {
        validate_only: true,
        ..won()
    };
    let only = agent.ask_for(only).await.decision;
    assert!(only.expire_time.unwrap().seconds > e2e::now_seconds());
    let told = flood(&mut agent, FLOOD).await;
    let (full, counted) = (told["APPROVAL_QUEUE_FULL"], told["RATE_LIMITED"]);
    assert_eq!(told["APPROVAL_REQUIRED"], WAITING - 1);
    assert_eq!(full + counted, FLOOD - WAITING + 1);
    assert!((100..=300).contains(&full), "{told:?}");

    // It is one agent's own queue, and what it takes back makes room for one more.
    let mut other = world.actor("agent-acme-seller").await;
    assert_eq!(
        other.ask_for(won()).await.decision.reason_code,
        "APPROVAL_REQUIRED"
    );
    let take = || pb::CancelDecisionRequest {
        name: first.name.clone(),
    };
    for _ in 0..2 {
        agent.authorize.cancel_decision(take()).await.unwrap();
    }
    let told = flood(&mut agent, BATCH).await;
    assert_eq!(
        (told["APPROVAL_REQUIRED"], told["RATE_LIMITED"]),
        (1, BATCH - 1)
    );
    // What needs no person goes on.
    assert!(
        !agent
            .ask(&stage("D-104", "qualified"))
            .await
            .decision
            .token
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_in_time_is_denied_and_makes_room() {
    let mut world = World::prepare(&[]);
    let path = world.path("policies/acme/sales.cedar");
    let rules = std::fs::read_to_string(&path)
        .unwrap()
        .replace("ttl:8h", "ttl:2s");
    std::fs::write(&path, rules).unwrap();
    let path = world.path("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        format!("{set}\n[approvals]\nwaiting_per_agent = 1\n"),
    )
    .unwrap();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    let request = won();
    let first = agent.ask_for(request.clone()).await.decision;
    assert_eq!(first.state, i32::from(pb::DecisionState::Pending));
    let second = agent.ask_for(won()).await.decision;
    assert_eq!(second.reason_code, "APPROVAL_QUEUE_FULL");

    let started = Instant::now();
    let mut seen = look(&mut agent, &first.name).await;
    while seen.state == i32::from(pb::DecisionState::Pending) {
        assert!(started.elapsed() < PATIENCE);
        seen = look(&mut agent, &first.name).await;
    }
    let denied = (i32::from(pb::Verdict::Deny), "APPROVAL_EXPIRED".to_owned());
    assert_eq!((seen.verdict, seen.reason_code), denied);
    let again = agent.ask_for(request).await.decision;
    assert_eq!(
        (again.verdict, again.reason_code),
        denied,
        "the same request"
    );
    let take = pb::CancelDecisionRequest {
        name: first.name.clone(),
    };
    let late = agent.authorize.cancel_decision(take).await.unwrap_err();
    assert_eq!(e2e::code(&late), "DECISION_FINAL");
    // Its end is a record, and then there is room again.
    loop {
        let records = world.records().await;
        let mut ends = records
            .iter()
            .filter(|record| record["kind"] == "approval_expired");
        if let Some(end) = ends.next() {
            assert_eq!(end["agent"], "triage");
            assert!(ends.next().is_none(), "{records:#?}");
            break;
        }
        assert!(started.elapsed() < PATIENCE);
    }
    let next = agent.ask_for(won()).await.decision;
    assert_eq!(next.reason_code, "APPROVAL_REQUIRED");
}
