//! What a look-up for a refund finds, and what an answer to one means.

use super::*;

#[test]
fn a_refund_at_shopify_counts_only_where_its_payment_says_so() {
    struct Key;
    impl slot::Scope for Key {
        fn get(&self, _: &slot::Slot) -> Option<serde_json::Value> {
            Some("k-1".into())
        }
    }
    let shopify = include_str!("../../../../../../deploy/systems/shopify.toml");
    let bound = Bound::compile(shopify).unwrap();
    let Settle::Find(looks) = &bound.objects["order"].verbs["refund"].settle else {
        panic!("it is looked for");
    };
    for (status, ids, unsure) in [
        ("SUCCESS", 1, false),
        ("PENDING", 1, false),
        ("AWAITING_RESPONSE", 1, false),
        ("FAILURE", 0, false),
        ("ERROR", 0, true),
        ("UNKNOWN", 0, true),
    ] {
        let refund = serde_json::json!({"id": "1", "note": "writ k-1", "transactions": {"nodes": [{"status": status}]}});
        let answer = serde_json::json!({"data": {"order": {"refunds": [refund]}}});
        let found = looks[0].read(&answer, &Key).unwrap();
        assert_eq!((found.ids.len(), found.unsure), (ids, unsure), "{status}");
    }
    let judged = |refund: serde_json::Value| {
        let errors = serde_json::json!([{"message": "no"}]);
        let body =
            serde_json::json!({"data": {"refundCreate": {"refund": refund, "userErrors": errors}}});
        let answer = Answer {
            status: 200,
            headers: Vec::new(),
            wait: None,
            body: Some(body),
            media: "application/json".into(),
        };
        bound.rules.judge(&answer, true)
    };
    let refused = Judged::Not(Meaning::Refused, Some("no".into()));
    assert_eq!(judged(serde_json::Value::Null), refused);
    let made = serde_json::json!({"id": "1", "transactions": {"nodes": [{"status": "SUCCESS"}]}});
    assert_eq!(judged(made), Judged::Answered);
}
