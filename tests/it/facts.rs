//! Facts from the system of record: what the CRM says of an order decides its refund, and what it does not say denies.

use std::time::Duration;

use e2e::{World, code, program, refund};
use writ_proto::pb;
use writ_proto::pb::fact_service_client::FactServiceClient;
use writ_proto::value::args_from_cbor;

fn question(tenant: &str, object: &str, id: &str, fields: &[&str]) -> pb::ReadFactsRequest {
    pb::ReadFactsRequest {
        parent: format!("tenants/{tenant}"),
        connection: "crm/main".into(),
        object_type: object.into(),
        object_id: id.into(),
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crm_says_what_is_left_of_an_order_and_of_which_tier_its_customer_is() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    // Tier gold, by the contact in the CRM: no file of policyd names it.
    let asked = agent.ask(&refund("O-8", "400.00")).await;
    assert_eq!(
        asked.decision.verdict(),
        pb::Verdict::Allow,
        "more than refund-small allows: {:?}",
        asked.decision
    );
    agent.present(&asked).await.unwrap();
    world.settle().await;
    // 50 of 450 are left, which the CRM says and no entity does.
    let over = agent.ask(&refund("O-8", "50.01")).await.decision;
    assert_eq!(
        (over.verdict(), over.reason_code.as_str()),
        (pb::Verdict::Deny, "FORBIDDEN")
    );
    let rest = agent.ask(&refund("O-8", "50.00")).await;
    assert_eq!(
        rest.decision.verdict(),
        pb::Verdict::Allow,
        "{:?}",
        rest.decision
    );
    world.person_edits("contacts/C-2", "tier=standard");
    let none = agent.ask(&refund("O-404", "1.00")).await.decision;
    assert_eq!(
        none.reason_code, "TARGET_NOT_FOUND",
        "the CRM has no such order"
    );
    // What was read is in the record, and the decision is made again from it.
    let trace = |record: &serde_json::Value| record["values"]["trace"].to_string();
    let records = world.records().await;
    let read = |text: &str| records.iter().any(|record| trace(record).contains(text));
    assert!(read("[\"facts\",[\"order\",\"O-8\""), "{records:#?}");
    assert!(read("[\"customer\",\"C-2\""), "{records:#?}");
    assert!(read("[\"facts\",\"TARGET_NOT_FOUND\"]"), "{records:#?}");
    let addr = format!("https://localhost:{}", world.policyd_port);
    let export = [
        "records",
        "export",
        "--with-values",
        "--out",
        "facts.jsonl",
        "--addr",
        &addr,
    ];
    let cert = ["--cert", "certs/operator-acme-ops.pem"];
    assert!(
        world
            .run("policyd", &[export.as_slice(), &cert].concat())
            .status
            .success()
    );
    let verify = [
        "records",
        "verify",
        "facts.jsonl",
        "--trust",
        "keys/public.json",
        "--replay",
    ];
    let verified = world.run("policyd", &verify);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_system_does_not_say_denies_and_only_where_it_is_needed() {
    let mut world = World::start();
    let mut agent = world.agent().await;
    world.sandbox.take().unwrap().kill();
    let denied = agent.ask(&refund("O-7", "1.00")).await.decision;
    assert_eq!(denied.reason_code, "FACTS_UNAVAILABLE", "{denied:?}");
    let stage = agent.ask(&e2e::stage("D-104", "qualified")).await.decision;
    assert_eq!(
        stage.verdict(),
        pb::Verdict::Allow,
        "no rule asks for a fact of the CRM"
    );
    world.connectord.take().unwrap().kill();
    let denied = agent.ask(&refund("O-7", "1.00")).await.decision;
    assert_eq!(denied.reason_code, "FACTS_UNAVAILABLE", "{denied:?}");
    world.start_sandbox();
    world.start_connectord(&program("connectord"), &[]);
    let started = std::time::Instant::now();
    loop {
        let again = agent.ask(&refund("O-7", "1.00")).await.decision;
        if again.verdict() == pb::Verdict::Allow {
            break;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "{again:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let records = world.records().await;
    let unread = records
        .iter()
        .filter(|record| record["reasons"][0] == "FACTS_UNAVAILABLE");
    assert!(unread.count() >= 2, "{records:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_policyd_reads_facts_and_only_of_what_a_card_acts_on() {
    let world = World::start();
    let good = question("acme", "order", "O-7", &["status", "total", "hold"]);
    for who in ["agent-acme-triage", "operator-acme-ops", "connectord"] {
        let channel = world.channel(who, world.connectord_port).await.unwrap();
        let refused = FactServiceClient::new(channel)
            .read_facts(good.clone())
            .await;
        assert_eq!(code(&refused.unwrap_err()), "SERVICE_REQUIRED", "{who}");
    }
    let channel = world
        .channel("policyd", world.connectord_port)
        .await
        .unwrap();
    let mut policyd = FactServiceClient::new(channel);
    let answer = policyd.read_facts(good).await.unwrap().into_inner();
    assert!(answer.exists && !answer.version.is_empty());
    let fields = args_from_cbor(&answer.fields_cbor).unwrap();
    let names: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["total", "status"], "an empty field is not there");
    let gone = policyd
        .read_facts(question("acme", "order", "O-404", &["status"]))
        .await;
    assert!(!gone.unwrap().into_inner().exists);
    for (question, says) in [
        (
            question("globex", "order", "O-7", &["status"]),
            "OUT_OF_REACH",
        ),
        (
            question("acme", "invoice", "O-7", &["status"]),
            "OUT_OF_REACH",
        ),
        (
            question("acme", "order", "O-7", &["secret"]),
            "FIELD_UNREADABLE",
        ),
        (question("acme", "order", "O-7", &[]), "REQUEST_MALFORMED"),
        (
            question("acme", "order", "O-7", &["status"; 33]),
            "REQUEST_MALFORMED",
        ),
        (
            question("Acme!", "order", "O-7", &["status"]),
            "REQUEST_MALFORMED",
        ),
        (
            question("acme", "order", "../deals/D-104", &["status"]),
            "TARGET_NOT_FOUND",
        ),
    ] {
        let refused = policyd.read_facts(question.clone()).await.unwrap_err();
        assert_eq!(code(&refused), says, "{question:?} {refused}");
    }
}
