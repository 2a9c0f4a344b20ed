//! A decision is found as it was stored.

use super::*;

#[test]
fn a_decision_is_found_as_it_was_stored() {
    let decided = Decided {
        precondition: Some("v7".into()),
        id: "x".into(),
        tenant: "acme".into(),
        verdict: "ALLOW".into(),
        rules: vec!["a".into(), "b".into()],
        request_hash: vec![1; 32],
        args_cbor: vec![0xa0],
        claims: vec![2; 300],
        expires: 5,
        created_ms: 6,
        offer: Some(Offered {
            connection: "crm/main".into(),
            action: "refund".into(),
            target: Some(("order".into(), "O-7".into())),
            args_json: "{}".into(),
            mode: 1,
            precondition: Some("v".into()),
            sentence: "less".into(),
        }),
        ..Decided::default()
    };
    assert_eq!(Decided::decode(&decided.encode()), Ok(decided.clone()));
    let without = Decided {
        precondition: None,
        ..decided.clone()
    };
    assert_eq!(Decided::decode(&without.encode()), Ok(without));
    let bytes = decided.encode();
    for at in 0..bytes.len() - 1 {
        assert!(Decided::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}
