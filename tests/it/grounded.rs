//! Grounded writes: connectord itself reads the text in which an amount is said to stand, and finds it or not.

use e2e::{Actor, Asked, World, program, refund};
use serde_json::{Value as Json, json};
use writ_proto::pb;

/// What the customer wrote ends with "EUR 7.00 or EUR 8.00".
const QUOTE: &str = "Please pay back EUR 49.00 of it";

/// Acme wants evidence for the amount of a refund.
fn started() -> World {
    let mut world = World::prepare(&[]);
    let card = world.path("policies/acme/actions/refund.toml");
    let text = std::fs::read_to_string(&card).unwrap();
    let text = text.replace(
        "type = \"money\"",
        "type = \"money\"\nevidence = \"required\"",
    );
    std::fs::write(&card, text).unwrap();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world
}

fn source(object: &str, id: &str, text: &str) -> pb::TextSource {
    pb::TextSource {
        connection: String::new(),
        object_type: object.into(),
        object_id: id.into(),
        text: text.into(),
    }
}

fn evidence(quote: &str, from: pb::TextSource) -> pb::Evidence {
    pb::Evidence {
        quote: quote.into(),
        argument: "amount".into(),
        source: Some(from),
        extractor: pb::Extractor::Money.into(),
        ..pb::Evidence::default()
    }
}

async fn asked(agent: &mut Actor, amount: &str, evidence: Vec<pb::Evidence>) -> Asked {
    let request = pb::AuthorizeRequest {
        evidence,
        ..Actor::request(&refund("O-7", amount))
    };
    agent.ask_for(request).await
}

/// What shows nothing: for which amount, and what is named.
fn refused() -> Vec<(&'static str, &'static str, Vec<pb::Evidence>)> {
    let ticket = || source("ticket", "T-1", "message");
    let wrong_digest = pb::Evidence {
        sha256: vec![7; 32],
        ..evidence(QUOTE, ticket())
    };
    let elsewhere = pb::TextSource {
        connection: "desk/none".into(),
        ..ticket()
    };
    vec![
        ("nothing", "49.00", vec![]),
        ("another amount", "50.00", vec![evidence(QUOTE, ticket())]),
        (
            "one of two amounts",
            "7.00",
            vec![evidence("EUR 7.00", ticket())],
        ),
        (
            "words that are not there",
            "50.00",
            vec![evidence("EUR 50.00", ticket())],
        ),
        (
            "a part of a number",
            "9.00",
            vec![evidence("9.00", ticket())],
        ),
        (
            "another ticket",
            "49.00",
            vec![evidence(QUOTE, source("ticket", "T-2", "message"))],
        ),
        (
            "no ticket",
            "49.00",
            vec![evidence(QUOTE, source("ticket", "T-404", "message"))],
        ),
        (
            "no text",
            "49.00",
            vec![evidence(QUOTE, source("ticket", "T-1", "body"))],
        ),
        (
            "a field that is no text",
            "49.00",
            vec![evidence(QUOTE, source("order", "O-7", "total"))],
        ),
        (
            "a text that a card writes",
            "49.00",
            vec![evidence(QUOTE, source("contact", "C-1", "phone"))],
        ),
        (
            "another connection",
            "49.00",
            vec![evidence(QUOTE, elsewhere)],
        ),
        ("another text than was read", "49.00", vec![wrong_digest]),
    ]
}

