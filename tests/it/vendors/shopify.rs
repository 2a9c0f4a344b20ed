//! Shopify: notes and tags by comparing, a metafield by its digest.

use e2e::World;
use e2e::vendors::shopify::{Shopify, TOKEN};
use serde_json::{Value as Json, json};

use super::super::rollout::present;
use super::super::servers::conform::{conforms, fields};
use super::super::servers::{undone, wish, world};
use super::{client, spec};

const CARDS: [(&str, &str); 2] = [
    (
        "order_fields",
        "verb = \"update_fields\"\ntarget = \"order\"\n[caps]\nrecords_per_day = 500\n[args.note]\ntype = \"text\"\nmax_chars = 200\n[args.tags]\ntype = \"list\"\nmax_items = 10\noptional = true\n[args.tags.of]\ntype = \"text\"\nmax_chars = 40\n",
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
    shopify.held().throttled = 1;
    let limited = of_order("order_state", "order_status", json!({"status": "done"}));
    let limited = present(&mut agent, &limited).await.unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    let missing = wish(
        "shop/main",
        "order_fields",
        ("order", "9"),
        json!({"note": "x"}),
    );
    let missing = present(&mut agent, &missing).await.unwrap();
    assert_eq!(missing.reason_code, "TARGET_NOT_FOUND", "{missing:?}");
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
}
