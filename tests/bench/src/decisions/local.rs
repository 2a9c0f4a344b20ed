//! Parts measured in this process: signatures, tokens, decisions. Each piece of work says whether
//! it came out right, and a wrong one ends the bench.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use writ_proto::context::TYP_DECISION;
use writ_proto::digest::{RequestParts, request_hash};
use writ_proto::ids::{ActionName, AgentId, DecisionId, RequestId, TenantId, TokenId};
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};
use writ_proto::limits::TOKEN_TTL_SECONDS_MAX;
use writ_proto::token::{Claims, Mode, UnverifiedToken, Verifier, mint};
use writ_proto::value::{Map, Value, args_from_cbor, args_from_json};

use super::stage::padding;
use crate::fail;
use crate::sample::time;
use policyd::app::policies;
use policyd::clock;
use policyd::domain::decide::facts::{Facts, HaltView};
use policyd::domain::decide::known::Known;
use policyd::domain::decide::{Verdict, decide};
use policyd::domain::policy::TenantPolicies;
use policyd::domain::request::Request;

const AUDIENCE: &str = "connectord";
const ISSUER: &str = "https://policyd.localhost";

/// Nanoseconds of the parts of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenTimes {
    pub(crate) sign: u64,
    pub(crate) verify_strict: u64,
    pub(crate) mint: u64,
    /// Checks 2 to 17 with arguments of 300 bytes. What is left reads stores: `bench -- executions`.
    pub(crate) full_300: u64,
    /// The same with arguments of 2 KiB.
    pub(crate) full_2k: u64,
}

/// Arguments of exactly so many canonical bytes.
fn arguments(bytes: usize) -> anyhow::Result<Map> {
    let amount = args_from_json(r#"{"amount":{"currency":"EUR","value":49.00}}"#).map_err(fail)?;
    let with_note = |length: usize| {
        let mut map = amount.clone();
        map.set("note", Value::Text("n".repeat(length)));
        map
    };
    let fits = (0..bytes)
        .rev()
        .map(with_note)
        .find(|map| map.encode().len() == bytes);
    fits.ok_or_else(|| fail("no arguments of that size"))
}

fn claims(args_cbor: &[u8], now: u32) -> Claims {
    let id = uuid::Uuid::from_u128(7);
    let target = ("order", "O-7");
    Claims {
        iss: ISSUER.to_owned(),
        sub: "triage".to_owned(),
        aud: AUDIENCE.to_owned(),
        exp: now.saturating_add(60),
        iat: now,
        cti: TokenId::new(id),
        cnf: Some([3; 32]),
        tenant: "acme".to_owned(),
        agent: "triage".to_owned(),
        connection: "crm/main".to_owned(),
        action: "refund".to_owned(),
        target: Some((target.0.to_owned(), target.1.to_owned())),
        request_hash: request_hash(&parts(args_cbor)),
        mode: Mode::Execute,
        decision_id: DecisionId::new(id),
        record_version: 1,
        policy_digest: [4; 32],
        epoch: 0,
        approval: None,
        limits: None,
        trace_id: None,
        card_digest: [5; 32],
        run: None,
    }
}

fn parts(args_cbor: &[u8]) -> RequestParts<'_> {
    RequestParts {
        tenant: "acme",
        connection: "crm/main",
        action: "refund",
        target: Some(("order", "O-7")),
        args_cbor,
        precondition: None,
    }
}