/// What was decided is exported and decided again.
fn verified(world: &World) {
    let addr = format!("https://localhost:{}", world.policyd_port);
    let cert = "certs/operator-acme-ops.pem";
    let export = [
        "records",
        "export",
        "--with-values",
        "--out",
        "all.jsonl",
        "--addr",
        &addr,
        "--cert",
        cert,
    ];
    assert!(world.run("policyd", &export).status.success());
    let verify = [
        "records",
        "verify",
        "all.jsonl",
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
async fn an_amount_is_paid_only_where_the_customer_wrote_it() {
    let mut world = started();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    world.person_edits(
        "tickets/T-1",
        "message=It broke. Please pay back EUR 49.00 of it. Postage: EUR 7.00 or EUR 8.00",
    );
    for (what, amount, given) in refused() {
        let denied = asked(&mut agent, amount, given).await.decision;
        assert_eq!(denied.reason_code, "NOT_GROUNDED", "{what}: {denied:?}");
    }
    // A contact's phone holds exactly these words now, and a card writes it.
    world.person_edits("contacts/C-1", "phone=EUR 49.00");
    let own = vec![evidence("EUR 49.00", source("contact", "C-1", "phone"))];
    let denied = asked(&mut agent, "49.00", own).await.decision;
    assert_eq!(denied.reason_code, "NOT_GROUNDED", "{denied:?}");
    let ticket = || source("ticket", "T-1", "message");
    let good = asked(&mut agent, "49.00", vec![evidence(QUOTE, ticket())]).await;
    assert_eq!(
        good.decision.verdict(),
        pb::Verdict::Allow,
        "{:?}",
        good.decision
    );
    let done = agent.present(&good).await.unwrap();
    assert!(done.wrote, "{done:?}");
    // What cannot be looked at denies, whatever the agent says.
    world.sandbox.take().unwrap().kill();
    let denied = asked(&mut agent, "49.00", vec![evidence(QUOTE, ticket())])
        .await
        .decision;
    assert_eq!(denied.reason_code, "FACTS_UNAVAILABLE", "{denied:?}");
    world.start_sandbox();
    // Digest and finding are in the record, and the decisions are made again from it.
    let records = world.records().await;
    let trace = |record: &Json| record["values"]["trace"].to_string();
    let looked = records
        .iter()
        .filter(|record| trace(record).contains("[\"evidence\",[\"amount\",true,"));
    assert_eq!(looked.count(), 1, "{records:#?}");
    verified(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_read_from_a_file_and_what_is_half_of_it_is_refused() {
    let world = started();
    let mut agent = world.agent().await;
    let whole = || evidence(QUOTE, source("ticket", "T-1", "message"));
    for half in [
        pb::Evidence {
            argument: String::new(),
            ..whole()
        },
        pb::Evidence {
            source: None,
            ..whole()
        },
        pb::Evidence {
            extractor: 0,
            ..whole()
        },
        pb::Evidence {
            extractor: 9,
            ..whole()
        },
        pb::Evidence {
            argument: "colour".into(),
            ..whole()
        },
        evidence(QUOTE, source("ticket", "", "message")),
    ] {
        let request = pb::AuthorizeRequest {
            evidence: vec![half.clone()],
            ..Actor::request(&refund("O-7", "49.00"))
        };
        let refused = agent.authorize.authorize(request).await;
        assert_eq!(
            e2e::code(&refused.unwrap_err()),
            "REQUEST_MALFORMED",
            "{half:?}"
        );
    }
    let many = pb::AuthorizeRequest {
        evidence: vec![whole(); 2],
        ..Actor::request(&refund("O-7", "49.00"))
    };
    let refused = agent.authorize.authorize(many).await;
    assert_eq!(e2e::code(&refused.unwrap_err()), "REQUEST_MALFORMED");
    let file = json!([{"argument": "amount", "extractor": "money", "quote": QUOTE,
        "source": {"object_type": "ticket", "object_id": "T-1", "text": "message"}}]);
    std::fs::write(world.path("evidence.json"), file.to_string()).unwrap();
    let addr = format!("https://localhost:{}", world.policyd_port);
    let cert = "certs/agent-acme-triage.pem";
    let args = [
        "authorize",
        "refund",
        "amount=49.00 EUR",
        "--target",
        "order/O-7",
        "--dry-run",
        "--evidence",
        "evidence.json",
        "--addr",
        &addr,
        "--cert",
        cert,
    ];
    let done = world.run("policyd", &args);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("ALLOW"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_learns_from_the_tools_what_is_wanted_and_names_where_it_stands() {
    let world = started();
    let mut bridge = world.mcp_of("agent-acme-triage", "2025-11-25", &[]);
    let listed = bridge.ok("list_actions", json!({}));
    let actions = listed["actions"].as_array().unwrap();
    let refund = actions
        .iter()
        .find(|action| action["name"] == "refund")
        .unwrap();
    let told = refund["arguments_schema"]["properties"]["amount"]["description"]
        .as_str()
        .unwrap();
    assert!(told.contains("Needs an item of `evidence`"), "{told}");
    let ask = |evidence: Json| {
        json!({"action": "refund", "target_id": "O-7", "mode": "dry_run", "reason": "arrived broken", "evidence": evidence,
            "arguments": {"amount": {"currency": "EUR", "value": 49}}})
    };
    let item = |quote: &str| {
        json!([{"argument": "amount", "extractor": "money", "quote": quote,
            "source": {"object_type": "ticket", "object_id": "T-1", "text": "message"}}])
    };
    for evidence in [json!([]), item("pay back EUR 50.00")] {
        let denied = bridge.tool("request_authorization", ask(evidence));
        let told = &denied["structuredContent"];
        assert_eq!(told["reason_code"], "NOT_GROUNDED", "{denied}");
    }
    let allowed = bridge.ok("request_authorization", ask(item(QUOTE)));
    assert_eq!(allowed["verdict"], "ALLOW", "{allowed}");
}
