//! Zendesk: tickets that are changed only as they were seen, notes that mail nobody, closed tickets.

use e2e::vendors::zendesk::{SECRET, Zendesk};
use e2e::{Actor, World};
use serde_json::{Value as Json, json};
use writ_proto::pb;

use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms, fields};
use super::super::servers::{undone, wish, world};
use super::{client, spec, writes};

const CARDS: [(&str, &str); 4] = [
    (
        "cited_status",
        "verb = \"set_status\"\ntarget = \"ticket\"\n[caps]\nrecords_per_day = 500\n[args.status]\ntype = \"choice\"\nevidence = [\"ticket.comments\"]\nvalues = [\"open\", \"pending\"]\n",
    ),
    (
        "ticket_status",
        "verb = \"set_status\"\ntarget = \"ticket\"\n[caps]\nrecords_per_day = 500\n[args.status]\ntype = \"choice\"\nvalues = [\"open\", \"pending\", \"hold\", \"solved\"]\n",
    ),
    (
        "ticket_fields",
        "verb = \"update_fields\"\ntarget = \"ticket\"\n[caps]\nrecords_per_day = 500\n[args.tags]\ntype = \"list\"\nmax_items = 10\n[args.tags.of]\ntype = \"text\"\nmax_chars = 50\n[args.custom_42]\ntype = \"text\"\nmax_chars = 50\noptional = true\n",
    ),
    (
        "ticket_note",
        "verb = \"append_note\"\ntarget = \"ticket\"\n[caps]\nrecords_per_day = 500\n[args.text]\ntype = \"text\"\nmax_chars = 500\n",
    ),
];

async fn started() -> (World, Zendesk) {
    let zendesk = Zendesk::start().await;
    let base = zendesk.served.base();
    (world("desk/main", "zendesk", base, SECRET, &CARDS), zendesk)
}

fn ticket(action: &str, args: Json) -> e2e::Wish {
    wish("desk/main", action, ("ticket", "35"), args)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_client_sees_what_zendesk_would_show() {
    let zendesk = Zendesk::start().await;
    let (user, token) = SECRET.split_once(':').unwrap();
    let saw = client("zendesk_client", &[&zendesk.served.base(), user, token]).await;
    let wanted = json!({
        "wrote": "pending", "event": "open", "stale": [409, "UpdateConflict"], "noted": false, "notes": 1, "invalid": 422,
        "ignored": [], "closed": 422, "missing": 404, "stranger": 401,
    });
    spec::holds(&zendesk.served, "zendesk-tickets-trimmed.json", 5);
    assert_eq!(saw, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_changed_as_it_was_seen_and_put_back() {
    let (world, zendesk) = started().await;
    let mut agent = world.agent().await;
    let done = present(
        &mut agent,
        &ticket("ticket_status", json!({"status": "pending"})),
    )
    .await
    .unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(zendesk.held().tickets[&35]["status"], "pending");
    let sent = writes(&zendesk.served);
    assert!(
        sent[0].body.contains("\"safe_update\":true")
            && sent[0]
                .body
                .contains("\"updated_stamp\":\"2026-11-02T08:00:00Z\""),
        "{}",
        sent[0].body
    );
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(zendesk.held().tickets[&35]["status"], "open");

    let fields = ticket(
        "ticket_fields",
        json!({"tags": ["delivery", "vip"], "custom_42": "A-7"}),
    );
    let done = present(&mut agent, &fields).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(
        zendesk.held().tickets[&35]["custom_fields"][0]["value"],
        "A-7"
    );
    zendesk
        .held()
        .edit(35, "tags", json!(["delivery", "vip", "angry"]));
    let back = undone(&world, &mut agent, &done).await;
    assert!(!back.undone, "a person's tag stays: {back:?}");
    assert_eq!(
        zendesk.held().tickets[&35]["tags"],
        json!(["delivery", "vip", "angry"])
    );
    spec::holds(&zendesk.served, "zendesk-tickets-trimmed.json", 8);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_mails_nobody_and_a_closed_ticket_says_so() {
    let (world, zendesk) = started().await;
    let mut agent = world.agent().await;
    let done = present(
        &mut agent,
        &ticket("ticket_note", json!({"text": "called"})),
    )
    .await
    .unwrap();
    assert!(done.wrote, "{done:?}");
    let note = zendesk.held().comments[&35][0].clone();
    assert_eq!(note["public"], false);
    assert!(
        note["body"].as_str().unwrap().starts_with("called\n[writ "),
        "{note}"
    );
    let closed = wish(
        "desk/main",
        "ticket_status",
        ("ticket", "36"),
        json!({"status": "open"}),
    );
    let closed = present(&mut agent, &closed).await.unwrap();
    assert_eq!(closed.reason_code, "SYSTEM_REFUSED", "{closed:?}");
    assert!(
        closed.message.contains("closed prevents ticket update"),
        "{closed:?}"
    );
    zendesk.held().limited = 10;
    let limited = present(
        &mut agent,
        &ticket("ticket_status", json!({"status": "hold"})),
    )
    .await
    .unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    assert!(
        limited.message.contains('7'),
        "it says how long: {limited:?}"
    );
}

pub(in super::super) async fn conforms_here() {
    let (world, _zendesk) = started().await;
    let values = ["pending", "open", "hold"].map(|status| json!({ "status": status }));
    conforms(&world, fields("ticket_status", "ticket/35", "99", values)).await;
    let note = adds("ticket_note", "ticket/35", "99", &json!({"text": "called"}));
    conforms(&world, note).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_comments_of_a_ticket_are_evidence_and_internal_notes_are_none() {
    let (world, zendesk) = started().await;
    let mut agent = world.agent().await;
    // What the agent itself may add is internal.
    let noted = present(
        &mut agent,
        &ticket("ticket_note", json!({"text": "please set it to pending"})),
    )
    .await
    .unwrap();
    assert!(noted.wrote, "{noted:?}");
    let cites = |quote: &str| pb::Evidence {
        quote: quote.into(),
        argument: "status".into(),
        source: Some(pb::TextSource {
            connection: String::new(),
            object_type: "ticket".into(),
            object_id: "35".into(),
            text: "comments".into(),
        }),
        extractor: pb::Extractor::Enum.into(),
        ..pb::Evidence::default()
    };
    let request = || pb::AuthorizeRequest {
        evidence: vec![cites("set it to pending")],
        ..Actor::request(&ticket("cited_status", json!({"status": "pending"})))
    };
    let denied = agent.ask_for(request()).await.decision;
    assert_eq!(denied.reason_code, "NOT_GROUNDED", "{denied:?}");
    // Another text of the ticket is not the one that the card takes.
    let subject = pb::TextSource {
        text: "subject".into(),
        ..cites("x").source.unwrap()
    };
    let elsewhere = pb::AuthorizeRequest {
        evidence: vec![pb::Evidence {
            source: Some(subject),
            ..cites("pending")
        }],
        ..Actor::request(&ticket("cited_status", json!({"status": "pending"})))
    };
    let denied = agent.ask_for(elsewhere).await.decision;
    assert!(
        denied.reason_code == "NOT_GROUNDED"
            && denied.message.contains("from ticket.comments only"),
        "{denied:?}"
    );
    zendesk.held().comment(
        35,
        true,
        "We wait for the part: set it to pending, thank you",
    );
    let allowed = agent.ask_for(request()).await.decision;
    assert_eq!(allowed.verdict(), pb::Verdict::Allow, "{allowed:?}");
}
