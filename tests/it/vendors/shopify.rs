//! Shopify: notes and tags by comparing, a metafield by its digest, refunds that are asked for once and held to what it says is left.

use e2e::vendors::shopify::{CLIENT, Shopify, TOKEN};
use e2e::{PATIENCE, World, program};
use serde_json::{Value as Json, json};
use writ_proto::pb::ExecutionState as State;

use super::super::answers::settled;
use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms, fields};
use super::super::servers::{undone, wish, world_with};
use super::{client, spec};

const CARDS: [(&str, &str); 3] = [
    (
        "pay_back",
        "verb = \"refund\"\ntarget = \"order\"\n[caps]\nrecords_per_day = 500\n[args.amount]\ntype = \"money\"\ncurrencies = [\"EUR\", \"USD\"]\nmin = \"1\"\nmax = \"5000\"\n",
    ),
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
    started_with("60s").await
}

/// With another time after which what is not there counts as not done.
async fn started_with(settle_after: &str) -> (World, Shopify) {
    let shopify = Shopify::start().await;
    let system = ("shop/main", "shopify", shopify.served.base());
    let own = |text: String| {
        text.replace(
            "settle_after = \"60s\"",
            &format!("settle_after = \"{settle_after}\""),
        )
    };
    (world_with(system, TOKEN, &CARDS, own), shopify)
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

fn pay(order: &str, value: &str, currency: &str) -> e2e::Wish {
    let value: Json = serde_json::from_str(value).unwrap();
    let args = json!({"amount": {"currency": currency, "value": value}});
    wish("shop/main", "pay_back", ("order", order), args)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_of_what_is_left_and_goes_to_one_payment() {
    let (world, shopify) = started().await;
    let mut agent = world.agent().await;
    for (order, value, currency, refusal) in [
        ("1001", "60.50", "EUR", ""),
        ("1001", "30.00", "USD", "PRECONDITION_FAILED"),
        ("1001", "39.51", "EUR", "BUDGET_EXCEEDED"),
        ("1001", "39.50", "EUR", ""),
        ("1001", "1.00", "EUR", "BUDGET_EXCEEDED"),
        // 100.00 are left, and 20.00 of them on the card that is paid back first.
        ("1003", "20.01", "EUR", "BUDGET_EXCEEDED"),
        ("1003", "20.00", "EUR", ""),
        ("1003", "80.00", "EUR", ""),
        ("9", "1.00", "EUR", "TARGET_NOT_FOUND"),
    ] {
        let paid = present(&mut agent, &pay(order, value, currency)).await;
        let paid = paid.unwrap();
        let told = format!("{order} {value} {currency}: {paid:?}");
        assert_eq!(paid.reason_code, refusal, "{told}");
        assert_eq!(paid.wrote, refusal.is_empty(), "{told}");
        assert_eq!(paid.created_id.is_empty(), !refusal.is_empty(), "{told}");
    }
    let refunds = |id: &str| {
        shopify.held().orders[id]["refunds"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((refunds("1001"), refunds("1003")), (2, 2));
    spec::holds_graphql(&shopify.served, "shopify-admin-2026-10-trimmed.graphql");
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_bank_did_not_pay_is_none() {
    let (world, shopify) = started_with("1s").await;
    let mut agent = world.agent().await;
    shopify.held().statuses = vec!["FAILURE"];
    let failed = present(&mut agent, &pay("1001", "2.00", "EUR")).await;
    let failed = failed.unwrap();
    assert_eq!(failed.reason_code, "SYSTEM_REFUSED", "{failed:?}");
    assert!(failed.message.contains("CARD_DECLINED"), "{failed:?}");
    // The same, where its answer is lost: what is recorded and not paid is not a refund.
    {
        let mut held = shopify.held();
        (held.statuses, held.fails_after) = (vec!["FAILURE"], 1);
    }
    let doubt = present(&mut agent, &pay("1001", "2.00", "EUR")).await;
    let doubt = doubt.unwrap();
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
    settled(&mut agent, &doubt.name, State::ReconciledNotApplied).await;
    // What is under way counts, and what went wrong somewhere may have been paid.
    for (status, state) in [
        ("PENDING", State::Done),
        ("AWAITING_RESPONSE", State::Done),
        ("ERROR", State::InDoubt),
        ("UNKNOWN", State::InDoubt),
    ] {
        shopify.held().statuses = vec![status];
        let paid = present(&mut agent, &pay("1002", "2.00", "EUR")).await;
        assert_eq!(paid.unwrap().state, i32::from(state), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_payment_shopify_does_not_name_is_not_paid_back() {
    let (world, shopify) = started().await;
    let mut agent = world.agent().await;
    shopify.held().orders.get_mut("1001").unwrap()["payments"][0]["parent"] = Json::Null;
    let refused = present(&mut agent, &pay("1001", "2.00", "EUR")).await;
    let refused = refused.unwrap();
    assert!(
        !refused.wrote && refused.state == i32::from(State::Failed),
        "{refused:?}"
    );
    let heard = shopify.served.heard();
    assert!(heard.iter().all(|one| !one.body.contains("refundCreate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_gateway_after_a_refund_is_a_doubt_and_ends_as_one_refund() {
    let (world, shopify) = started().await;
    let mut agent = world.agent().await;
    shopify.held().fails_after = 1;
    let doubt = present(&mut agent, &pay("1001", "2.00", "EUR")).await;
    let doubt = doubt.unwrap();
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
    settled(&mut agent, &doubt.name, State::ReconciledApplied).await;
    let refunds = shopify.held().orders["1001"]["refunds"].clone();
    assert_eq!(refunds.as_array().unwrap().len(), 1, "{refunds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_with_a_client_id_gets_its_token_and_shows_it_as_shopify_wants_it() {
    let shopify = Shopify::start().await;
    let system = ("shop/main", "shopify", shopify.served.base());
    let own = |text: String| {
        let text = text.replace(
            "\nauth = { header = { name = \"X-Shopify-Access-Token\", value = \"{secret.token}\" } }\nsecret = [\"token\"]",
            "\nauth = { oauth2 = { grant = \"client_credentials\", token = \"/admin/oauth/access_token\", header = \"X-Shopify-Access-Token\" } }\nsecret = [\"client_id\", \"client_secret\"]",
        );
        assert!(text.contains("\nauth = { oauth2"));
        text
    };
    let world = world_with(system, &format!("{}:{}", CLIENT.0, CLIENT.1), &CARDS, own);
    let mut agent = world.agent().await;
    for note in ["call", "called"] {
        let noted = of_order("order_fields", "order", json!({"note": note}));
        let noted = present(&mut agent, &noted).await.unwrap();
        assert!(noted.wrote, "{noted:?}");
    }
    let heard = shopify.served.heard();
    let tokens = heard
        .iter()
        .filter(|one| one.path.ends_with("access_token"));
    assert_eq!(tokens.count(), 1, "one token for all calls");
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
    let mut refund = adds("pay_back", "order/1002", "9", &amount(1));
    refund.extend(["--over".to_owned(), amount(4_999).to_string()]);
    let left = conforms(&world, refund).await;
    assert!(!left.contains(&"more than the record has left".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_do_more_than_the_file_needs_is_not_used_unless_that_is_accepted_by_name()
{
    let (mut world, shopify) = started().await;
    let mut agent = world.agent().await;
    let note = |text: &str| {
        of_order(
            "order_fields",
            "order",
            json!({"note": text, "tags": ["web"]}),
        )
    };
    let done = present(&mut agent, &note("one")).await.unwrap();
    assert!(done.wrote, "{done:?}");

    shopify.held().more_scopes = vec!["read_customers", "write_products"];
    let probe = |world: &World| {
        let done = world.run_connected(&["probe", "shop/main"]);
        (
            done.status.success(),
            String::from_utf8(done.stdout).unwrap(),
        )
    };
    let (good, said) = probe(&world);
    assert!(!good, "{said}");
    let names = "read_customers, write_products";
    assert!(
        said.contains("CREDENTIAL_TOO_WIDE") && said.contains(names),
        "{said}"
    );
    // A daemon that starts with such a token changes nothing, and says why.
    let again = |world: &mut World| {
        world.kill_connectord();
        world.start_connectord(&program("connectord"), &[]);
    };
    again(&mut world);
    let mut agent = world.agent().await;
    let refused = present(&mut agent, &note("two")).await;
    assert_eq!(refused.unwrap_err(), "CREDENTIAL_TOO_WIDE");
    assert_eq!(shopify.held().orders["1001"]["note"], "one");
    // Narrowed at the vendor, it is taken without a restart.
    shopify.held().more_scopes.clear();
    let started = std::time::Instant::now();
    while let Err(refused) = present(&mut agent, &note("three")).await {
        assert!(
            started.elapsed() < PATIENCE,
            "the narrowed token is taken: {refused}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    // Accepted by name, and by no other.
    shopify.held().more_scopes = vec!["read_customers", "write_products"];
    world.accepted = vec![("shop/main", "[\"read_customers\"]")];
    let (good, said) = probe(&world);
    assert!(
        !good && said.contains("for nothing: write_products"),
        "{said}"
    );
    world.accepted = vec![("shop/main", "[\"read_customers\", \"write_products\"]")];
    let (good, said) = probe(&world);
    assert!(
        good && said.contains(&format!("what no card needs: {names}")),
        "{said}"
    );
    again(&mut world);
    let mut agent = world.agent().await;
    assert!(present(&mut agent, &note("four")).await.unwrap().wrote);
}
