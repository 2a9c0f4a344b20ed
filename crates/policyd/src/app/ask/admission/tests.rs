//! One agent takes no turn of another, and what waits is bounded.

use futures_util::FutureExt as _;

use super::*;

fn agent(name: &str) -> (TenantId, AgentId) {
    (
        TenantId::parse("acme").unwrap(),
        AgentId::parse(name).unwrap(),
    )
}

#[tokio::test]
async fn one_agent_takes_no_turn_of_another_and_what_waits_is_bounded() {
    let admission = Admission::default();
    let (tenant, busy) = agent("busy");
    let mut turns = Vec::new();
    for _ in 0..ALONE {
        turns.push(admission.turn(&tenant, &busy).await.unwrap());
    }
    let mut waiting = Vec::new();
    for _ in 0..WAITING_MAX {
        let mut turn = Box::pin(admission.turn(&tenant, &busy));
        assert!((&mut turn).now_or_never().is_none());
        waiting.push(turn);
    }
    let refused = admission.turn(&tenant, &busy).await.unwrap_err();
    assert_eq!(refused.reason, Reason::RateLimited);
    let (_, other) = agent("other");
    drop(
        admission
            .turn(&tenant, &other)
            .now_or_never()
            .unwrap()
            .unwrap(),
    );
    // A turn that ends is the next one's; calls that are cancelled leave nothing behind.
    drop(turns.pop());
    assert!(waiting[0].as_mut().now_or_never().unwrap().is_ok());
    drop(waiting);
    drop(turns);
    assert!(admission.shares().is_empty());
}

#[tokio::test]
async fn an_agent_beside_others_has_fewer_turns_than_one_that_is_alone() {
    let admission = Admission::default();
    let (tenant, busy) = agent("busy");
    let (_, other) = agent("other");
    let mut turns = vec![admission.turn(&tenant, &busy).await.unwrap()];
    drop(admission.turn(&tenant, &other).await.unwrap());
    for _ in 0..AT_ONCE {
        turns.push(admission.turn(&tenant, &busy).await.unwrap());
    }
    let mut more = Box::pin(admission.turn(&tenant, &busy));
    assert!((&mut more).now_or_never().is_none());
    // The other one is not held up, and a turn that ends is taken.
    drop(admission.turn(&tenant, &other).await.unwrap());
    drop(turns.pop());
    assert!(more.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn a_tenant_with_many_agents_leaves_room_to_others() {
    let admission = Admission::default();
    let (tenant, _) = agent("a");
    let agents: Vec<AgentId> = (0..=TENANT_AT_ONCE / AT_ONCE)
        .map(|index| agent(&format!("agent-{index}")).1)
        .collect();
    drop(admission.turn(&tenant, &agents[0]).await.unwrap());
    let mut turns = Vec::new();
    for index in 0..TENANT_AT_ONCE {
        let one = &agents[1 + index % (agents.len() - 1)];
        turns.push(admission.turn(&tenant, one).await.unwrap());
    }
    assert!(admission.turn(&tenant, &agents[0]).now_or_never().is_none());
    let globex = TenantId::parse("globex").unwrap();
    assert!(admission.turn(&globex, &agents[0]).now_or_never().is_some());
}
