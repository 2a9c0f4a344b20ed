//! Halt orders wait in a bounded queue until they stand.

use super::*;

#[tokio::test]
async fn a_halt_waits_until_it_is_set_and_the_queue_is_bounded() {
    let (client, mut queue) = channel();
    let tenant = TenantId::parse("acme").unwrap();
    let set = |part| client.set(&tenant, part, "over", (Cause::Budget, "triage"));
    assert!(set(Part::All).is_err() && set(Part::Customer("x".into())).is_err());
    for _ in 0..2 {
        set(Part::Run("r-0".into())).unwrap();
    }
    assert_eq!(client.waiting().len(), 1);
    for number in 1..WAITING_MAX {
        set(Part::Run(format!("r-{number}"))).unwrap();
    }
    let full = set(Part::Run("one more".into())).unwrap_err();
    assert_eq!(full.reason, Reason::RateLimited);
    let first = queue.next().await.unwrap();
    assert_eq!(first.scope.to_string(), "tenant:acme/run:r-0");
    // So many runs at once: the next order names the agent.
    let agent = |name: &str| AgentId::parse(name).unwrap();
    assert!(client.is_crowded(&tenant, &agent("triage")));
    assert!(
        !client.is_crowded(&tenant, &agent("seller")),
        "another agent is not stopped for it"
    );
    assert!(!client.is_crowded(&TenantId::parse("globex").unwrap(), &agent("triage")));
    queue.done(&first.scope);
    assert!(!client.waiting().contains(&first.scope));
}

#[tokio::test]
async fn whoever_ordered_a_halt_for_a_limit_takes_note_once_that_it_stands() {
    let (client, mut queue) = channel();
    let tenant = TenantId::parse("acme").unwrap();
    for (by, noted) in [(Cause::Budget, true), (Cause::Incident, false)] {
        client
            .set(&tenant, Part::Agent("triage".into()), "over", (by, ""))
            .unwrap();
        let wanted = queue.next().await.unwrap();
        assert!(!client.took_note(&wanted.scope), "not before it stands");
        queue.stands(&wanted);
        assert!(client.waiting().is_empty());
        assert_eq!(client.took_note(&wanted.scope), noted);
        assert!(!client.took_note(&wanted.scope));
    }
}

#[tokio::test]
async fn what_stands_and_is_not_noted_is_bounded() {
    let (client, mut queue) = channel();
    let tenant = TenantId::parse("acme").unwrap();
    for number in 0..=WAITING_MAX {
        let part = Part::Run(format!("r-{number}"));
        client
            .set(&tenant, part, "over", (Cause::Budget, "triage"))
            .unwrap();
        let wanted = queue.next().await.unwrap();
        queue.stands(&wanted);
        assert_eq!(client.waiting(), []);
        // Without room it is not noted, and asked for again.
        if number == WAITING_MAX {
            assert!(!client.took_note(&wanted.scope));
        }
    }
}
