//! The undo writ: what it is made from, what it is not, and every difference that it refuses.

use super::*;
use crate::digest::images_digest;
use crate::ids::DecisionId;
use crate::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};
use crate::reason::Reason;
use crate::token::{LimitsClaim, UnverifiedToken, mint};
use crate::value::{Map, Value};

const ISSUER: &str = "https://policyd.acme.example";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn writ() -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: "user://alice".into(),
        aud: "connectord".into(),
        exp: 1_060,
        iat: 1_000,
        cti: TokenId::new(Uuid::from_u128(7)),
        cnf: Some([3; 32]),
        tenant: "acme".into(),
        agent: "triage".into(),
        connection: "crm/main".into(),
        action: "set_stage".into(),
        target: Some(("deal".into(), "D-104".into())),
        request_hash: [4; 32],
        mode: Mode::Execute,
        decision_id: DecisionId::new(Uuid::from_u128(8)),
        record_version: 1,
        policy_digest: [5; 32],
        epoch: 9,
        approval: None,
        limits: Some(LimitsClaim {
            records_max: Some(1),
            money_max: None,
        }),
        trace_id: Some([1; 16]),
        card_digest: [6; 32],
        run: Some("r-1".into()),
    }
}

fn map(stage: &str) -> Map {
    let mut map = Map::new();
    map.set("stage", Value::Text(stage.into()));
    map
}

fn written() -> Written<'static> {
    Written {
        execution: Uuid::from_u128(20),
        agent: "triage",
        connection: "crm/main",
        action: "set_stage",
        target: ("deal", "D-104"),
        images: images_digest(&map("new"), &map("won")),
        issued: 2_000,
        window: 3_600,
    }
}

fn asked() -> Asked<'static> {
    Asked {
        tenant: "acme",
        agent: "triage",
        connection: "crm/main",
        action: "set_stage",
        target: ("deal", "D-104"),
        run: "r-1",
        execution: Uuid::from_u128(20),
        decision: Uuid::from_u128(8),
        images: images_digest(&map("new"), &map("won")),
    }
}

fn verify(token: &[u8], now: i64, usage: KeyUse) -> Result<VerifiedUndo, Reason> {
    let entry = KeyEntry::new(key().verifying_key(), ISSUER, usage);
    let keys = KeySet::new(1, vec![entry]).unwrap();
    UnverifiedUndo::new(token)
        .verify(&verifier(&keys, now))
        .map_err(|error| error.reason)
}

fn verifier(keys: &KeySet, now: i64) -> Verifier<'_> {
    Verifier {
        keys,
        audience: "connectord",
        now_seconds: now,
        leeway_seconds: 5,
        ttl_seconds_max: 3_600,
        client_cert_sha256: Some([3; 32]),
        require_cnf: false,
    }
}

fn undo_writ() -> Vec<u8> {
    mint_undo(&undo_payload(&writ().encode(), &written()).unwrap(), &key())
}

#[test]
fn it_allows_the_undo_of_this_write_for_as_long_as_the_card_says() {
    for (now, expected) in [
        (1_994, Err(Reason::TokenNotYetValid)),
        (1_995, Ok(())),
        (5_605, Ok(())),
        (5_606, Err(Reason::TokenExpired)),
    ] {
        let got = verify(&undo_writ(), now, KeyUse::Decision);
        assert_eq!(got.map(|undo| undo.allows(&asked()).unwrap()), expected);
    }
    let other = verify(&undo_writ(), 2_000, KeyUse::Checkpoint);
    assert_eq!(other, Err(Reason::TokenUnknownKey));
}

#[test]
fn neither_writ_is_taken_for_the_other() {
    let claims = undo_payload(&writ().encode(), &written()).unwrap();
    let claims = Claims::decode(&claims).unwrap();
    let as_writ = mint(&claims, &key());
    let got = verify(&as_writ, 2_000, KeyUse::Decision);
    assert_eq!(got, Err(Reason::TokenBadTyp));
    let entry = KeyEntry::new(key().verifying_key(), ISSUER, KeyUse::Decision);
    let keys = KeySet::new(1, vec![entry]).unwrap();
    let token = undo_writ();
    let got = UnverifiedToken::new(&token).verify(&verifier(&keys, 2_000));
    assert_eq!(got.unwrap_err().reason, Reason::TokenBadTyp);
}

