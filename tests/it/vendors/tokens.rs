//! Tokens of OAuth between connectord and their issuer: how often they are asked for, what an issuer can answer, and
//! that nothing it does leaves a write in doubt or loses a refresh token.

use std::time::{Duration, Instant};

use e2e::vendors::salesforce::{CLIENT, SECRET, Salesforce};
use e2e::{PATIENCE, Wish, World, program};
use serde_json::json;
use tokio::task::JoinSet;
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::super::rollout::present;
use super::salesforce::{changes, granted, opportunity, started};
use super::{in_days, writes};

/// A task of its own.
fn task(subject: &str) -> Wish {
    let due = in_days(3);
    opportunity("opp_task", json!({"subject": subject, "due": due}))
}

/// Waits until the issuer was asked so often.
async fn asked(salesforce: &Salesforce, count: usize) {
    let started = Instant::now();
    while salesforce.held().issuer.asked.len() < count {
        assert!(started.elapsed() < PATIENCE, "the issuer was not asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One call that goes on beside the test.
async fn beside(
    world: &World,
    wish: Wish,
) -> tokio::task::JoinHandle<Result<pb::Execution, String>> {
    let mut agent = world.agent().await;
    let asked = agent.ask(&wish).await;
    tokio::spawn(async move { agent.present(&asked).await })
}

/// The reason of a call that wrote nothing.
fn reason(done: Result<pb::Execution, String>) -> String {
    match done {
        Ok(done) => {
            assert!(!done.wrote, "{done:?}");
            done.reason_code
        }
        Err(code) => code,
    }
}

/// A world that renews a token with refresh tokens of which each is good once.
async fn refreshed() -> (World, Salesforce) {
    let secret =
        json!({"client_id": CLIENT, "client_secret": SECRET, "refresh_token": "refresh-0"});
    let parts = "\"client_id\", \"client_secret\", \"refresh_token\"";
    let grant = "grant = \"refresh_token\", client = \"form\", origin = \"/instance_url\"";
    let (world, salesforce) = granted(grant, parts, &secret).await;
    "refresh-0".clone_into(&mut salesforce.held().issuer.refresh);
    (world, salesforce)
}

/// The refresh tokens that were shown, each once and none of them taken for stolen.
fn shown_once(salesforce: &Salesforce, wanted: &[&str]) {
    let held = salesforce.held();
    assert_eq!(held.issuer.shown, wanted);
    assert!(!held.issuer.stolen);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_ask_for_one_token() {
    let (world, salesforce) = started().await;
    salesforce.held().issuer.slow = Duration::from_millis(500);
    let mut calls = JoinSet::new();
    for number in 0..6 {
        let call = beside(&world, task(&format!("call {number}"))).await;
        calls.spawn(async move { call.await.unwrap() });
    }
    for done in calls.join_all().await {
        let done = done.unwrap();
        assert!(done.wrote, "{done:?}");
    }
    let held = salesforce.held();
    assert_eq!((held.issuer.asked.len(), held.tasks.len()), (1, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_is_left_alone_for_a_moment_and_asked_again() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    let body = json!({"error": "temporarily_unavailable"}).to_string();
    salesforce.held().issuer.instead = Some((503, None, body));
    let began = Instant::now();
    for _ in 0..2 {
        let done = present(&mut agent, &task("call")).await;
        assert_eq!(reason(done), "SYSTEM_UNAVAILABLE");
    }
    // What came of it is kept three seconds; on a machine that is slower than that there is nothing to see.
    if began.elapsed() < Duration::from_secs(2) {
        assert_eq!(salesforce.held().issuer.asked.len(), 1);
    }
    assert_eq!(changes(&salesforce), 0);
    let before = salesforce.held().issuer.asked.len();
    salesforce.held().issuer.instead = None;
    loop {
        let done = present(&mut agent, &task("call")).await;
        if done.as_ref().is_ok_and(|done| done.wrote) {
            break;
        }
        assert_eq!(reason(done), "SYSTEM_UNAVAILABLE");
        // Sooner than one that refused.
        assert!(began.elapsed() < Duration::from_secs(20), "not asked again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let held = salesforce.held();
    assert_eq!((held.issuer.asked.len(), held.tasks.len()), (before + 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_answer_of_200_gives_a_token() {
    let stranger = Salesforce::start().await;
    let elsewhere = format!("{}/services/oauth2/token", stranger.served.base());
    for (status, wanted) in [
        (201, "SYSTEM_UNAVAILABLE"),
        (302, "SYSTEM_UNAVAILABLE"),
        (307, "SYSTEM_UNAVAILABLE"),
        (500, "SYSTEM_UNAVAILABLE"),
        (400, "SYSTEM_DENIED"),
        (401, "SYSTEM_DENIED"),
        (403, "SYSTEM_DENIED"),
        (429, "SYSTEM_DENIED"),
    ] {
        let (world, salesforce) = started().await;
        // A token that the system would take.
        let body = salesforce.held().issuer.give(false).to_string();
        let to = (300..400).contains(&status).then(|| elsewhere.clone());
        salesforce.held().issuer.instead = Some((status, to, body));
        let mut agent = world.agent().await;
        let done = present(&mut agent, &task("call")).await;
        assert_eq!(reason(done), wanted, "{status}");
        let asked = salesforce.held().issuer.asked.len();
        assert_eq!((asked, changes(&salesforce)), (1, 0), "{status}");
        assert_eq!(salesforce.served.heard().len(), 1, "{status}");
    }
    assert_eq!(stranger.served.heard().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_the_issuer_is_no_doubt() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    let done = present(&mut agent, &task("one")).await.unwrap();
    assert!(done.wrote, "{done:?}");
    // The token ends right before the write, and the answer with the next one is cut off.
    salesforce.held().ends_at_write = 1;
    salesforce.held().issuer.hangs_up = true;
    let began = Instant::now();
    let done = present(&mut agent, &task("two")).await.unwrap();
    assert!(!done.wrote, "{done:?}");
    assert_ne!(done.state, i32::from(State::InDoubt), "{done:?}");
    assert_eq!(done.reason_code, "SYSTEM_UNAVAILABLE", "{done:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{done:?}");
    let held = salesforce.held();
    assert_eq!((held.issuer.asked.len(), held.tasks.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_takes_no_token_costs_two_and_hears_a_write_twice_at_most() {
    for (everything, action) in [
        (true, "opp_task"),
        (false, "opp_task"),
        (false, "opp_fields"),
    ] {
        let (world, salesforce) = started().await;
        let mut agent = world.agent().await;
        salesforce.held().takes_no_token = everything;
        salesforce.held().takes_no_write = true;
        for round in 0..5_usize {
            let wish = match action {
                "opp_task" => task("call"),
                _ => opportunity(action, json!({"amount": round})),
            };
            let before = changes(&salesforce);
            let done = present(&mut agent, &wish).await;
            assert_eq!(
                reason(done),
                "SYSTEM_DENIED",
                "{everything} {action} {round}"
            );
            let most = match (everything, action) {
                (true, _) => 0,
                (false, "opp_task") => 2,
                // What is compared right before is not sent again so much later.
                (false, _) => 1,
            };
            let sent = changes(&salesforce) - before;
            assert!(sent <= most, "{everything} {action} {round}: {sent}");
        }
        let held = salesforce.held();
        let asked = held.issuer.asked.len();
        assert!(asked <= 2, "{everything} {action}: {asked}");
        assert!(held.tasks.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_while_a_token_is_waited_for_stops_the_second_send() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    let done = present(&mut agent, &task("one")).await.unwrap();
    assert!(done.wrote, "{done:?}");
    salesforce.held().ends_at_write = 1;
    salesforce.held().issuer.slow = Duration::from_secs(2);
    let call = beside(&world, task("two")).await;
    asked(&salesforce, 2).await;
    let halt = world.run("connectord", &["halt", "on"]);
    assert!(halt.status.success(), "{halt:?}");
    let done = call.await.unwrap();
    assert_eq!(reason(done), "HALTED");
    // One that was made, and one whose token had ended.
    let upserts = writes(&salesforce.served).into_iter();
    let upserts = upserts.filter(|one| one.path.contains("/sobjects/Task/"));
    let upserts: Vec<u16> = upserts.map(|one| one.status).collect();
    assert_eq!(upserts, [201, 401]);
    assert_eq!(salesforce.held().tasks.len(), 1);
}

/// connectord is told to end in the middle of a refresh, whose caller waits for it or has hung up.
async fn ended_in_a_refresh(waits: bool) {
    let (mut world, salesforce) = refreshed().await;
    salesforce.held().issuer.slow = Duration::from_secs(2);
    let call = beside(&world, task("one")).await;
    asked(&salesforce, 1).await;
    if !waits {
        // Nobody waits for the call, so only what is under way keeps the process.
        call.abort();
    }
    world.connectord.take().unwrap().end();
    drop(call.await);
    salesforce.held().issuer.slow = Duration::ZERO;
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    let done = present(&mut agent, &task("two")).await.unwrap();
    assert!(done.wrote, "{done:?}");
    shown_once(&salesforce, &["refresh-0", "refresh-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_under_way_at_the_end_of_a_process_is_stored() {
    ended_in_a_refresh(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_whose_caller_has_hung_up_is_stored_at_the_end_of_a_process_too() {
    ended_in_a_refresh(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_kept_although_the_token_is_for_another_address() {
    let (mut world, salesforce) = refreshed().await;
    "http://127.0.0.1:1".clone_into(&mut salesforce.held().issuer.instance);
    let mut agent = world.agent().await;
    let done = present(&mut agent, &task("one")).await;
    assert_eq!(reason(done), "SYSTEM_DENIED");
    assert_eq!(salesforce.served.heard().len(), 1);
    world.kill_connectord();
    let base = salesforce.served.base();
    salesforce.held().issuer.instance = base;
    world.start_connectord(&program("connectord"), &[]);
    agent = world.agent().await;
    let done = present(&mut agent, &task("two")).await.unwrap();
    assert!(done.wrote, "{done:?}");
    shown_once(&salesforce, &["refresh-0", "refresh-1"]);
    assert_eq!(salesforce.held().tasks.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_credential_is_not_shown_to_the_issuer() {
    let (world, salesforce) = started().await;
    salesforce.held().issuer.slow = Duration::from_secs(2);
    salesforce.held().ends_at_write = 1;
    // It is removed while the first token is under way, and the write finds that token ended.
    let call = beside(&world, task("one")).await;
    asked(&salesforce, 1).await;
    let removed = world.run("connectord", &["creds", "rm", "sf/main"]);
    assert!(removed.status.success(), "{removed:?}");
    let done = call.await.unwrap();
    let first = reason(done);
    salesforce.held().issuer.end();
    let mut agent = world.agent().await;
    let second = reason(present(&mut agent, &task("two")).await);
    for reason in [first, second] {
        let known = ["SYSTEM_DENIED", "CREDENTIAL_MISSING"].contains(&reason.as_str());
        assert!(known, "{reason}");
    }
    let held = salesforce.held();
    assert_eq!((held.issuer.asked.len(), held.tasks.len()), (1, 0));
}

/// What is told of a refusal whose description is this one.
async fn told(said: &str) -> String {
    let (world, salesforce) = started().await;
    let body = json!({"error": "invalid_client", "error_description": said}).to_string();
    salesforce.held().issuer.instead = Some((401, None, body));
    let mut agent = world.agent().await;
    let done = present(&mut agent, &task("call")).await.unwrap();
    assert_eq!(done.reason_code, "SYSTEM_DENIED", "{done:?}");
    assert!(
        done.message.contains("invalid_client: a[2J"),
        "{}",
        done.message
    );
    done.message
}

/// Nothing of a secret, not even a part.
fn is_quiet(told: &str) -> bool {
    !["s3cret", "with/colon"]
        .iter()
        .any(|part| told.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_says_is_told_without_secrets_and_in_short() {
    let told = told(&format!("a\u{1b}[2J {SECRET} {}", "x".repeat(5_000))).await;
    assert!(!told.contains(char::is_control), "{told:?}");
    assert!(told.len() < 1_000, "{}: {told}", told.len());
    assert!(is_quiet(&told), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_hidden_where_the_words_of_an_issuer_are_cut_too() {
    // Wherever they are cut, that is in the middle of a secret.
    let told = told(&format!("a\u{1b}[2J{}", SECRET.repeat(300))).await;
    assert!(told.len() < 1_000, "{}: {told}", told.len());
    assert!(is_quiet(&told), "{told}");
}
