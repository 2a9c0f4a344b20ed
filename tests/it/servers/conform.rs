//! The conformance table of every system that is shipped or tested, each against the real server.

use e2e::World;
use serde_json::{Value as Json, json};

use super::super::roundup::Desk;
use super::super::vendors;
use super::kinto::Kinto;
use super::localstripe::Stripe;
use super::table::table;
use super::tryton::Tryton;

/// Cases that every table has, whether they can be tried or not.
const CASES: usize = 45;

/// Runs the table; prints it, and gives the cases that were not tried.
pub(in super::super) async fn conforms(world: &World, args: Vec<String>) -> Vec<String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let command = [&["conform", "-o", "jsonl"], args.as_slice()].concat();
    let command = world.connected(&command);
    let ran = tokio::process::Command::from(command).output().await;
    let ran = ran.unwrap();
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    let rows: Vec<Json> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failed: Vec<&Json> = rows
        .iter()
        .filter(|row| row["verdict"] == "FAILS")
        .collect();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && failed.is_empty(),
        "{args:?}: {failed:#?} {said}"
    );
    let cases = rows.iter().filter(|row| row["case"].is_string());
    assert_eq!(cases.count(), CASES, "{out}");
    println!("connectord conform {}\n{out}", args.join(" "));
    let not_here = rows.iter().filter(|row| row["verdict"] == "not here");
    not_here
        .map(|row| row["case"].as_str().unwrap().to_owned())
        .collect()
}

/// The arguments for a verb that writes fields.
pub(in super::super) fn fields(
    action: &str,
    target: &str,
    missing: &str,
    values: [Json; 3],
) -> Vec<String> {
    let [args, from, edit] = values.map(|value| value.to_string());
    let all = [
        action,
        "--target",
        target,
        "--missing",
        missing,
        "--args",
        &args,
        "--from",
        &from,
        "--edit",
        &edit,
    ];
    all.map(str::to_owned).to_vec()
}

/// The arguments for a verb that adds something.
pub(in super::super) fn adds(
    action: &str,
    target: &str,
    missing: &str,
    args: &Json,
) -> Vec<String> {
    let args = args.to_string();
    let all = [
        action,
        "--target",
        target,
        "--missing",
        missing,
        "--args",
        &args,
    ];
    all.map(str::to_owned).to_vec()
}

async fn the_sandbox_conforms() {
    let world = World::start();
    let stages = ["qualified", "new", "proposal"].map(|stage| json!({ "stage": stage }));
    let left = conforms(&world, fields("set_stage", "deal/D-104", "D-999", stages)).await;
    assert!(
        left.iter()
            .all(|case| !case.contains("undo") && !case.contains("edit"))
    );
    let amount = |value: u32| json!({"amount": {"currency": "EUR", "value": value}});
    let mut refund = adds("refund", "order/O-7", "O-99", &amount(1));
    refund.extend(["--over".to_owned(), amount(900).to_string()]);
    let left = conforms(&world, refund).await;
    assert!(left.iter().all(|case| !case.contains("search")), "{left:?}");
    let note = adds(
        "add_note",
        "deal/D-104",
        "D-999",
        &json!({"text": "called"}),
    );
    conforms(&world, note).await;
}

async fn roundup_conforms() {
    let desk = Desk::start().await;
    let states = ["in-progress", "need-eg", "testing"].map(|status| json!({ "status": status }));
    conforms(
        &desk.world,
        fields("set_issue_status", "issue/1", "999", states),
    )
    .await;
    let note = adds(
        "append_issue_note",
        "issue/1",
        "999",
        &json!({"text": "called"}),
    );
    let left = conforms(&desk.world, note).await;
    assert!(!left.contains(&"the second step fails".to_owned()));
}

async fn kinto_conforms() {
    let kinto = Kinto::start().await;
    let values = [
        json!({"status": "closed", "amount": 2.5}),
        json!({"status": "open", "amount": 1}),
        json!({"status": "open", "amount": 3}),
    ];
    conforms(
        &kinto.world,
        fields("doc_fields", "doc/t-1", "none", values),
    )
    .await;
    let note = adds("doc_note", "doc/t-1", "none", &json!({"text": "called"}));
    conforms(&kinto.world, note).await;
}

async fn localstripe_conforms() {
    let stripe = Stripe::start();
    let made = stripe.post("customers", &[("description", "old")]).await;
    let customer = format!("customer/{}", made["id"].as_str().unwrap());
    let values = ["new", "old", "by a person"].map(|text| json!({ "description": text }));
    conforms(
        &stripe.world,
        fields("describe", &customer, "cus_none", values),
    )
    .await;
    let source = [
        ("amount", "9000"),
        ("currency", "eur"),
        ("source", "pm_card_visa"),
    ];
    let made = stripe.post("charges", &source).await;
    let charge = format!("charge/{}", made["id"].as_str().unwrap());
    let amount = |value: u32| json!({"amount": {"currency": "EUR", "value": value}});
    let mut refund = adds("pay_back", &charge, "ch_none", &amount(1));
    refund.extend(["--over".to_owned(), amount(900).to_string()]);
    let left = conforms(&stripe.world, refund).await;
    assert!(!left.contains(&"more than the record has left".to_owned()));
}

async fn tryton_conforms() {
    let tryton = Tryton::start().await;
    let names = ["Acme One", "Acme", "Acme Two"].map(|name| json!({ "name": name }));
    let left = conforms(
        &tryton.world,
        fields("rename_party", "party/1", "9999", names),
    )
    .await;
    assert!(left.iter().all(|case| !case.contains("undo")), "{left:?}");
    let note = adds("note_party", "party/1", "9999", &json!({"text": "called"}));
    conforms(&tryton.world, note).await;
}

async fn a_table_conforms() {
    let Some((world, _, _)) = table().await else {
        return;
    };
    let values = [
        json!({"status": "closed", "amount": 2.5}),
        json!({"status": "open", "amount": 1}),
        json!({"status": "open", "amount": 3}),
    ];
    let left = conforms(&world, fields("ticket", "ticket/7", "999", values)).await;
    assert!(left.iter().all(|case| !case.contains("lost")), "{left:?}");
}

// Each is a task of its own: a world whose processes start must not hold up the handshakes of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn every_system_conforms() {
    let all = [
        tokio::spawn(the_sandbox_conforms()),
        tokio::spawn(roundup_conforms()),
        tokio::spawn(kinto_conforms()),
        tokio::spawn(localstripe_conforms()),
        tokio::spawn(vendors::hubspot::conforms_here()),
        tokio::spawn(vendors::salesforce::conforms_here()),
        tokio::spawn(vendors::shopify::conforms_here()),
        tokio::spawn(vendors::slack::conforms_here()),
        tokio::spawn(vendors::stripe::conforms_here()),
        tokio::spawn(vendors::zendesk::conforms_here()),
        tokio::spawn(tryton_conforms()),
        tokio::spawn(a_table_conforms()),
    ];
    for one in all {
        one.await.unwrap();
    }
}
