//! Checks 15 to 18 on the shared vectors, and a mutation of every field of a call.

use ed25519_dalek::SigningKey;
use serde_json::Value as Json;
use writ_proto::digest::RequestParts;
use writ_proto::ids::{DecisionId, TokenId};
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};
use writ_proto::token::{UnverifiedToken, Verifier, mint};

use super::*;

mod args;
mod card;
mod moment;

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../../../../tests/vectors/token.json")).unwrap()
}

#[test]
fn every_vector_ends_at_its_check() {
    let vectors = vectors();
    for case in vectors["vectors"].as_array().unwrap() {
        let got = crate::lab::vectors::token_case(&vectors, case).unwrap();
        assert_eq!(got, case["expect"].as_str().unwrap(), "{}", case["name"]);
    }
}

/// A write that names no run.
pub(crate) fn call() -> Call {
    Call {
        tenant: "acme".into(),
        caller_tenant: "acme".into(),
        agent: "triage".into(),
        connection: "crm/main".into(),
        action: "set_stage".into(),
        target: Some(("deal".into(), "D-104".into())),
        args_cbor: writ_proto::value::args_from_json("{\"stage\":\"qualified\"}")
            .unwrap()
            .encode(),
        precondition: Some("v1".into()),
        mode: Mode::Execute,
        request_id: uuid::Uuid::from_u128(1),
        run_id: String::new(),
    }
}

/// What is signed for a call.
fn claims(call: &Call) -> Claims {
    Claims {
        iss: "p".into(),
        sub: "s".into(),
        aud: "connectord".into(),
        exp: 1_060,
        iat: 1_000,
        cti: TokenId::new(uuid::Uuid::from_u128(2)),
        cnf: None,
        tenant: call.tenant.clone(),
        agent: call.agent.clone(),
        connection: call.connection.clone(),
        action: call.action.clone(),
        target: call.target.clone(),
        request_hash: request_hash(&RequestParts {
            tenant: &call.tenant,
            connection: &call.connection,
            action: &call.action,
            target: call
                .target
                .as_ref()
                .map(|(kind, id)| (kind.as_str(), id.as_str())),
            args_cbor: &call.args_cbor,
            precondition: call.precondition.as_deref(),
        }),
        mode: call.mode,
        decision_id: DecisionId::new(uuid::Uuid::from_u128(3)),
        record_version: 1,
        policy_digest: [0; 32],
        epoch: 4,
        approval: None,
        limits: None,
        trace_id: None,
        card_digest: [5; 32],
        run: Some(call.run_id.clone()).filter(|run| !run.is_empty()),
    }
}

fn signed(claims: &Claims) -> VerifiedToken {
    let key = SigningKey::from_bytes(&[1; 32]);
    let entry = KeyEntry::new(key.verifying_key(), "p", KeyUse::Decision);
    let keys = KeySet::new(1, vec![entry]).unwrap();
    let verifier = Verifier {
        keys: &keys,
        audience: "connectord",
        now_seconds: 1_000,
        leeway_seconds: 5,
        ttl_seconds_max: 60,
        client_cert_sha256: None,
        require_cnf: false,
    };
    UnverifiedToken::new(&mint(claims, &key))
        .verify(&verifier)
        .unwrap()
}

fn token(call: &Call) -> VerifiedToken {
    signed(&claims(call))
}

/// What becomes of a call that is signed as it stands, under connectord's own card.
pub(crate) fn admitted(call: &Call, card: &Card, now: DateTime<Utc>) -> Result<Permit, Refusal> {
    let digest = card.digest();
    let seen = Seen {
        card_digest: &digest,
        now,
        ..SEEN
    };
    let claims = Claims {
        card_digest: digest,
        ..claims(call)
    };
    admit(&signed(&claims), call, &seen, Some(card))
}

const FREE: Standing<'_> = Standing {
    epoch: 4,
    halted: None,
    revoked: None,
};

const SEEN: Seen<'_> = Seen {
    now: DateTime::UNIX_EPOCH,
    card_digest: &[5; 32],
    rollout: Rollout::Live,
    standing: Some(FREE),
};

