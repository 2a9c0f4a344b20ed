//! Leaves are canonical, commitments are those of the shared sketch.

use super::*;

#[test]
fn a_commitment_is_that_of_the_sketch() {
    // `target_id` of records_sketch.json.
    let salt = "66d95739a7adacc4239dcb963762b6738800bb3b189a9d30dbb625258802f5e1";
    let disclosure = Disclosure {
        name: "target_id",
        salt: hex::decode(salt).unwrap().try_into().unwrap(),
        value: Value::Text("8841201".into()),
    };
    assert_eq!(
        hex::encode(disclosure.commitment()),
        "24c98713dbe4774a9d9be75130d337553a9f66dc8d3186db8f1dd74c9f7d7d65"
    );
}

#[test]
fn a_leaf_of_the_sketch_is_read_only_where_its_form_is_ours() {
    let draft = Draft {
        origin: "p/log/acme".into(),
        kind: Kind::Result,
        record_id: Uuid::from_u128(3),
        later: true,
        time_ms: 1_790_000_000_123,
        writer: "policyd-0".into(),
        tenant: "acme".into(),
        agent: "triage".into(),
        connection: "crm/main".into(),
        action: "refund".into(),
        target_type: "order".into(),
        verdict: None,
        reasons: vec![],
        policy: None,
        mode: Some(1),
        money: Some(("EUR".into(), Value::Int(49))),
        token: Some(TokenStamp {
            cti: Uuid::from_u128(4),
            kid: Some([1; 16]),
            issued: 1,
            expires: 2,
        }),
        execution: Some(ExecutionStamp {
            status: "DONE".into(),
            attempt: 1,
            milliseconds: 12,
            execution: Some(Uuid::from_u128(5)),
        }),
        budget: None,
        epoch: Some(0),
        trace_id: Some([2; 16]),
        incident: None,
        halt: Some(HaltStamp {
            scope: "tenant:acme".into(),
        }),
        disclosures: vec![],
    };
    let leaf = draft.leaf(&Place {
        seq: 7,
        prev: Some(&[9; 32]),
        version: 2,
        previous: Some(&[8; 32]),
    });
    let read = project(&leaf).unwrap();
    assert_eq!(read.halt, "tenant:acme");
    assert_eq!(read.previous, Some("08".repeat(32)));
    assert_eq!(
        (read.seq, read.version, read.kind.as_str()),
        (7, 2, "result")
    );
    assert_eq!(
        (read.status.as_str(), read.money.as_str()),
        ("DONE", "49 EUR")
    );
    assert_eq!(read.prev_hash(), Some([9; 32]));
    for at in 0..leaf.len() {
        assert!(project(&leaf[..at]).is_err(), "cut at {at}");
    }
    let mut longer = leaf;
    longer.push(0);
    assert!(project(&longer).is_err());
}

#[test]
fn nothing_personal_stands_in_a_leaf() {
    let secret = "Ada Lovelace";
    let disclosure = Disclosure {
        name: "reason",
        salt: [1; 32],
        value: Value::Text(secret.into()),
    };
    let draft = Draft {
        origin: "p/log/acme".into(),
        kind: Kind::Evaluated,
        record_id: Uuid::from_u128(3),
        later: false,
        time_ms: 0,
        writer: "w".into(),
        tenant: "acme".into(),
        agent: "a".into(),
        connection: String::new(),
        action: String::new(),
        target_type: String::new(),
        verdict: Some(0),
        reasons: vec![],
        policy: None,
        mode: None,
        money: None,
        token: None,
        execution: None,
        budget: None,
        epoch: None,
        trace_id: None,
        halt: None,
        incident: None,
        disclosures: vec![disclosure],
    };
    let leaf = draft.leaf(&Place {
        seq: 0,
        prev: None,
        version: 1,
        previous: None,
    });
    let holds = |bytes: &[u8]| {
        let mut windows = bytes.windows(secret.len());
        windows.any(|window| window == secret.as_bytes())
    };
    assert!(!holds(&leaf) && holds(&draft.disclosed()));
}

#[test]
fn a_leaf_with_very_many_rules_and_long_errors_can_be_read_back() {
    let stamp = PolicyStamp {
        digest: [1; 32],
        label: "x".into(),
        determining: (0..5_000).map(|index| format!("rule-{index}")).collect(),
        errors: vec!["e".repeat(100_000)],
        schema_digest: [2; 32],
    };
    let Value::List(items) = stamp.value() else {
        panic!("a list")
    };
    let Some(Value::List(rules)) = items.get(2) else {
        panic!("rules")
    };
    assert_eq!(rules.len(), 101);
    assert_eq!(rules.last(), Some(&Value::Text("and 4900 more".into())));
    let bytes = stamp.value().encode();
    assert!(writ_proto::value::value_from_cbor(&bytes).is_ok());
}

#[test]
fn labels_in_another_order_number_or_spelling_are_no_leaf() {
    let whole = |number: i64| Value::Int(number);
    let format = Value::Text(context::RECORD.to_owned());
    let pairs = [(0, format), (2, whole(0)), (4, whole(1)), (8, whole(0))];
    let leaf = project::encode_labels(&pairs);
    assert!(project(&leaf).is_ok());
    let mut swapped = pairs.clone();
    swapped.swap(1, 2);
    let mut later = pairs.clone();
    later[0].1 = Value::Text("writ.record.v9".into());
    let many: Vec<_> = (0..65).map(|label| (label, pairs[0].1.clone())).collect();
    for (leaf, why) in [
        (project::encode_labels(&swapped), "labels out of order"),
        (project::encode_labels(&later), "the version of the format"),
        (project::encode_labels(&many), "too many labels"),
        ([&[0xb8, 4], &leaf[1..]].concat(), "overlong bytes"),
    ] {
        let error = project(&leaf).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}
