//! Shopify: refunds of what Shopify says is left, once; notes and tags by comparing; a metafield by its digest.

use e2e::World;
use e2e::vendors::shopify::{Shopify, TOKEN};
use serde_json::{Value as Json, json};

use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms, fields};
use super::super::servers::{undone, wish, world};
use super::{client, spec, writes};

const CARDS: [(&str, &str); 3] = [
    (
        "order_fields",
        "verb = \"update_fields\"\ntarget = \"order\"\n[caps]\nrecords_per_day = 500\n[args.note]\ntype = \"text\"\nmax_chars = 200\n[args.tags]\ntype = \"list\"\nmax_items = 10\noptional = true\n[args.tags.of]\ntype = \"text\"\nmax_chars = 40\n",
    ),
    (
        "order_refund",
        "verb = \"refund\"\ntarget = \"order\"\n[caps]\nrecords_per_day = 500\n[args.amount]\ntype = \"money\"\ncurrencies = [\"EUR\", \"USD\"]\nmin = \"0.01\"\nmax = \"5000.00\"\n",
    ),
    (
        "order_state",
        "verb = \"set_status\"\ntarget = \"order_status\"\n[caps]\nrecords_per_day = 500\n[args.status]\ntype = \"choice\"\nvalues = [\"new\", \"seen\", \"done\"]\n",
    ),
];

async fn started() -> (World, Shopify) {
    let shopify = Shopify::start().await;
    let base = shopify.served.base();
    (world("shop/main", "shopify", base, TOKEN, &CARDS), shopify)
}

fn of_order(action: &str, kind: &str, args: Json) -> e2e::Wish {
    wish("shop/main", action, (kind, "1001"), args)
}

fn pay(value: f64, currency: &str) -> e2e::Wish {
    let args = json!({"amount": {"currency": currency, "value": value}});
    of_order("order_refund", "order", args)
}

#[tokio::test(flavor = "multi_thread")]
async fn shopifys_own_client_sees_what_shopify_would_show() {
    let shopify = Shopify::start().await;
    let saw = client("shopify_client", &[&shopify.served.base(), TOKEN]).await;
    let wanted = json!({
        "read": {"note": null, "tags": ["web"]}, "wrote": "10.00", "replayed": true, "over": 1, "keyless": "BAD_REQUEST",
        "set": "seen", "stale": "STALE_OBJECT", "missing": null, "stranger": 401,
    });
    spec::holds_graphql(&shopify.served, "shopify-admin-2026-10-trimmed.graphql");
    assert_eq!(saw, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_of_what_shopify_says_is_left() {
    let (world, shopify) = started().await;
    let mut agent = world.agent().await;
    for (value, currency, refusal) in [
        (10.5, "EUR", ""),
        (10.0, "USD", "PRECONDITION_FAILED"),
        (89.51, "EUR", "BUDGET_EXCEEDED"),
        (89.5, "EUR", ""),
        (0.01, "EUR", "BUDGET_EXCEEDED"),
    ] {
        let paid = present(&mut agent, &pay(value, currency)).await.unwrap();
        assert_eq!(paid.reason_code, refusal, "{value} {currency}: {paid:?}");
    }
    let refunded = shopify.held().orders["1001"]["totalRefundedSet"]["shopMoney"]["amount"].clone();
    assert_eq!(refunded, "100.00");
    let mutations = writes(&shopify.served).into_iter();
    let mutations: Vec<_> = mutations
        .filter(|one| one.body.contains("mutation"))
        .collect();
    assert_eq!(mutations.len(), 2);
    assert!(
        mutations[0].body.contains("\"amount\":\"10.50\""),
        "{}",
        mutations[0].body
    );
    let missing = wish(
        "shop/main",
        "order_refund",
        ("order", "9"),
        json!({"amount": {"currency": "EUR", "value": 1}}),
    );
    let missing = present(&mut agent, &missing).await.unwrap();
    assert_eq!(missing.reason_code, "TARGET_NOT_FOUND", "{missing:?}");
    shopify.held().throttled = 1;
    let limited = present(&mut agent, &pay(1.0, "EUR")).await.unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_tags_and_a_metafield_are_written_and_put_back() {
    let (world, shopify) = started().await;
    let mut agent = world.agent().await;
    let of = |shopify: &Shopify, at: &str| shopify.held().orders["1001"].pointer(at).cloned();
    let noted = of_order(
        "order_fields",
        "order",
        json!({"note": "call", "tags": ["vip", "web"]}),
    );
    let noted = present(&mut agent, &noted).await.unwrap();
    assert!(noted.wrote, "{noted:?}");
    assert_eq!(of(&shopify, "/tags"), Some(json!(["vip", "web"])));
    let back = undone(&world, &mut agent, &noted).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(of(&shopify, "/tags"), Some(json!(["web"])));
    let seen = of_order("order_state", "order_status", json!({"status": "seen"}));
    let seen = present(&mut agent, &seen).await.unwrap();
    assert!(seen.wrote && seen.unprotected_ms == 0, "{seen:?}");
    assert_eq!(of(&shopify, "/metafield/value"), Some("seen".into()));
    let back = undone(&world, &mut agent, &seen).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(of(&shopify, "/metafield/value"), Some("new".into()));
    spec::holds_graphql(&shopify.served, "shopify-admin-2026-10-trimmed.graphql");
    world.settle().await;
}

pub(in super::super) async fn conforms_here() {
    let (world, _shopify) = started().await;
    let states = ["seen", "new", "done"].map(|status| json!({ "status": status }));
    conforms(
        &world,
        fields("order_state", "order_status/1001", "9", states),
    )
    .await;
    let amount = |value: u32| json!({"amount": {"currency": "EUR", "value": value}});
    let mut refund = adds("order_refund", "order/1002", "9", &amount(1));
    refund.extend(["--over".to_owned(), amount(4_999).to_string()]);
    conforms(&world, refund).await;
}