const fn standing(standing: Standing<'_>) -> Seen<'_> {
    Seen {
        standing: Some(standing),
        ..SEEN
    }
}

fn reason(changed: &Call, seen: &Seen<'_>) -> Option<Reason> {
    admit(&token(&call()), changed, seen, None)
        .err()
        .map(|refusal| refusal.reason)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_change_of_any_field_of_the_call_is_refused() {
    assert_eq!(reason(&call(), &SEEN), None);
    type Change = fn(&mut Call);
    // Destructured so that a new field of a call cannot be forgotten here.
    let Call {
        tenant: _,
        // Not compared: the token is bound to the caller's certificate.
        caller_tenant: _,
        agent: _,
        connection: _,
        action: _,
        target: _,
        args_cbor: _,
        precondition: _,
        mode: _,
        request_id: _,
        run_id: _,
    } = call();
    let table: [(&str, Change, Reason); 13] = [
        (
            "run",
            |c| c.run_id = "another".into(),
            Reason::TokenScopeMismatch,
        ),
        (
            "tenant",
            |c| c.tenant = "globex".into(),
            Reason::TokenScopeMismatch,
        ),
        (
            "tenant prefix",
            |c| c.tenant = "acm".into(),
            Reason::TokenScopeMismatch,
        ),
        (
            "agent",
            |c| c.agent = "other".into(),
            Reason::TokenScopeMismatch,
        ),
        (
            "connection",
            |c| c.connection = "crm/other".into(),
            Reason::TokenScopeMismatch,
        ),
        (
            "action",
            |c| c.action = "set_owner".into(),
            Reason::TokenScopeMismatch,
        ),
        (
            "target type",
            |c| c.target = Some(("order".into(), "D-104".into())),
            Reason::TokenScopeMismatch,
        ),
        (
            "target id",
            |c| c.target = Some(("deal".into(), "D-105".into())),
            Reason::TokenScopeMismatch,
        ),
        ("no target", |c| c.target = None, Reason::TokenScopeMismatch),
        ("mode", |c| c.mode = Mode::DryRun, Reason::TokenModeMismatch),
        (
            "precondition",
            |c| c.precondition = Some("v2".into()),
            Reason::TokenArgsMismatch,
        ),
        (
            "no precondition",
            |c| c.precondition = None,
            Reason::TokenArgsMismatch,
        ),
        (
            "args",
            |c| {
                c.args_cbor = writ_proto::value::args_from_json("{\"stage\":\"won\"}")
                    .unwrap()
                    .encode();
            },
            Reason::TokenArgsMismatch,
        ),
    ];
    for (name, change, want) in table {
        let mut changed = call();
        change(&mut changed);
        assert_eq!(reason(&changed, &SEEN), Some(want), "{name}");
    }
}

#[test]
fn every_changed_byte_of_the_arguments_is_refused() {
    for at in 0..call().args_cbor.len() {
        for bit in 0..8 {
            let mut changed = call();
            changed.args_cbor[at] ^= 1 << bit;
            let got = reason(&changed, &SEEN);
            let wanted = [
                Some(Reason::ArgsNotCanonical),
                Some(Reason::TokenArgsMismatch),
            ];
            assert!(wanted.contains(&got), "{at}.{bit}: {got:?}");
        }
    }
}

#[test]
fn what_connectord_sees_can_only_refuse() {
    let scope = Scope::global();
    let table = [
        (
            Seen {
                card_digest: &[6; 32],
                ..SEEN
            },
            Reason::CardMismatch,
        ),
        (
            Seen {
                rollout: Rollout::DryRun,
                ..SEEN
            },
            Reason::DryRunOnly,
        ),
        (
            Seen {
                rollout: Rollout::Suggest,
                ..SEEN
            },
            Reason::DryRunOnly,
        ),
        (
            Seen {
                standing: None,
                ..SEEN
            },
            Reason::HaltUnknown,
        ),
        (
            standing(Standing { epoch: 5, ..FREE }),
            Reason::TokenRevoked,
        ),
        (
            standing(Standing { epoch: 3, ..FREE }),
            Reason::TokenRevoked,
        ),
        (
            standing(Standing {
                halted: Some(&scope),
                ..FREE
            }),
            Reason::Halted,
        ),
        (
            standing(Standing {
                revoked: Some(&scope),
                ..FREE
            }),
            Reason::TokenRevoked,
        ),
    ];
    for (seen, want) in table {
        assert_eq!(reason(&call(), &seen), Some(want));
    }
}

#[test]
fn a_call_belongs_to_the_run_that_was_signed_or_to_none() {
    let of = |run: &str| Call {
        run_id: run.into(),
        ..call()
    };
    for (signed, run, fits) in [
        ("", "", true),
        ("r-1", "r-1", true),
        ("r-1", "r-2", false),
        ("r-1", "r", false),
        ("r-1", "", false),
        ("", "r-1", false),
    ] {
        let refusal = admit(&token(&of(signed)), &of(run), &SEEN, None).err();
        let shown = |run: &str| {
            if run.is_empty() {
                "none".to_owned()
            } else {
                run.to_owned()
            }
        };
        let detail = format!("run: signed {}, got {}", shown(signed), shown(run));
        let want = Refusal::new(Reason::TokenScopeMismatch, detail);
        assert_eq!(refusal, (!fits).then_some(want), "{signed} {run}");
    }
}

#[test]
fn a_call_goes_no_further_than_its_action() {
    for (mode, rollout, fits) in [
        (Mode::Execute, Rollout::Live, true),
        (Mode::Execute, Rollout::DryRun, false),
        (Mode::Execute, Rollout::Suggest, false),
        (Mode::DryRun, Rollout::Live, true),
        (Mode::DryRun, Rollout::DryRun, true),
        (Mode::DryRun, Rollout::Suggest, false),
    ] {
        let call = Call { mode, ..call() };
        let seen = Seen { rollout, ..SEEN };
        let refusal = admit(&token(&call), &call, &seen, None).err();
        let want = Refusal::new(Reason::DryRunOnly, not_live("set_stage", rollout));
        assert_eq!(refusal, (!fits).then_some(want), "{mode:?} {rollout:?}");
    }
}
