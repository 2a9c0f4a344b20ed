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
    for _ in 0..AT_ONCE {
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
