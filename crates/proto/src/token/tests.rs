//! Checks 2 to 14 on the vectors of `tests/vectors/token.json`, and on every changed byte.

use proptest::prelude::*;
use serde_json::Value as Json;
use uuid::Uuid;

use super::*;
use crate::ids::{DecisionId, TokenId};
use crate::keyset::{KeyEntry, KeyStatus, public_key};

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../../../tests/vectors/token.json")).unwrap()
}

fn key_set(vectors: &Json) -> KeySet {
    let entries = vectors["keys"].as_array().unwrap().iter().map(|listed| {
        let bytes = hex::decode(listed["pub_hex"].as_str().unwrap()).unwrap();
        let usage = match listed["use"].as_str().unwrap() {
            "decision" => KeyUse::Decision,
            _ => KeyUse::Checkpoint,
        };
        let mut entry = KeyEntry::new(
            public_key(&bytes).unwrap(),
            listed["iss"].as_str().unwrap(),
            usage,
        );
        assert_eq!(hex::encode(entry.kid), listed["kid_hex"].as_str().unwrap());
        if listed["status"] == "revoked" {
            entry.status = KeyStatus::Revoked;
        }
        entry
    });
    KeySet::new(1, entries.collect()).unwrap()
}

fn certificate(context: &Json) -> Option<[u8; 32]> {
    let text = context["mtls_x5t_s256_hex"].as_str()?;
    hex::decode(text).unwrap().try_into().ok()
}

/// Codes that only connectord can find: checks 15 and later.
const LATER: [&str; 8] = [
    "TOKEN_SCOPE_MISMATCH",
    "TOKEN_MODE_MISMATCH",
    "TOKEN_ARGS_MISMATCH",
    "ARGS_NOT_CANONICAL",
    "CARD_MISMATCH",
    "TOKEN_REVOKED",
    "TOKEN_REPLAYED",
    "OK",
];

#[test]
fn every_vector_fails_at_its_check_or_passes_the_first_fourteen() {
    let vectors = vectors();
    let keys = key_set(&vectors);
    for case in vectors["vectors"].as_array().unwrap() {
        let mut context = vectors["context"].clone();
        for (key, value) in case["context_override"].as_object().unwrap() {
            context[key] = value.clone();
        }
        let verifier = Verifier {
            keys: &keys,
            audience: context["aud"].as_str().unwrap(),
            now_seconds: context["now"].as_i64().unwrap(),
            leeway_seconds: 5,
            ttl_seconds_max: 300,
            client_cert_sha256: certificate(&context),
            require_cnf: false,
        };
        let bytes = hex::decode(case["token_hex"].as_str().unwrap()).unwrap();
        let got = UnverifiedToken::new(&bytes)
            .verify(&verifier)
            .map_err(|e| e.reason.code());
        let want = case["expect"].as_str().unwrap();
        let name = case["name"].as_str().unwrap();
        match got {
            Ok(_) => assert!(LATER.contains(&want), "{name}: passed, want {want}"),
            Err(code) => assert_eq!(code, want, "{name}"),
        }
    }
}

fn signing_key() -> SigningKey {
    let seed = hex::decode(vectors()["signing_seed_hex"].as_str().unwrap()).unwrap();
    SigningKey::from_bytes(&seed.try_into().unwrap())
}

#[test]
fn minting_gives_the_bytes_of_the_vectors() {
    let vectors = vectors();
    for case in vectors["vectors"].as_array().unwrap() {
        if case["expect"] != "OK" {
            continue;
        }
        let bytes = hex::decode(case["token_hex"].as_str().unwrap()).unwrap();
        let (claims, _) = UnverifiedToken::new(&bytes).inspect_unverified().unwrap();
        assert_eq!(
            hex::encode(mint(&claims, &signing_key())),
            hex::encode(&bytes)
        );
    }
}

fn claims() -> Claims {
    Claims {
        iss: "https://policyd.acme.example".into(),
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
        limits: None,
        trace_id: None,
        card_digest: [6; 32],
        run: None,
    }
}

fn check(claims: &Claims, now: i64, certificate: Option<[u8; 32]>) -> Result<(), Reason> {
    let key = signing_key();
    let entry = KeyEntry::new(
        key.verifying_key(),
        "https://policyd.acme.example",
        KeyUse::Decision,
    );
    let keys = KeySet::new(1, vec![entry]).unwrap();
    let verifier = Verifier {
        keys: &keys,
        audience: "connectord",
        now_seconds: now,
        leeway_seconds: 5,
        ttl_seconds_max: 60,
        client_cert_sha256: certificate,
        require_cnf: true,
    };
    UnverifiedToken::new(&mint(claims, &key))
        .verify(&verifier)
        .map(|_| ())
        .map_err(|e| e.reason)
}

