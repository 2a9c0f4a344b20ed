//! Halts in a real Redis with two connectords: whatever happens to it, nothing is written while
//! the state is not known, and what is known again goes on by itself.

use std::time::Instant;

use e2e::redis::{Redis, installed};
use e2e::{Actor, Asked, PATIENCE, Process, World, free_port, note};
use writ_proto::pb;

/// Two connectords over one Redis, and an agent at each.
struct Pair {
    world: World,
    redis: Redis,
    _replica: Process,
    agents: Vec<Actor>,
}

impl Pair {
    async fn start() -> Self {
        let redis = Redis::start();
        let mut world = World::prepare(&[]);
        world.overrides = vec![format!("halt.store={}", redis.url())];
        world.start_sandbox();
        world.start_policyd();
        world.start_connectord(&e2e::program("connectord"), &[]);
        let journal = format!("store.url=sqlite://{}", world.path("other.db").display());
        let kept = "halt.epoch_file=state/other-epoch".to_owned();
        let port = free_port();
        let replica = world.replica_with(port, &[journal, kept]);
        let agents = vec![
            world.agent().await,
            world.actor_at("agent-acme-triage", port).await,
        ];
        let pair = Self {
            world,
            redis,
            _replica: replica,
            agents,
        };
        pair.promote(port).await;
        pair
    }

    async fn promote(&self, port: u16) {
        self.world.promote(&["add_note"]).await;
        let mut there = self.world.actor_at("operator-acme-ops", port).await;
        let request = pb::SetActionRolloutRequest {
            name: "tenants/acme/actions/add_note".into(),
            rollout: pb::Rollout::Live.into(),
            reason: "test".into(),
            accept_unseen: true,
            ..pb::SetActionRolloutRequest::default()
        };
        there.execute.set_action_rollout(request).await.unwrap();
    }

