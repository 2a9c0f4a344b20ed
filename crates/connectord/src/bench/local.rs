//! Parts measured in this process. Each piece of work says whether it came out right, and a wrong
//! one ends the bench.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ed25519_dalek::Signer as _;
use writ_proto::card::{Card, Rollout};
use writ_proto::context::TYP_DECISION;
use writ_proto::token::{Mode, UnverifiedToken, Verifier, mint};

use super::stage::fail;
use super::writs::{AGENT, CONNECTION, Mint, TARGET, TENANT, arguments};
use crate::app::AppError;
use crate::app::halts::subject;
use crate::clock;
use crate::config::Config;
use crate::domain::gate::{Call, Refusal, Seen, Standing, admit};
use crate::halt::{Customer, Files, HaltStore, Place};
use crate::trust::Trust;

const BATCHES: usize = 5;
const BATCH_TIME: Duration = Duration::from_millis(100);
const LOOK_EVERY: u32 = 16;

/// Nanoseconds of one piece of work: the median of a few batches.
fn time(mut work: impl FnMut() -> bool) -> Result<u64, AppError> {
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < BATCH_TIME {
            for _ in 0..LOOK_EVERY {
                if !black_box(work()) {
                    return Err(fail("a measured piece of work came out wrong"));
                }
                count = count.saturating_add(1);
            }
        }
        batches.push(start.elapsed().checked_div(count).unwrap_or_default());
    }
    batches.sort();
    let median = batches.get(BATCHES / 2).copied().unwrap_or_default();
    Ok(u64::try_from(median.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds of the parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// `verify_strict` over the bytes a token signs, the key decompressed.
    pub(super) verify_strict: u64,
    /// Checks 2 to 18, arguments of 300 bytes. Check 19 is the journal and 20 the system of
    /// record: those are measured under load.
    pub(super) full_300: u64,
    /// The same with arguments of 2 KiB.
    pub(super) full_2k: u64,
    /// Check 1: reading the halt folder, nothing halted.
    pub(super) halts: u64,
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
fn full(mint_of: &Mint, config: &Config, card: &Card, args_bytes: usize) -> Result<u64, AppError> {
    let args = arguments(args_bytes)?.encode();
    let token = mint(&mint_of.claims(&args, Mode::Execute)?, mint_of.key());
    let trust = Trust::load(config.trust.keys_file.clone(), &config.trust.root_key)?;
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
pub(super) fn parts(mint_of: &Mint, config: &Config, card: &Card) -> Result<Parts, AppError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_comes_out_wrong_is_not_measured() {
        assert!(time(|| false).is_err());
        assert!(time(|| true).is_ok());
    }
}
