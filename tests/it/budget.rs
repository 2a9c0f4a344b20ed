//! Budgets of a policy set: held when a writ is signed, kept when it is executed, given back when
//! it definitely was not.

use e2e::{World, refund};
use writ_proto::pb;

const BUDGET: &str = "\n[[budget]]\nid = \"few\"\nactions = [\"refund\"]\nscope = \"tenant\"\n\
                      window = \"day\"\namount = \"3.00\"\ncurrency = \"EUR\"\n";

fn verdict(asked: &e2e::Asked) -> (pb::Verdict, &str) {
    let verdict = pb::Verdict::try_from(asked.decision.verdict).unwrap();
    (verdict, &asked.decision.reason_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_held_captured_and_given_back() {
    let mut world = World::prepare(&[]);
    let path = world.path("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, set + BUDGET).unwrap();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    let first = agent.ask(&refund("O-7", "2.00")).await;
    assert_eq!(verdict(&first), (pb::Verdict::Allow, ""));
    let over = agent.ask(&refund("O-7", "2.00")).await;
    assert_eq!(verdict(&over), (pb::Verdict::Deny, "BUDGET_EXCEEDED"));
    assert!(over.decision.message.contains("few"), "{:?}", over.decision);
    assert!(over.decision.token.is_empty());
    // The first one fails for good: what it held is free again.
    world.fault("rate_limited", "1", "0");
    let failed = agent.present(&first).await.unwrap();
    assert_eq!(failed.state, i32::from(pb::ExecutionState::Failed));
    world.settle().await;
    let second = agent.ask(&refund("O-7", "2.00")).await;
    assert_eq!(verdict(&second), (pb::Verdict::Allow, ""));
    let done = agent.present(&second).await.unwrap();
    assert_eq!(done.state, i32::from(pb::ExecutionState::Done));
    world.settle().await;
    let rest = agent.ask(&refund("O-7", "1.00")).await;
    assert_eq!(verdict(&rest), (pb::Verdict::Allow, ""));
    let none = agent.ask(&refund("O-7", "0.01")).await;
    assert_eq!(verdict(&none), (pb::Verdict::Deny, "BUDGET_EXCEEDED"));
    let records = world.records().await;
    let denied = records
        .iter()
        .filter(|record| record["reasons"][0] == "BUDGET_EXCEEDED")
        .count();
    assert_eq!(denied, 2, "each refusal is a record");
    world.check_everything().await;
}