    fn halt(&self, args: &[&str]) -> bool {
        let store = self.redis.url();
        let all = [
            &["halt"],
            args,
            &["--store", &store, "--reason", "test"][..],
        ]
        .concat();
        let output = self.world.run("connectord", &all);
        println!("{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }

    /// A writ, once policyd has heard that nothing is halted.
    async fn writ(&mut self) -> Asked {
        let started = Instant::now();
        loop {
            let asked = self.agents[0].ask(&note("D-104")).await;
            if !asked.decision.token.is_empty() {
                return asked;
            }
            assert!(started.elapsed() < PATIENCE, "{:?}", asked.decision);
        }
    }

    /// Writes at both.
    async fn works(&mut self) {
        for index in 0..2 {
            let started = Instant::now();
            loop {
                let asked = self.writ().await;
                match self.agents[index].present(&asked).await {
                    Ok(done) if done.wrote => break,
                    other => assert!(started.elapsed() < PATIENCE, "{other:?}"),
                }
            }
        }
    }

    /// Waits until both refuse with a code, and sees that nothing was written since.
    async fn refuses(&mut self, asked: &Asked, wanted: &str) {
        for index in 0..2 {
            let started = Instant::now();
            loop {
                let request = pb::GetHaltStateRequest::default();
                let state = self.agents[index].halt.get_halt_state(request).await;
                let state = state.unwrap().into_inner();
                if state.reason_code == wanted {
                    assert!(state.halted);
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "{state:?}");
            }
        }
        let before = self.world.effects().await.len();
        for agent in &mut self.agents {
            assert_eq!(agent.present(asked).await.unwrap_err(), wanted);
        }
        assert_eq!(self.world.effects().await.len(), before);
    }
}

/// What a writ is refused with once the agent's connectord has heard that a halt is over.
async fn over(agent: &mut Actor, asked: &Asked) -> String {
    let started = Instant::now();
    loop {
        let refused = agent.present(asked).await.unwrap_err();
        if refused != "HALTED" {
            return refused;
        }
        assert!(started.elapsed() < PATIENCE, "still halted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_armed_or_lost_its_data_halts_until_somebody_arms_it() {
    if !installed() {
        return;
    }
    let mut pair = Pair::start().await;
    let request = pb::GetHaltStateRequest::default();
    let state = pair.agents[0]
        .halt
        .get_halt_state(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!state.known && state.halted, "never armed");
    assert!(pair.halt(&["arm"]));
    pair.works().await;
    let asked = pair.writ().await;
    pair.redis.cut();
    pair.refuses(&asked, "HALT_UNKNOWN").await;
    // Undo and reading go on.
    let mut operator = pair.world.operator().await;
    let executions = pair.world.executions().await;
    assert!(!executions.is_empty());
    let undone = operator.undo(&executions[0]).await;
    assert_ne!(undone.reason_code, "HALT_UNKNOWN");
    pair.redis.again();
    pair.refuses(&asked, "HALT_UNKNOWN").await;
    // A halt can be set while nobody knows; arming does not lift it.
    let scope = ["--scope", "tenant:acme"];
    assert!(
        !pair.halt(&[&["on"], &scope[..]].concat()),
        "set, and not known"
    );
    assert!(pair.halt(&["arm"]));
    pair.refuses(&asked, "HALTED").await;
    assert!(pair.halt(&[&["off"], &scope[..]].concat()));
    // The epoch rose above every earlier one.
    for agent in &mut pair.agents {
        let refused = over(agent, &asked).await;
        assert!(
            ["TOKEN_REVOKED", "TOKEN_EXPIRED"].contains(&refused.as_str()),
            "{refused}"
        );
    }
    pair.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_late_or_nonsense_halts_and_is_believed_again_by_itself() {
    if !installed() {
        return;
    }
    let mut pair = Pair::start().await;
    assert!(pair.halt(&["arm"]));
    pair.works().await;
    let asked = pair.writ().await;
    pair.redis.freeze();
    pair.refuses(&asked, "HALT_UNKNOWN").await;
    pair.redis.thaw();
    pair.works().await;
    let asked = pair.writ().await;
    pair.redis.run(&["CLIENT", "PAUSE", "8000", "ALL"]);
    pair.refuses(&asked, "HALT_UNKNOWN").await;
    pair.works().await;
    let hash = "{writ}:halt";
    for (field, value) in [("flag:global", "nonsense"), ("epoch", "x"), ("other", "1")] {
        let asked = pair.writ().await;
        let kept = pair.redis.run(&["HGET", hash, field]);
        pair.redis.run(&["HSET", hash, field, value]);
        pair.refuses(&asked, "HALT_UNKNOWN").await;
        match kept.trim() {
            "" => pair.redis.run(&["HDEL", hash, field]),
            kept => pair.redis.run(&["HSET", hash, field, kept]),
        };
        pair.works().await;
    }
    // An epoch that goes back is a backup: not known, until somebody looked.
    let asked = pair.writ().await;
    pair.redis.run(&["HSET", hash, "epoch", "1"]);
    pair.refuses(&asked, "HALT_UNKNOWN").await;
    assert!(pair.halt(&["arm"]));
    pair.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_in_redis_reaches_every_connectord_and_expires() {
    if !installed() {
        return;
    }
    let mut pair = Pair::start().await;
    assert!(pair.halt(&["arm"]));
    pair.works().await;
    let asked = pair.writ().await;
    // Acknowledged by both, so both refuse from here.
    assert!(pair.halt(&["on", "--scope", "tenant:acme/agent:triage"]));
    for agent in &mut pair.agents {
        assert_eq!(agent.present(&asked).await.unwrap_err(), "HALTED");
    }
    // One that ends earlier does not end it.
    assert!(pair.halt(&["on", "--scope", "tenant:acme/agent:triage", "--for", "9s"]));
    let field = "flag:tenant:acme/agent:triage";
    let flag = pair.redis.run(&["HGET", "{writ}:halt", field]);
    assert!(flag.contains("\"until\":0"), "{flag}");
    let store = pair.redis.url();
    let drill = pair
        .world
        .run("connectord", &["halt", "drill", "--store", &store]);
    let told = String::from_utf8(drill.stdout).unwrap();
    assert!(drill.status.success() && told.contains("2 of 2"), "{told}");
    assert!(pair.halt(&["off", "--scope", "tenant:acme/agent:triage"]));
    for agent in &mut pair.agents {
        assert_eq!(over(agent, &asked).await, "TOKEN_REVOKED");
    }
    assert!(pair.halt(&["on", "--scope", "global", "--for", "2s"]));
    pair.works().await;
    let asked = pair.writ().await;
    // A flag that was made by hand, with nothing in it.
    pair.redis
        .run(&["HSET", "{writ}:halt", "flag:tenant:acme", ""]);
    let started = Instant::now();
    loop {
        let request = pb::GetHaltStateRequest::default();
        let state = pair.agents[1]
            .halt
            .get_halt_state(request)
            .await
            .unwrap()
            .into_inner();
        if state.reason_code == "HALTED" {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{state:?}");
    }
    // It kills what was issued before, whoever counted it.
    assert!(pair.halt(&["off", "--scope", "tenant:acme"]));
    for agent in &mut pair.agents {
        assert_eq!(over(agent, &asked).await, "TOKEN_REVOKED");
    }
    an_end_is_of_the_halt_that_was_read(&pair.redis);
}

/// What is ended is what was read, not a halt set anew since; and one that a hand made is counted by its end.
fn an_end_is_of_the_halt_that_was_read(redis: &Redis) {
    // A hash of its own, which no connectord tends.
    let (state, field) = ("{writ}:own", "flag:global");
    let script = include_str!("../../crates/connectord/src/halt/clear.lua");
    let get = |field| redis.run(&["HGET", state, field]).trim().to_owned();
    let end = |expected| {
        let keys = ["EVAL", script, "2", state, "{writ}:own:cleared"];
        let args = [
            "global",
            r#"{"at":100}"#,
            expected,
            r#"{"id":"hand-0"}"#,
            "9",
        ];
        redis.run(&[&keys[..], &args].concat());
        get(field)
    };
    let anew = r#"{"id":"anew"}"#;
    redis.run(&["HSET", state, "armed", "{}", field, anew]);
    assert_eq!(end("old"), anew);
    assert_eq!(end("anew"), "");
    assert_eq!(get("epoch"), "");
    redis.run(&["HSET", state, field, ""]);
    end("");
    assert_eq!(get("epoch"), "1");
    // What a hand made has got its time since it was read: no other one.
    for (counted, expected, stays) in [
        (r#"{"id":"hand-1","since":100}"#, "hand-2", true),
        (r#"{"id":"hand-1","since":101}"#, "hand-0", false),
        // One that a hand made anew since, and one that a program set.
        (r#"{"id":"hand-1","since":160}"#, "hand-0", true),
        (r#"{"id":"anew","since":100}"#, "hand-0", true),
    ] {
        redis.run(&["HSET", state, field, counted]);
        assert_eq!(end(expected), if stays { counted } else { "" }, "{counted}");
    }
}
