//! Salesforce: tokens that end, picklists, writes that are refused if the record changed, composites that always answer
//! 200, and limits that are a 403.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use e2e::World;
use e2e::vendors::salesforce::{CLIENT, OPPORTUNITY, SECRET, Salesforce};
use serde_json::{Value as Json, json};
use writ_proto::pb::ExecutionState as State;

use super::super::answers::settled;
use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms, fields};
use super::super::servers::{undone, wish, world, world_with};
use super::{client, in_days, writes};

const CARDS: [(&str, &str); 3] = [
    (
        "opp_stage",
        "verb = \"set_status\"\ntarget = \"opportunity\"\n[caps]\nrecords_per_day = 500\n[args.stage]\ntype = \"choice\"\nvalues = [\"Prospecting\", \"Qualification\", \"Closed Won\", \"Retired\"]\n",
    ),
    (
        "opp_fields",
        "verb = \"update_fields\"\ntarget = \"opportunity\"\n[caps]\nrecords_per_day = 500\n[args.amount]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"100000\"\n[args.next_step]\ntype = \"text\"\nmax_chars = 100\noptional = true\n",
    ),
    (
        "opp_task",
        "verb = \"create_task\"\ntarget = \"opportunity\"\n[caps]\nrecords_per_day = 500\n[args.subject]\ntype = \"text\"\nmax_chars = 100\n[args.due]\ntype = \"date\"\nmin = \"today\"\nmax = \"today+90d\"\n",
    ),
];

fn secret() -> String {
    json!({"client_id": CLIENT, "client_secret": SECRET}).to_string()
}

pub(super) async fn started() -> (World, Salesforce) {
    let salesforce = Salesforce::start().await;
    let base = salesforce.served.base();
    let world = world("sf/main", "salesforce", base, &secret(), &CARDS);
    (world, salesforce)
}

pub(super) fn opportunity(action: &str, args: Json) -> e2e::Wish {
    wish("sf/main", action, ("opportunity", OPPORTUNITY), args)
}

/// The same with another grant.
pub(super) async fn granted(grant: &str, parts: &str, secret: &Json) -> (World, Salesforce) {
    let salesforce = Salesforce::start().await;
    let base = salesforce.served.base();
    let change = |text: String| {
        let auth = text
            .lines()
            .find(|line| line.starts_with("auth ="))
            .unwrap();
        let other =
            format!("auth = {{ oauth2 = {{ token = \"/services/oauth2/token\", {grant} }} }}");
        let text = text.replace(auth, &other);
        text.replace(
            "secret = [\"client_id\", \"client_secret\"]",
            &format!("secret = [{parts}]"),
        )
    };
    let world = world_with(
        ("sf/main", "salesforce", base),
        &secret.to_string(),
        &CARDS,
        change,
    );
    (world, salesforce)
}