#[test]
fn time_is_accepted_only_inside_the_window() {
    for now in 900..1_200 {
        let want = match now {
            ..995 => Err(Reason::TokenNotYetValid),
            995..=1_065 => Ok(()),
            _ => Err(Reason::TokenExpired),
        };
        assert_eq!(check(&claims(), now, Some([3; 32])), want, "{now}");
    }
    let mut long = claims();
    long.exp = 1_061;
    assert_eq!(
        check(&long, 1_000, Some([3; 32])),
        Err(Reason::TokenTtlTooLong)
    );
}

#[test]
fn a_token_is_bound_to_the_certificate() {
    assert_eq!(check(&claims(), 1_000, Some([3; 32])), Ok(()));
    assert_eq!(
        check(&claims(), 1_000, Some([2; 32])),
        Err(Reason::TokenPopFailed)
    );
    assert_eq!(check(&claims(), 1_000, None), Err(Reason::TokenPopFailed));
    let mut unbound = claims();
    unbound.cnf = None;
    assert_eq!(
        check(&unbound, 1_000, Some([3; 32])),
        Err(Reason::TokenPopFailed)
    );
}

#[test]
fn a_token_longer_than_the_limit_is_refused_before_it_is_read() {
    for (size, want) in [
        (crate::limits::TOKEN_BYTES_MAX, Reason::TokenMalformed),
        (crate::limits::TOKEN_BYTES_MAX + 1, Reason::TokenTooLarge),
    ] {
        let bytes = vec![0xd2; size];
        let got = UnverifiedToken::new(&bytes)
            .inspect_unverified()
            .map(|_| ());
        assert_eq!(got.map_err(|e| e.reason), Err(want));
    }
}

#[test]
fn every_flipped_bit_of_a_token_is_refused() {
    let key = signing_key();
    let entry = KeyEntry::new(
        key.verifying_key(),
        "https://policyd.acme.example",
        KeyUse::Decision,
    );
    let keys = KeySet::new(1, vec![entry]).unwrap();
    let verifier = Verifier {
        keys: &keys,
        audience: "connectord",
        now_seconds: 1_000,
        leeway_seconds: 5,
        ttl_seconds_max: 60,
        client_cert_sha256: Some([3; 32]),
        require_cnf: true,
    };
    let token = mint(&claims(), &key);
    assert!(UnverifiedToken::new(&token).verify(&verifier).is_ok());
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut changed = token.clone();
            changed[at] ^= 1 << bit;
            assert!(
                UnverifiedToken::new(&changed).verify(&verifier).is_err(),
                "{at}.{bit}"
            );
        }
        assert!(
            UnverifiedToken::new(&token[..at])
                .verify(&verifier)
                .is_err(),
            "cut at {at}"
        );
    }
}

proptest! {
    #[test]
    fn random_bytes_are_never_a_token(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(UnverifiedToken::new(&bytes).inspect_unverified().is_err());
    }
}

#[test]
fn the_run_is_the_last_member_and_one_that_is_a_run() {
    let with = |run: &str| Claims {
        run: Some(run.to_owned()),
        trace_id: Some([1; 16]),
        ..claims()
    };
    let sound = with("run-7_a.b");
    assert_eq!(Claims::decode(&sound.encode()), Ok(sound.clone()));
    assert_eq!(check(&sound, 1_000, Some([3; 32])), Ok(()));
    let long = "r".repeat(65);
    for bad in ["", "a b", "a/b", long.as_str()] {
        let refused = Claims::decode(&with(bad).encode()).map_err(|error| error.reason);
        assert_eq!(refused, Err(Reason::TokenBadClaims), "{bad}");
    }
    // Another label in its place, and one member more than there are.
    let bytes = sound.encode();
    let label = bytes.len() - "run-7_a.b".len() - 2;
    assert_eq!(bytes[label], 17);
    for (at, byte) in [(label, 18), (label, 16)] {
        let mut other = bytes.clone();
        other[at] = byte;
        assert!(Claims::decode(&other).is_err(), "{byte}");
    }
    let twice = [&bytes[..], &bytes[label..]].concat();
    assert!(Claims::decode(&twice).is_err());
}

