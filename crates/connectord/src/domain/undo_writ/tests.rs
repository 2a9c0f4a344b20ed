//! Every part of the journal that an undo goes by is bound by its writ.

use ed25519_dalek::SigningKey;
use writ_proto::ids::{DecisionId, TokenId};
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};
use writ_proto::limits::UNDO_SECONDS_MAX;
use writ_proto::token::{Claims, Mode, Written, mint_undo, undo_payload};

use super::*;
use crate::domain::execution::tests::execution;

const ISSUER: &str = "https://policyd.acme.example";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn journaled() -> Execution {
    Execution {
        run: "r-1".into(),
        changes: vec![
            Change {
                field: "stage".into(),
                before_json: Some("\"new\"".into()),
                after_json: Some("\"won\"".into()),
            },
            Change {
                field: "amount".into(),
                before_json: None,
                after_json: Some("12.50".into()),
            },
        ],
        ..execution(3)
    }
}

/// What policyd signs for that execution, put together here from its values.
fn writ() -> Vec<u8> {
    let claims = Claims {
        iss: ISSUER.into(),
        sub: "user://alice".into(),
        aud: "connectord".into(),
        exp: 60,
        iat: 1,
        cti: TokenId::new(Uuid::from_u128(1)),
        cnf: None,
        tenant: "acme".into(),
        agent: "triage".into(),
        connection: "crm/main".into(),
        action: "refund".into(),
        target: Some(("order".into(), "O-7".into())),
        request_hash: [4; 32],
        mode: Mode::Execute,
        decision_id: DecisionId::new(Uuid::from_u128(3)),
        record_version: 1,
        policy_digest: [5; 32],
        epoch: 0,
        approval: None,
        limits: None,
        trace_id: None,
        card_digest: [6; 32],
        run: Some("r-1".into()),
    };
    let map = |text: &str| match value_from_json(text) {
        Ok(writ_proto::value::Value::Map(map)) => map,
        other => panic!("{other:?}"),
    };
    let written = Written {
        execution: Uuid::from_u128(3),
        agent: "triage",
        connection: "crm/main",
        action: "refund",
        target: ("order", "O-7"),
        images: images_digest(
            &map("{\"stage\": \"new\"}"),
            &map("{\"stage\": \"won\", \"amount\": 12.50}"),
        ),
        issued: 100,
        window: 600,
    };
    mint_undo(&undo_payload(&claims.encode(), &written).unwrap(), &key())
}

fn verifier(keys: &KeySet, now: i64) -> Verifier<'_> {
    Verifier {
        keys,
        audience: "connectord",
        now_seconds: now,
        leeway_seconds: 5,
        ttl_seconds_max: UNDO_SECONDS_MAX,
        client_cert_sha256: None,
        require_cnf: false,
    }
}

/// Refused why, without and with the word of an operator.
fn checked(execution: &Execution, writ: &[u8], trusted: &SigningKey, now: i64) -> Option<Reason> {
    let entry = KeyEntry::new(trusted.verifying_key(), ISSUER, KeyUse::Decision);
    let keys = KeySet::new(1, vec![entry]).unwrap();
    let verifier = verifier(&keys, now);
    let strict = admit(execution, Some(writ), false, &verifier);
    let by_word = admit(execution, Some(writ), true, &verifier);
    match &strict {
        // Only a signature that is missing is replaced, and it is told apart from one that is not.
        Err(refusal) if refusal.reason == Reason::UndoNotSigned => {
            assert!(by_word.is_ok_and(|permit| !permit.is_signed()));
        }
        other => assert_eq!(by_word, *other),
    }
    assert!(strict.as_ref().is_ok_and(UndoPermit::is_signed) || strict.is_err());
    strict.err().map(|refusal| refusal.reason)
}

#[test]
fn what_policyd_signed_is_undone_while_the_window_lasts_and_the_key_is_trusted() {
    let other = SigningKey::from_bytes(&[8; 32]);
    for (trusted, now, expected) in [
        (key(), 100, None),
        (key(), 705, None),
        (key(), 706, Some(Reason::UndoExpired)),
        (key(), 90, Some(Reason::UndoNotSigned)),
        (other, 100, Some(Reason::UndoNotSigned)),
    ] {
        assert_eq!(checked(&journaled(), &writ(), &trusted, now), expected);
    }
    let keys = KeySet::new(1, vec![]).unwrap();
    let none = |unsigned| admit(&journaled(), None, unsigned, &verifier(&keys, 100));
    assert_eq!(none(false).unwrap_err().reason, Reason::UndoNotSigned);
    let by_word = none(true).unwrap();
    assert!(!by_word.is_signed());
    assert_eq!(by_word.execution(), journaled().id);
    let garbage = checked(&journaled(), b"\xd2\x84", &key(), 100);
    assert_eq!(garbage, Some(Reason::UndoNotSigned));
}

fn again(own: &mut Execution, before: Option<&str>, after: Option<&str>) {
    own.changes.push(Change {
        field: "stage".into(),
        before_json: before.map(str::to_owned),
        after_json: after.map(str::to_owned),
    });
}

#[test]
fn a_journal_that_was_edited_is_not_undone() {
    type Edit = fn(&mut Execution);
    let edits: [(&str, Edit); 17] = [
        ("id", |own| own.id = Uuid::from_u128(4).to_string()),
        ("tenant", |own| own.tenant = "globex".into()),
        ("agent", |own| own.agent = "mallory".into()),
        ("connection", |own| own.connection = "crm/other".into()),
        ("action", |own| own.action = "set_stage".into()),
        ("object", |own| own.object = "deal".into()),
        ("target", |own| own.target = "O-8".into()),
        ("run", |own| own.run.clear()),
        ("decision", |own| {
            own.decision.clone_from(&own.id.replace('3', "5"));
        }),
        ("before", |own| {
            own.changes[0].before_json = Some("\"lost\"".into());
        }),
        ("unreadable", |own| {
            own.changes[0].before_json = Some("lost".into());
        }),
        ("after", |own| {
            own.changes[1].after_json = Some("12.51".into());
        }),
        ("a field less", |own| own.changes.truncate(1)),
        ("a field cleared", |own| again(own, None, Some("\"won\""))),
        ("a field garbled", |own| {
            again(own, Some("x"), Some("\"won\""));
        }),
        ("a field twice", |own| {
            again(own, Some("\"new\""), Some("\"won\""));
        }),
        ("a field of nothing", |own| again(own, None, None)),
    ];
    for (what, edit) in edits {
        let mut own = journaled();
        edit(&mut own);
        let got = checked(&own, &writ(), &key(), 100);
        assert_eq!(got, Some(Reason::UndoMismatch), "{what}");
    }
}
