//! Values that the card hides are hidden on both sides.

use super::*;
use crate::domain::execution::tests::execution as claimed;

const CARD: &str = include_str!("../../../../../policies/acme/actions/fill_phone.toml");

#[test]
fn values_that_the_card_hides_are_hidden_on_both_sides() {
    let open = Card::parse(CARD).unwrap();
    let veiled = Card::parse(&format!("{CARD}\n[read]\nmask = {{ phone = \"last2\" }}\n"));
    let veiled = veiled.unwrap();
    let mut own = claimed(1);
    own.changes = vec![Change {
        field: "phone".into(),
        before_json: Some("\"+31 6 0000\"".into()),
        after_json: Some("\"+31 6 1234\"".into()),
    }];
    own.collateral = vec![Change {
        field: "iban".into(),
        before_json: None,
        after_json: Some("\"NL91ABNA0417164300\"".into()),
    }];
    assert_eq!(execution(Some(&open), own.clone()), own);
    own.sentence = "would change contact C-1: phone \"+31 6 0000\"".into();
    own.message = "+31 6 1234 is used by C-9".into();
    let seen = execution(Some(&veiled), own.clone());
    assert!(!format!("{seen:?}").contains("+31"), "{seen:?}");
    assert_eq!(seen.changes[0].before_json.as_deref(), Some("\"***00\""));
    assert_eq!(seen.changes[0].after_json.as_deref(), Some("\"***34\""));
    assert_eq!(seen.collateral[0].before_json, None);
    assert_eq!(seen.collateral[0].after_json.as_deref(), Some("\"***\""));
    let blind = execution(None, own).changes[0].after_json.clone();
    assert_eq!(blind.as_deref(), Some("\"***\""));
}

#[test]
fn why_an_undo_was_refused_is_told_without_the_values_that_the_card_hides() {
    let open = Card::parse(CARD).unwrap();
    let veiled = Card::parse(&format!("{CARD}\n[read]\nmask = {{ phone = \"last2\" }}\n"));
    let veiled = veiled.unwrap();
    let why = "phone: we wrote \"+31 6 1234\", now it is \"+31 6 0000\"";
    let drifted = Refusal::new(writ_proto::Reason::PreconditionFailed, why);
    let seen = |card: Option<&Card>| {
        let item = Undone {
            execution: Box::new(claimed(1)),
            undone: false,
            refusal: Some(drifted.clone()),
            changes: vec![Change {
                field: "phone".into(),
                before_json: Some("\"+31 6 0000\"".into()),
                after_json: None,
            }],
            unsigned: false,
            replayed: false,
        };
        undone(card, item)
    };
    assert_eq!(seen(Some(&open)).refusal, Some(drifted.clone()));
    for card in [Some(&veiled), None] {
        let item = seen(card);
        assert_eq!(item.refusal.as_ref().unwrap().reason, drifted.reason);
        assert!(!format!("{item:?}").contains("+31"), "{item:?}");
    }
}