#[test]
fn claims_outside_their_ranges_are_refused() {
    type Change = fn(&mut Claims);
    fn approval(claims: &mut Claims, approvers: u8) {
        claims.approval = Some(ApprovalClaim {
            id: [1; 16],
            approvers,
            request_hash: [2; 32],
        });
    }
    fn limits(claims: &mut Claims, records: u32, currency: &str) {
        claims.limits = Some(LimitsClaim {
            records_max: Some(records),
            money_max: Some((currency.into(), crate::value::Value::Int(1))),
        });
    }
    let table: [(&str, Change); 11] = [
        ("no issuer", |own| own.iss.clear()),
        ("no tenant", |own| own.tenant.clear()),
        ("a long subject", |own| own.sub = "x".repeat(256)),
        ("a long tenant", |own| own.tenant = "x".repeat(129)),
        ("an end at the beginning", |own| own.exp = own.iat),
        ("version 0 of a record", |own| own.record_version = 0),
        ("no approver", |own| approval(own, 0)),
        ("17 approvers", |own| approval(own, 17)),
        ("no record", |own| limits(own, 0, "EUR")),
        ("too many records", |own| limits(own, 1_000_001, "EUR")),
        ("no currency", |own| limits(own, 1, "eur")),
    ];
    for (what, change) in table {
        let mut own = claims();
        change(&mut own);
        let read = Claims::decode(&own.encode()).map_err(|error| error.reason);
        assert_eq!(read, Err(Reason::TokenBadClaims), "{what}");
    }
}

#[test]
fn a_payload_that_is_too_deep_or_has_another_tag_is_not_canonical() {
    for payload in [[&[0x81; 9][..], &[0]].concat(), vec![0xc1, 0]] {
        let read = Claims::decode(&payload).map_err(|error| error.reason);
        assert_eq!(read, Err(Reason::TokenNotCanonical), "{payload:x?}");
    }
}

/// A message of a header and a signature as they are given.
fn message(header: &[u8], signature: &[u8]) -> Vec<u8> {
    use crate::value::{write_array, write_bytes, write_map_head};
    let mut out = vec![0xd2];
    write_array(&mut out, 4);
    write_bytes(&mut out, header);
    write_map_head(&mut out, 0);
    write_bytes(&mut out, &claims().encode());
    write_bytes(&mut out, signature);
    out
}

#[test]
fn a_header_with_more_than_its_labels_is_not_canonical() {
    let header = crate::cose::protected(&[0; 16], TYP_DECISION);
    let read = |header: &[u8]| {
        let read = UnverifiedToken::new(&message(header, &[0; 64])).inspect_unverified();
        read.map(drop).map_err(|error| error.reason)
    };
    assert_eq!(read(&header), Ok(()));
    let behind = [&header[..], &[0]].concat();
    let many = [0xa9, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0];
    let deep = [&[0xa1, 1][..], &[0x81; 9], &[0]].concat();
    for header in [&behind[..], &many, &deep] {
        assert_eq!(read(header), Err(Reason::TokenNotCanonical), "{header:x?}");
    }
}

#[test]
fn a_signature_that_only_a_lax_verifier_takes_is_refused() {
    // Under the identity point R = identity and S = 0 sign every message.
    let mut identity = [0_u8; 32];
    identity[0] = 1;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&identity).unwrap();
    let entry = KeyEntry::new(key, "https://policyd.acme.example", KeyUse::Decision);
    let header = crate::cose::protected(&entry.kid, TYP_DECISION);
    let token = message(&header, &[identity, [0; 32]].concat());
    let keys = KeySet::new(1, vec![entry]).unwrap();
    let origin = UnverifiedToken::new(&token).prove_origin(&keys, "connectord");
    let reason = origin.map(drop).map_err(|error| error.reason);
    assert_eq!(reason, Err(Reason::TokenBadSignature));
}

#[test]
fn the_origin_of_a_token_is_a_decision_key_also_a_revoked_one() {
    let token = mint(&claims(), &signing_key());
    let proven = |usage: KeyUse, status: KeyStatus| {
        let key = signing_key().verifying_key();
        let mut entry = KeyEntry::new(key, "https://policyd.acme.example", usage);
        entry.status = status;
        let keys = KeySet::new(1, vec![entry]).unwrap();
        let origin = UnverifiedToken::new(&token).prove_origin(&keys, "connectord");
        origin.map(drop).map_err(|error| error.reason)
    };
    assert_eq!(proven(KeyUse::Decision, KeyStatus::Revoked), Ok(()));
    assert_eq!(
        proven(KeyUse::Checkpoint, KeyStatus::Active),
        Err(Reason::TokenUnknownKey)
    );
}
