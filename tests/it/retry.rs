//! A late retry gets the first outcome: an identical call whose answer was lost is never told
//! "refused" for what changed since, because its caller would ask again and write twice.

use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, World, code, refund, stage};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

/// Writs that live for a second, and no leeway.
pub(super) fn short_lived(world: &mut World) {
    let file = world.path("policyd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let now = regex::Regex::new("(?m)^ttl = .*$")
        .unwrap()
        .replace(&text, "ttl = \"1s\"")
        .into_owned();
    assert_ne!(now, text, "policyd.toml names the life of a writ");
    std::fs::write(file, now).unwrap();
    world.overrides.push("trust.max_clock_skew=1s".into());
}

type Change = fn(&mut pb::ExecuteRequest);

async fn lost(agent: &mut Actor, wish: &e2e::Wish) -> pb::ExecuteRequest {
    let asked = agent.ask(wish).await;
    let request = Actor::execute_request(&asked);
    let first = agent.send(request.clone()).await.unwrap();
    assert_eq!(first.execution.unwrap().state, i32::from(State::Done));
    request
}

/// The same call again: its outcome, and no second effect.
async fn same(agent: &mut Actor, request: &pb::ExecuteRequest, why: &str) {
    let again = agent.send(request.clone()).await;
    let again = again.unwrap_or_else(|refused| panic!("{why}: {refused}"));
    assert!(again.replayed, "{why}");
    assert_eq!(
        again.execution.unwrap().state,
        i32::from(State::Done),
        "{why}"
    );
}

/// Another call with the same token is refused, and by what it is refused.
async fn other(agent: &mut Actor, request: &pb::ExecuteRequest) -> String {
    let other = pb::ExecuteRequest {
        request_id: e2e::request_id(),
        ..request.clone()
    };
    agent.send(other).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_the_writ_expired_a_halt_or_a_demotion_gets_the_first_outcome() {
    let mut world = World::prepare(&[]);
    short_lived(&mut world);
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world.promote(&["refund", "set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let paid = lost(&mut agent, &refund("O-7", "49.00")).await;
    let moved = lost(&mut agent, &stage("D-104", "qualified")).await;

    let started = Instant::now();
    while other(&mut agent, &paid).await != "TOKEN_EXPIRED" {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    same(&mut agent, &paid, "the writ has expired").await;

    let halt = pb::SetHaltRequest {
        scope: "tenant:acme".into(),
        reason: "test".into(),
        ..pb::SetHaltRequest::default()
    };
    operator.halt.set_halt(halt).await.unwrap();
    assert_eq!(other(&mut agent, &paid).await, "HALTED");
    same(&mut agent, &paid, "a halt came").await;
    same(&mut agent, &moved, "a halt came").await;
    let clear = pb::ClearHaltRequest {
        scope: "tenant:acme".into(),
        reason: "test".into(),
    };
    operator.halt.clear_halt(clear).await.unwrap();
    same(
        &mut agent,
        &paid,
        "the halt revoked what was signed before it",
    )
    .await;

    let demote = pb::SetActionRolloutRequest {
        name: "tenants/acme/actions/refund".into(),
        rollout: pb::Rollout::DryRun.into(),
        reason: "test".into(),
        ..pb::SetActionRolloutRequest::default()
    };
    operator.execute.set_action_rollout(demote).await.unwrap();
    same(&mut agent, &paid, "the action was demoted").await;
    std::fs::remove_file(world.path("policies/acme/actions/refund.toml")).unwrap();
    world.kill_connectord();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let mut agent = world.agent().await;
    same(
        &mut agent,
        &paid,
        "the card is gone and connectord was restarted",
    )
    .await;
    assert_eq!(world.effects().await.len(), 2, "one effect each");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_very_same_call_of_the_same_agent_gets_it() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    let paid = lost(&mut agent, &refund("O-7", "49.00")).await;
    let halt = pb::SetHaltRequest {
        scope: "tenant:acme".into(),
        reason: "test".into(),
        ..pb::SetHaltRequest::default()
    };
    world.operator().await.halt.set_halt(halt).await.unwrap();
    let changes: [(&str, Change); 6] = [
        ("another request id", |call| {
            call.request_id = e2e::request_id()
        }),
        ("another run", |call| call.run_id = "other".into()),
        ("another amount", |call| {
            let args =
                writ_proto::value::args_from_json(r#"{"amount":{"currency":"EUR","value":1}}"#)
                    .unwrap();
            call.call.as_mut().unwrap().arguments =
                Some(pb::action_call::Arguments::ArgsCbor(args.encode()));
        }),
        ("another record", |call| {
            call.call.as_mut().unwrap().target.as_mut().unwrap().id = "O-8".into()
        }),
        ("another mode", |call| {
            call.call.as_mut().unwrap().mode = pb::Mode::DryRun.into()
        }),
        ("another token", |call| {
            let last = call.token.len() - 1;
            call.token[last] ^= 1;
        }),
    ];
    for (what, change) in changes {
        let mut changed = paid.clone();
        change(&mut changed);
        assert_eq!(agent.send(changed).await.unwrap_err(), "HALTED", "{what}");
    }
    let mut colleague = world.actor("agent-acme-seller").await;
    assert_eq!(colleague.send(paid.clone()).await.unwrap_err(), "HALTED");
    same(&mut agent, &paid, "the very same call").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_an_undo_gets_its_first_outcome() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let done = agent.present(&asked).await.unwrap();
    agent.signed(&done).await;
    let undo = pb::UndoRequest {
        name: done.name.clone(),
        reason: "test".into(),
        request_id: e2e::request_id(),
        ..pb::UndoRequest::default()
    };
    let first = operator
        .execute
        .undo(undo.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(first.item.unwrap().undone && !first.replayed);
    world.person_edits("deals/D-104", "stage=won");
    let again = operator
        .execute
        .undo(undo.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(
        again.replayed && again.item.unwrap().undone,
        "the first outcome"
    );
    let fresh = pb::UndoRequest {
        request_id: e2e::request_id(),
        ..undo.clone()
    };
    let fresh = operator.execute.undo(fresh).await.unwrap().into_inner();
    assert_eq!(fresh.item.unwrap().reason_code, "ALREADY_UNDONE");
    let odd = pb::UndoRequest {
        request_id: "x".into(),
        ..undo
    };
    assert_eq!(
        code(&operator.execute.undo(odd).await.unwrap_err()),
        "REQUEST_MALFORMED"
    );
    assert_eq!(
        world
            .effects()
            .await
            .iter()
            .filter(|effect| effect["by"] == "connectord")
            .count(),
        2
    );
}