/// Measures tokens.
pub(crate) fn tokens() -> anyhow::Result<TokenTimes> {
    let key = SigningKey::from_bytes(&[9; 32]);
    let public = key.verifying_key();
    let entry = KeyEntry::new(public, ISSUER, KeyUse::Decision);
    let keys = KeySet::new(1, vec![entry]).map_err(fail)?;
    let seconds = clock::now().timestamp();
    let now = u32::try_from(seconds).map_err(fail)?;
    let verifier = Verifier {
        keys: &keys,
        audience: AUDIENCE,
        now_seconds: seconds,
        leeway_seconds: 5,
        ttl_seconds_max: TOKEN_TTL_SECONDS_MAX,
        client_cert_sha256: Some([3; 32]),
        require_cnf: true,
    };
    let full = |bytes: usize| {
        let args = arguments(bytes)?.encode();
        let token = mint(&claims(&args, now), &key);
        time(|| {
            let verified = UnverifiedToken::new(black_box(&token)).verify(&verifier);
            let canonical = args_from_cbor(black_box(&args)).is_ok();
            let hash = request_hash(&parts(&args));
            canonical && verified.is_ok_and(|token| token.claims().request_hash == hash)
        })
    };
    let args = arguments(300)?.encode();
    let claims = claims(&args, now);
    let kid = writ_proto::cose::kid_of(&public);
    let mut message = writ_proto::cose::protected(&kid, TYP_DECISION);
    message.extend_from_slice(&claims.encode());
    let signature = key.sign(&message);
    Ok(TokenTimes {
        sign: time(|| key.sign(black_box(&message)) == signature)?,
        verify_strict: time(|| {
            public
                .verify_strict(black_box(&message), &signature)
                .is_ok()
        })?,
        mint: time(|| !mint(black_box(&claims), &key).is_empty())?,
        full_300: full(300)?,
        full_2k: full(2_048)?,
    })
}

/// A tenant's folder with so many policies and entities, loaded.
fn loaded(
    tenant: &Path,
    policies_total: usize,
    orders: usize,
) -> anyhow::Result<Arc<TenantPolicies>> {
    let mut sources = policies::read_tenant(tenant).map_err(fail)?;
    sources.policies.retain(|(name, _)| name != "padding.cedar");
    let own = TenantPolicies::build(&sources)
        .map_err(fail)?
        .rules()
        .count();
    let text = padding(policies_total.saturating_sub(own));
    sources.policies.push(("padding.cedar".to_owned(), text));
    let known = sources
        .entities_json
        .trim_end()
        .strip_suffix(']')
        .unwrap_or_default();
    let order = |index: usize| {
        format!(
            ",{{\"uid\":{{\"type\":\"Order\",\"id\":\"X-{index}\"}},\"attrs\":{{\"tenant\":\"acme\",\
             \"total\":{{\"currency\":\"EUR\",\"minor\":12000}},\"status\":\"paid\"}},\"parents\":[]}}"
        )
    };
    let more: String = (0..orders).map(order).collect();
    sources.entities_json = format!("{known}{more}]");
    TenantPolicies::build(&sources).map(Arc::new).map_err(fail)
}

/// Nanoseconds of one whole decision, without record and signature, in a tenant of that size.
pub(crate) fn decision(tenant: &Path, policies_total: usize, orders: usize) -> anyhow::Result<u64> {
    let facts = Facts {
        now: clock::now(),
        policies: loaded(tenant, policies_total, orders)?,
        halts: HaltView::default(),
        known: Known::NotAsked,
        grounds: Default::default(),
    };
    let args = args_from_json(r#"{"amount":{"currency":"EUR","value":49.00}}"#).map_err(fail)?;
    let acme = TenantId::parse("acme").map_err(fail)?;
    let request = Request {
        provenance: policyd::domain::request::Provenance::default(),
        caller_tenant: acme.clone(),
        agent: AgentId::parse("triage").map_err(fail)?,
        cert_sha256: None,
        tenant: acme,
        request_id: RequestId::new(uuid::Uuid::from_u128(1)),
        connection: "crm/main".to_owned(),
        action: ActionName::parse("refund").map_err(fail)?,
        target: Some(("order".to_owned(), "O-7".to_owned())),
        args_cbor: args.encode(),
        args,
        precondition: None,
        mode: Mode::Execute,
        reason: "arrived broken".to_owned(),
        evidence: Vec::new(),
        confidence: None,
        again: false,
        trace_id: None,
        run: None,
    };
    time(|| decide(black_box(&request), &facts).verdict == Verdict::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_exactly_the_size_they_are_measured_at() {
        for bytes in [300, 2_048] {
            assert_eq!(arguments(bytes).unwrap().encode().len(), bytes);
        }
    }
}
