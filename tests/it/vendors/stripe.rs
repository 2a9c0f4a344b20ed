//! Stripe: refunds that are asked for in the currency of the charge, once, and never for more than is left.

use e2e::vendors::stripe::{KEY, Stripe};
use e2e::{Wish, World};
use serde_json::{Value as Json, json};
use writ_proto::pb::ExecutionState as State;

use super::super::answers::settled;
use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms, fields};
use super::super::servers::{undone, wish, world};
use super::{client, spec, writes};

const CARDS: [(&str, &str); 2] = [
    (
        "pay_back",
        "verb = \"refund\"\ntarget = \"charge\"\n[caps]\nrecords_per_day = 500\n[args.amount]\ntype = \"money\"\ncurrencies = [\"EUR\", \"JPY\", \"ISK\"]\nmin = \"1\"\nmax = \"5000\"\n",
    ),
    (
        "describe",
        "verb = \"update_fields\"\ntarget = \"customer\"\n[caps]\nrecords_per_day = 500\n[args.description]\ntype = \"text\"\nmax_chars = 100\n",
    ),
];

async fn started() -> (World, Stripe) {
    let stripe = Stripe::start().await;
    let base = stripe.served.base();
    (world("pay/main", "stripe", base, KEY, &CARDS), stripe)
}

fn pay(charge: &str, value: &str, currency: &str) -> Wish {
    let value: Json = serde_json::from_str(value).unwrap();
    let args = json!({"amount": {"currency": currency, "value": value}});
    wish("pay/main", "pay_back", ("charge", charge), args)
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_own_client_sees_what_stripe_would_show() {
    let stripe = Stripe::start().await;
    let saw = client("stripe_client", &[&stripe.served.base(), KEY]).await;
    let wanted = json!({
        "read": 5_000, "wrote": "succeeded", "replayed": true, "refunded": 100, "found": ["client"], "changed": "by client",
        "conflict": "IdempotencyError 400", "over": "InvalidRequestError 400",
        "missing": "InvalidRequestError 404 resource_missing", "stranger": "AuthenticationError 401",
        "limited": "RateLimitError 429",
    });
    spec::holds(&stripe.served, "stripe-refunds-trimmed.json", 8);
    assert_eq!(saw, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_of_the_currency_of_the_charge_and_of_what_is_left() {
    let (world, stripe) = started().await;
    let mut agent = world.agent().await;
    for (charge, value, currency, refusal) in [
        ("ch_1", "1.50", "EUR", ""),
        // 1,000 yen are six euros, and Stripe would take the number for ten.
        ("ch_1", "1000", "JPY", "PRECONDITION_FAILED"),
        ("ch_yen", "500", "JPY", ""),
        // 500 kronur are 500 of ISO 4217 and 50000 of Stripe.
        ("ch_1", "500", "ISK", "SYSTEM_REFUSED"),
        ("ch_yen", "5.00", "EUR", "PRECONDITION_FAILED"),
        ("ch_1", "48.51", "EUR", "BUDGET_EXCEEDED"),
        ("ch_1", "48.50", "EUR", ""),
        ("ch_1", "1.00", "EUR", "BUDGET_EXCEEDED"),
        ("ch_none", "1.00", "EUR", "TARGET_NOT_FOUND"),
    ] {
        let paid = present(&mut agent, &pay(charge, value, currency))
            .await
            .unwrap();
        assert_eq!(
            paid.reason_code, refusal,
            "{charge} {value} {currency}: {paid:?}"
        );
        assert_eq!(paid.wrote, refusal.is_empty());
    }
    let refunded = |id: &str| stripe.held().charges[id]["amount_refunded"].clone();
    assert_eq!(
        (refunded("ch_1"), refunded("ch_yen")),
        (5_000.into(), 500.into())
    );
    let sent = writes(&stripe.served);
    assert_eq!(sent.len(), 3, "what is refused is not sent");
    assert!(
        sent[0]
            .body
            .contains("amount=150&charge=ch_1&metadata%5Bdecision%5D="),
        "{}",
        sent[0].body
    );
    assert!(sent[0].headers.contains_key("stripe-version"));
    spec::holds(&stripe.served, "stripe-refunds-trimmed.json", 8);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_500_after_a_refund_is_a_doubt_and_ends_as_one_refund() {
    let (world, stripe) = started().await;
    let mut agent = world.agent().await;
    stripe.held().fails_after = 1;
    let doubt = present(&mut agent, &pay("ch_1", "2.00", "EUR"))
        .await
        .unwrap();
    assert_eq!(doubt.state, i32::from(State::InDoubt), "{doubt:?}");
    settled(&mut agent, &doubt.name, State::ReconciledApplied).await;
    assert_eq!(stripe.held().refunds.len(), 1);
    stripe.held().limited = 1;
    let limited = present(&mut agent, &pay("ch_1", "2.00", "EUR")).await;
    let limited = limited.unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    assert_eq!(stripe.held().refunds.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_bank_did_not_pay_is_none() {
    let (world, stripe) = started().await;
    let mut agent = world.agent().await;
    stripe.held().declined = 1;
    let failed = present(&mut agent, &pay("ch_1", "2.00", "EUR")).await;
    let failed = failed.unwrap();
    assert_eq!(failed.reason_code, "SYSTEM_REFUSED", "{failed:?}");
    assert!(
        failed.message.contains("expired_or_canceled_card"),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_described_and_put_back() {
    let (world, stripe) = started().await;
    let mut agent = world.agent().await;
    let new = wish(
        "pay/main",
        "describe",
        ("customer", "cus_1"),
        json!({"description": "new"}),
    );
    let done = present(&mut agent, &new).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(stripe.held().customers["cus_1"]["description"], "new");
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(stripe.held().customers["cus_1"]["description"], "old");
    world.settle().await;
}

pub(in super::super) async fn conforms_here() {
    let (world, _stripe) = started().await;
    let values = ["new", "old", "by a person"].map(|text| json!({ "description": text }));
    conforms(
        &world,
        fields("describe", "customer/cus_1", "cus_none", values),
    )
    .await;
    let amount = |value: u32| json!({"amount": {"currency": "EUR", "value": value}});
    let mut refund = adds("pay_back", "charge/ch_big", "ch_none", &amount(1));
    refund.extend(["--over".to_owned(), amount(4_999).to_string()]);
    let left = conforms(&world, refund).await;
    assert!(!left.contains(&"more than the record has left".to_owned()));
}