#[test]
fn every_difference_to_the_write_is_refused_and_named() {
    let undo = verify(&undo_writ(), 2_000, KeyUse::Decision).unwrap();
    let other = images_digest(&map("lost"), &map("won"));
    let table: [(&str, Asked<'_>); 9] = [
        (
            "tenant",
            Asked {
                tenant: "globex",
                ..asked()
            },
        ),
        (
            "agent",
            Asked {
                agent: "mallory",
                ..asked()
            },
        ),
        (
            "connection",
            Asked {
                connection: "crm/other",
                ..asked()
            },
        ),
        (
            "action",
            Asked {
                action: "refund",
                ..asked()
            },
        ),
        (
            "target",
            Asked {
                target: ("deal", "D-105"),
                ..asked()
            },
        ),
        ("run", Asked { run: "", ..asked() }),
        (
            "execution",
            Asked {
                execution: Uuid::from_u128(21),
                ..asked()
            },
        ),
        (
            "decision",
            Asked {
                decision: Uuid::from_u128(9),
                ..asked()
            },
        ),
        (
            "values before and after",
            Asked {
                images: other,
                ..asked()
            },
        ),
    ];
    for (what, asked) in table {
        assert_eq!(undo.allows(&asked), Err(what));
    }
}

#[test]
fn only_a_writ_that_allowed_the_write_has_one() {
    let of = |writ: Claims, written: Written<'_>| undo_payload(&writ.encode(), &written);
    let dry = Claims {
        mode: Mode::DryRun,
        ..writ()
    };
    let nowhere = Claims {
        target: None,
        ..writ()
    };
    assert_eq!(of(dry, written()), None);
    assert_eq!(of(nowhere, written()), None);
    for other in [
        Written {
            agent: "mallory",
            ..written()
        },
        Written {
            connection: "crm/other",
            ..written()
        },
        Written {
            action: "refund",
            ..written()
        },
        Written {
            target: ("deal", "D-9"),
            ..written()
        },
        Written {
            target: ("order", "D-104"),
            ..written()
        },
    ] {
        assert_eq!(of(writ(), other), None, "{other:?}");
    }
    assert_eq!(undo_payload(b"garbage", &written()), None);
    let payload = of(writ(), written()).unwrap();
    assert_eq!(undo_execution(&payload), Some(Uuid::from_u128(20)));
    assert_eq!(Claims::decode(&payload).unwrap().cnf, None);
}

#[test]
fn it_outlives_the_key_that_signed_it_but_not_its_revocation() {
    let token = undo_writ();
    let with = |change: fn(&mut KeyEntry)| {
        let mut entry = KeyEntry::new(key().verifying_key(), ISSUER, KeyUse::Decision);
        change(&mut entry);
        let keys = KeySet::new(1, vec![entry]).unwrap();
        let undo = UnverifiedUndo::new(&token).verify(&verifier(&keys, 3_000));
        undo.map(drop).map_err(|error| error.reason)
    };
    let unknown = Err(Reason::TokenUnknownKey);
    assert_eq!(with(|key| key.not_after = Some(2_000)), Ok(()));
    assert_eq!(with(|key| key.not_after = Some(1_999)), unknown);
    assert_eq!(with(|key| key.not_before = Some(2_001)), unknown);
    assert_eq!(with(|key| key.status = KeyStatus::Retiring), Ok(()));
    assert_eq!(with(|key| key.status = KeyStatus::Revoked), unknown);
}

#[test]
fn images_differ_by_side_by_field_and_by_what_was_not_there() {
    let (one, two, none) = (map("new"), map("won"), Map::new());
    let all = [
        images_digest(&one, &two),
        images_digest(&two, &one),
        images_digest(&none, &two),
        images_digest(&one, &none),
        images_digest(&none, &none),
    ];
    for (at, digest) in all.iter().enumerate() {
        assert!(!all[..at].contains(digest), "{at}");
    }
    // ["writ.images.v1", {}, {"a": 1}], written out by hand.
    let mut bytes = vec![0x83, 0x6e];
    bytes.extend_from_slice(b"writ.images.v1");
    bytes.extend_from_slice(&[0xa0, 0xa1, 0x61, b'a', 0x01]);
    let mut after = Map::new();
    after.set("a", Value::Int(1));
    assert_eq!(images_digest(&none, &after), crate::digest::sha256(&bytes));
}
