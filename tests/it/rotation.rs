//! Keys that change while agents work: no writ is refused, and a revoked key is believed no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::{Actor, Asked, PATIENCE, Wish, World, note};
use writ_proto::pb;

/// The keys that sign decisions, by status.
fn keys(world: &World) -> Vec<(String, String)> {
    let output = world.run("policyd", &["keys", "ls", "-o", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &serde_json::Value, name: &str| key[name].as_str().unwrap().to_owned();
    let decides = listed.iter().filter(|key| key["use"] == "decision");
    decides
        .map(|key| (text(key, "kid"), text(key, "status")))
        .collect()
}

fn is_of(asked: &Asked, kid: &str) -> bool {
    let kid = hex::decode(kid).unwrap();
    let token = &asked.decision.token;
    token.windows(kid.len()).any(|part| part == kid)
}

const PACE: Duration = Duration::from_millis(10);

/// A dry run, as often as one likes.
fn wish() -> Wish {
    Wish {
        mode: pb::Mode::DryRun,
        ..note("D-104")
    }
}

/// Asks and executes until it is told to end; what was refused.
async fn work(mut agent: Actor, end: Arc<AtomicBool>, done: Arc<AtomicU32>) -> Vec<String> {
    let mut refused = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let asked = agent.ask(&wish()).await;
        match agent.present(&asked).await {
            Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
            Err(code) => refused.push(code),
        }
        tokio::time::sleep(PACE).await;
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_and_revoked_under_load_and_no_writ_is_refused() {
    let world = World::start();
    let old = keys(&world).remove(0).0;
    let mut agent = world.agent().await;
    let end = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU32::new(0));
    let working = work(world.agent().await, Arc::clone(&end), Arc::clone(&done));
    let working = tokio::spawn(working);
    let before = agent.ask(&wish()).await;
    assert!(is_of(&before, &old));

    let rotated =
        tokio::task::block_in_place(|| world.run("policyd", &["keys", "rotate", "--after", "2s"]));
    assert!(rotated.status.success(), "{rotated:?}");
    let found = keys(&world);
    assert_eq!(found.len(), 2);
    assert!(
        found.contains(&(old.clone(), "retiring".to_owned())),
        "{found:?}"
    );
    let new = found.iter().find(|(_, status)| status == "active");
    let new = new.unwrap().0.clone();
    let started = Instant::now();
    while !is_of(&agent.ask(&wish()).await, &new) {
        assert!(started.elapsed() < PATIENCE, "the new key signs nothing");
    }
    // The old key signs no more, and what it signed is believed until it is revoked.
    agent.present(&before).await.unwrap();
    let end_of_old = world.run("policyd", &["keys", "revoke", &old]);
    assert!(end_of_old.status.success(), "{end_of_old:?}");
    // connectord looks at the document every second, and goes on.
    let (revoked, looked) = (done.load(Ordering::Relaxed), Instant::now());
    while done.load(Ordering::Relaxed) < revoked + 100 {
        assert!(looked.elapsed() < PATIENCE && !working.is_finished());
        tokio::time::sleep(PACE).await;
    }
    end.store(true, Ordering::Relaxed);
    let refused = working.await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");

    let kinds: Vec<String> = world
        .records()
        .await
        .iter()
        .filter_map(|record| record["kind"].as_str().map(str::to_owned))
        .filter(|kind| kind.starts_with("key_"))
        .collect();
    for kind in ["key_added", "key_retired", "key_revoked"] {
        assert!(kinds.contains(&kind.to_owned()), "{kind}: {kinds:?}");
    }
}

/// Writs of the old key, presented over three seconds.
const OLD: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_revoked_key_is_executed() {
    let world = World::start();
    let document = world.path("keys/public.json");
    let mut earlier = vec![std::fs::read(&document).unwrap()];
    let old = keys(&world).remove(0).0;
    let mut agent = world.agent().await;
    let mut before = Vec::new();
    for _ in 0..OLD {
        before.push(agent.ask(&wish()).await);
    }
    for args in [
        &["keys", "rotate", "--after", "1s"][..],
        &["keys", "revoke", &old],
    ] {
        let output = tokio::task::block_in_place(|| world.run("policyd", args));
        assert!(output.status.success(), "{output:?}");
        earlier.push(std::fs::read(&document).unwrap());
    }
    // connectord looks at the trust document every second.
    let mut refused = Vec::new();
    for asked in &before {
        if let Err(code) = agent.present(asked).await {
            refused.push(code);
        } else {
            assert!(refused.is_empty(), "executed after {refused:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refused.len() >= OLD / 3, "{refused:?}");
    assert!(
        refused.iter().all(|code| code == "TOKEN_UNKNOWN_KEY"),
        "{refused:?}"
    );
    let [first, rotated, newest] = earlier.try_into().unwrap();
    put_back(&world, [&first, &rotated, &newest]).await;
}

/// Under a running policyd: a document in which a revoked key still verifies, and one that does not know its key.
async fn put_back(world: &World, [first, rotated, newest]: [&Vec<u8>; 3]) {
    let document = world.path("keys/public.json");
    let policyd = world.policyd.as_ref().unwrap();
    let looked = Instant::now();
    let is_revoked = |record: &serde_json::Value| record["kind"] == "key_revoked";
    while !world.records().await.iter().any(is_revoked) {
        assert!(looked.elapsed() < PATIENCE, "the newest is not in force");
    }
    std::fs::write(&document, rotated).unwrap();
    let looked = Instant::now();
    while !policyd.logged().contains("is older than") {
        assert!(looked.elapsed() < PATIENCE, "an older one is in force");
        tokio::time::sleep(PACE).await;
    }
    let addr = format!("https://localhost:{}", world.policyd_port);
    let cert = "certs/operator-acme-ops.pem";
    let health = ["health", "--addr", &addr, "--cert", cert];
    for (text, serves) in [(first, false), (newest, true)] {
        std::fs::write(&document, text).unwrap();
        let looked = Instant::now();
        while world.run("policyd", &health).status.success() != serves {
            assert!(looked.elapsed() < PATIENCE, "it serves: {}", !serves);
        }
    }
}
