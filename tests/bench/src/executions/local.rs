//! Parts measured in this process. Each piece of work says whether it came out right, and a wrong
//! one ends the bench.

use std::hint::black_box;

use ed25519_dalek::Signer as _;
use writ_proto::card::{Card, Rollout};
use writ_proto::context::TYP_DECISION;
use writ_proto::token::{Mode, UnverifiedToken, Verifier, mint};

use super::writs::{AGENT, CONNECTION, Mint, TARGET, TENANT, arguments, refused};
use crate::fail;
use crate::sample::time;
use connectord::app::halts::check::subject;
use connectord::clock;
use connectord::config::Config;
use connectord::domain::gate::{Call, Refusal, Seen, Standing, admit};
use connectord::halt::{Customer, Files, HaltStore, Place};
use connectord::trust::Trust;

/// Nanoseconds of the parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// `verify_strict` over the bytes a token signs, the key decompressed.
    pub(crate) verify_strict: u64,
    /// Checks 2 to 18, arguments of 300 bytes. Check 19 is the journal and 20 the system of
    /// record: those are measured under load.
    pub(crate) full_300: u64,
    /// The same with arguments of 2 KiB.
    pub(crate) full_2k: u64,
    /// Check 1: reading the halt folder, nothing halted.
    pub(crate) halts: u64,
}

fn call(args_cbor: Vec<u8>) -> Call {
    Call {
        tenant: TENANT.to_owned(),
        caller_tenant: TENANT.to_owned(),
        agent: AGENT.to_owned(),
        connection: CONNECTION.to_owned(),
        action: super::writs::ACTION.to_owned(),
        target: Some((TARGET.0.to_owned(), TARGET.1.to_owned())),
        args_cbor,
        precondition: None,
        mode: Mode::Execute,
        request_id: uuid::Uuid::nil(),
        run_id: String::new(),
    }
}

/// Checks 2 to 18 of a fresh writ, over and over: nothing of them changes any state.
fn full(mint_of: &Mint, config: &Config, card: &Card, args_bytes: usize) -> anyhow::Result<u64> {
    let args = arguments(args_bytes)?.encode();
    let token = mint(&mint_of.claims(&args, Mode::Execute)?, mint_of.key());
    let trust =
        Trust::load(config.trust.keys_file.clone(), &config.trust.root_key).map_err(refused)?;
    let keys = trust.keys();
    let verifier = Verifier {
        keys: &keys,
        audience: &config.server.audience,
        now_seconds: clock::now().timestamp(),
        leeway_seconds: config.trust.leeway_seconds,
        ttl_seconds_max: config.trust.ttl_seconds_max,
        client_cert_sha256: Some(mint_of.cert_sha256()),
        require_cnf: true,
    };
    let (call, digest) = (call(args), card.digest());
    let seen = Seen {
        now: clock::now(),
        card_digest: &digest,
        rollout: Rollout::Live,
        standing: Some(Standing::default()),
    };
    time(|| {
        UnverifiedToken::new(black_box(&token))
            .verify(&verifier)
            .map_err(Refusal::from)
            .and_then(|verified| admit(&verified, &call, &seen, Some(card)))
            .is_ok()
    })
}

/// Measures all parts.
pub(crate) fn parts(mint_of: &Mint, config: &Config, card: &Card) -> anyhow::Result<Parts> {
    let (key, public) = (mint_of.key(), mint_of.key().verifying_key());
    let args = arguments(300)?.encode();
    let kid = writ_proto::cose::kid_of(&public);
    let mut message = writ_proto::cose::protected(&kid, TYP_DECISION);
    message.extend_from_slice(&mint_of.claims(&args, Mode::Execute)?.encode());
    let signature = key.sign(&message);
    let Place::Folder(folder) = &config.halt.place else {
        return Err(fail("the bench reads halts from a folder"));
    };
    let halts = HaltStore::Files(Files::new(folder.clone()));
    let call = call(args.clone());
    let subject = subject(&call, Customer::NotYet);
    Ok(Parts {
        verify_strict: time(|| {
            public
                .verify_strict(black_box(&message), &signature)
                .is_ok()
        })?,
        full_300: full(mint_of, config, card, 300)?,
        full_2k: full(mint_of, config, card, 2_048)?,
        halts: time(|| {
            halts
                .read(0)
                .is_ok_and(|state| state.covering(&subject).is_none())
        })?,
    })
}