/// The requests that could change something of a record.
pub(super) fn changes(salesforce: &Salesforce) -> usize {
    let all = writes(&salesforce.served).into_iter();
    all.filter(|one| !one.path.starts_with("/services/oauth2/"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn simple_salesforce_as_client_sees_what_salesforce_would_show() {
    let salesforce = Salesforce::start().await;
    let args = [&salesforce.served.base(), CLIENT, SECRET, OPPORTUNITY];
    let saw = client("salesforce_client", &args).await;
    let wanted = json!({
        "read": "Prospecting", "stamp": "+0000", "stages": ["Prospecting", "Qualification", "Closed Won"], "wrote": 204,
        "cleared": null, "task": [201, 200], "found": 1, "used": 18, "stale": "412 PRECONDITION_FAILED",
        "stage": "400 INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "field": "400 INVALID_FIELD", "missing": "404 NOT_FOUND",
        "stranger": "401 INVALID_SESSION_ID",
    });
    assert_eq!(saw, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_is_asked_for_and_the_next_one_when_it_is_not_taken() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    let stage = |stage: &str| opportunity("opp_stage", json!({ "stage": stage }));
    let done = present(&mut agent, &stage("Qualification")).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(salesforce.held().opportunity["StageName"], "Qualification");
    assert_eq!(salesforce.held().issuer.asked, ["client_credentials"]);
    // It ends between two calls: one more is asked for, and the write is made once.
    salesforce.held().issuer.end();
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(salesforce.held().issuer.asked.len(), 2);
    assert_eq!(salesforce.held().opportunity["StageName"], "Prospecting");
    // A stage that the org has no more is refused before anything is sent.
    let sent = changes(&salesforce);
    for gone in ["Retired"] {
        let mut dry = stage(gone);
        dry.mode = writ_proto::pb::Mode::DryRun;
        let dry = present(&mut agent, &dry).await.unwrap();
        assert_eq!(dry.reason_code, "SYSTEM_REFUSED", "{dry:?}");
        assert!(
            dry.message
                .contains("it has Prospecting, Qualification, Closed Won"),
            "{dry:?}"
        );
    }
    assert_eq!(changes(&salesforce), sent);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_for_another_address_is_not_shown_to_anybody() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    salesforce.held().issuer.instance = "http://127.0.0.1:1".to_owned();
    let wish = opportunity("opp_fields", json!({"amount": 2000.5}));
    let refused = present(&mut agent, &wish).await.unwrap();
    assert_eq!(refused.reason_code, "SYSTEM_DENIED", "{refused:?}");
    assert!(
        refused.message.contains("for another address"),
        "{refused:?}"
    );
    // What the issuer refused is not asked for at once again.
    let refused = present(&mut agent, &wish).await.unwrap();
    assert_eq!(refused.reason_code, "SYSTEM_DENIED", "{refused:?}");
    let (heard, asked) = (
        salesforce.served.heard(),
        salesforce.held().issuer.asked.len(),
    );
    assert_eq!((heard.len(), asked), (1, 1));
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_limited_locked_and_lost_are_told_apart_inside_a_composite() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    let wish = |amount: f64| {
        opportunity(
            "opp_fields",
            json!({"amount": amount, "next_step": "call Ada"}),
        )
    };
    let done = present(&mut agent, &wish(2000.5)).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(salesforce.held().opportunity["Amount"], 2000.5);
    salesforce.held().edit("Amount", json!(1));
    let back = undone(&world, &mut agent, &done).await;
    assert!(!back.undone, "{back:?}");
    assert_eq!(salesforce.held().opportunity["Amount"], 1);
    salesforce.held().locked = 1;
    let locked = present(&mut agent, &wish(3.0)).await.unwrap();
    assert_eq!(locked.reason_code, "SYSTEM_RATE_LIMITED", "{locked:?}");
    salesforce.held().limited = 1;
    let limited = present(&mut agent, &wish(4.0)).await.unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    assert!(
        limited.message.contains("TotalRequests Limit exceeded"),
        "{limited:?}"
    );
    assert_eq!(salesforce.held().opportunity["Amount"], 1);
    salesforce.held().fails_after = 1;
    let doubt = present(&mut agent, &wish(5.0)).await.unwrap();
    settled(&mut agent, &doubt.name, State::ReconciledApplied).await;
    assert_eq!(salesforce.held().opportunity["Amount"], 5.0);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_made_once_whatever_is_answered() {
    let (world, salesforce) = started().await;
    let mut agent = world.agent().await;
    let due = in_days(3);
    let task = opportunity("opp_task", json!({"subject": "call again", "due": due}));
    let done = present(&mut agent, &task).await.unwrap();
    assert!(done.wrote && done.created_id.starts_with("00T"), "{done:?}");
    salesforce.held().fails_after = 1;
    salesforce.held().ignores_filters = true;
    let doubt = present(&mut agent, &task).await.unwrap();
    settled(&mut agent, &doubt.name, State::ReconciledApplied).await;
    assert_eq!(salesforce.held().tasks.len(), 2);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_is_good_once_outlives_a_kill() {
    let secret =
        json!({"client_id": CLIENT, "client_secret": SECRET, "refresh_token": "refresh-0"});
    let parts = "\"client_id\", \"client_secret\", \"refresh_token\"";
    let grant = "grant = \"refresh_token\", client = \"form\"";
    let (mut world, salesforce) = granted(grant, parts, &secret).await;
    salesforce.held().issuer.refresh = "refresh-0".to_owned();
    let mut agent = world.agent().await;
    for round in 1..=3_u32 {
        let wish = opportunity("opp_fields", json!({"amount": f64::from(round)}));
        let done = present(&mut agent, &wish).await.unwrap();
        assert!(done.wrote, "{round}: {done:?}");
        let refresh = salesforce.held().issuer.refresh.clone();
        let stolen = salesforce.held().issuer.stolen;
        assert_eq!(
            (refresh.as_str(), stolen),
            (format!("refresh-{round}").as_str(), false)
        );
        // What was given is sealed by now: neither its end nor that of the process loses it.
        salesforce.held().issuer.end();
        if round == 2 {
            world.kill_connectord();
            world.start_connectord(&e2e::program("connectord"), &[]);
            agent = world.agent().await;
        }
    }
    let sealed = std::fs::read_to_string(world.path("keys/credentials.refresh.json")).unwrap();
    assert!(!sealed.contains("refresh-"), "{sealed}");
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_taken_for_its_audience_only() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
    let secret = json!({"client_id": CLIENT, "username": "ada@acme.example", "private_key": pem});
    let parts = "\"client_id\", \"username\", \"private_key\"";
    let grant =
        "grant = \"jwt_bearer\", audience = \"https://login.example\", origin = \"/instance_url\"";
    let (world, salesforce) = granted(grant, parts, &secret).await;
    salesforce.held().issuer.key = key.public_key().as_ref().to_vec();
    "https://other.example".clone_into(&mut salesforce.held().issuer.audience);
    let mut agent = world.agent().await;
    let wish = opportunity("opp_fields", json!({"amount": 7}));
    let refused = present(&mut agent, &wish).await.unwrap();
    assert_eq!(refused.reason_code, "SYSTEM_DENIED", "{refused:?}");
    assert!(
        refused.message.contains("invalid_grant: invalid assertion"),
        "{refused:?}"
    );
    "https://login.example".clone_into(&mut salesforce.held().issuer.audience);
    // A credential that is put in anew is tried at once, although the one before was refused.
    std::fs::write(world.path("keys/other.secret"), format!(" {secret}")).unwrap();
    let rotate = ["creds", "rotate", "sf/main", "--file", "keys/other.secret"];
    assert!(world.run("connectord", &rotate).status.success());
    let started = std::time::Instant::now();
    loop {
        let done = present(&mut agent, &wish).await.unwrap();
        if done.wrote {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{done:?}");
    }
    assert_eq!(salesforce.held().opportunity["Amount"], 7);
    world.settle().await;
}

pub(in super::super) async fn conforms_here() {
    let (world, _salesforce) = started().await;
    let values =
        ["Qualification", "Prospecting", "Closed Won"].map(|stage| json!({ "stage": stage }));
    let target = format!("opportunity/{OPPORTUNITY}");
    let unknown = "006Hs00000Nowhere0";
    conforms(&world, fields("opp_stage", &target, unknown, values)).await;
    let due = in_days(3);
    let args = json!({"subject": "call", "due": due});
    tokio::time::timeout(
        Duration::from_secs(600),
        conforms(&world, adds("opp_task", &target, unknown, &args)),
    )
    .await
    .unwrap();
}
