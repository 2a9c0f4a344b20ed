//! Whatever a report holds, it becomes a record that can be read.

use writ_proto::value::first_from_cbor;

use super::*;

fn outcome(before: &str) -> pb::Outcome {
    pb::Outcome {
        outcome_id: Uuid::from_u128(1).to_string(),
        tenant: "acme".into(),
        kind: pb::OutcomeKind::Result.into(),
        time: Some(prost_types::Timestamp {
            seconds: 1_790_000_000,
            nanos: 5_000_000,
        }),
        agent: "triage".into(),
        status: "DONE".into(),
        changes: vec![pb::FieldChange {
            field: "log".into(),
            before_json: Some(before.into()),
            after_json: Some("\"x\"".into()),
        }],
        ..pb::Outcome::default()
    }
}

#[test]
fn values_of_a_system_are_kept_as_they_are_or_as_marked_bytes() {
    let feeds = Value::Text("\u{c}".repeat(11_000)).to_json();
    let bells = Value::Text("\u{7}".repeat(11_000)).to_json();
    let long = Value::Text("x".repeat(40_000)).to_json();
    let table = [
        ("\"new\"", false),
        ("12.50", false),
        ("null", false),
        (feeds.as_str(), false),
        // Six bytes for each of them: longer than a value may be written.
        (bells.as_str(), true),
        (long.as_str(), true),
        ("{\"a\":1,\"a\":2}", true),
        ("1e999", true),
        ("not JSON", true),
        ("", true),
    ];
    for (json, unread) in table {
        let shown: String = json.chars().take(40).collect();
        let read = reported(outcome(json)).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(read.unread, unread, "{shown}");
        let before = read.changes[0].before.as_ref().unwrap();
        // What is stored can be read again.
        let bytes = before.encode();
        assert_eq!(first_from_cbor(&bytes).unwrap().0, *before, "{shown}");
        if unread {
            let map = before.as_map().unwrap();
            assert_eq!(
                map.get("length"),
                Some(&Value::Int(i64::try_from(json.len()).unwrap())),
                "{shown}"
            );
        }
    }
}

#[test]
fn absurd_times_and_texts_do_not_lose_a_report() {
    let mut one = outcome("1");
    one.time = Some(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    one.agent = "a\0b".into();
    one.note = "é".repeat(5_000);
    one.target = Some(pb::Target {
        r#type: "deal\0".into(),
        id: "D\0".into(),
    });
    one.captured = Some(pb::CapturedAmount {
        currency: "nothing".into(),
        amount: "x".into(),
    });
    one.changes = (0..500).map(|_| one.changes[0].clone()).collect();
    let read = reported(one).unwrap();
    assert!((1_790_000_000_000..TIME_MS_END).contains(&read.time_ms));
    assert_eq!(read.agent, "a\u{fffd}b");
    assert_eq!(
        read.target,
        Some(("deal\u{fffd}".into(), "D\u{fffd}".into()))
    );
    assert!(read.note.len() <= TEXT_BYTES_MAX);
    assert!(read.unread && read.changes.len() == CHANGES_MAX);
    assert_eq!(read.captured, None);
}

#[test]
fn a_report_that_names_nothing_is_refused() {
    let without: [fn(&mut pb::Outcome); 3] = [
        |one| one.outcome_id.clear(),
        |one| one.tenant = "No Tenant".into(),
        |one| one.kind = 99,
    ];
    for change in without {
        let mut one = outcome("1");
        change(&mut one);
        assert!(reported(one).is_err());
    }
}

#[test]
fn values_that_are_too_many_together_are_kept_and_not_undone() {
    let list = Value::List(vec![Value::Int(0); 999]).to_json();
    let mut one = outcome(&list);
    assert!(!reported(one.clone()).unwrap().unread);
    one.changes = (0..11)
        .map(|index| pb::FieldChange {
            field: format!("f{index}"),
            ..one.changes[0].clone()
        })
        .collect();
    assert!(reported(one).unwrap().unread);
}
