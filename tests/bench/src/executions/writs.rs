//! Writs for the bench, signed with the key of the throw-away folder: as policyd would mint them,
//! for exactly the call that goes with them.

use std::path::Path;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use writ_proto::digest::{RequestParts, request_hash, sha256};
use writ_proto::ids::{DecisionId, TokenId};
use writ_proto::keyset::KeyUse;
use writ_proto::pb;
use writ_proto::token::{Claims, Mode, mint};
use writ_proto::value::{Map, Value};
use x509_parser::pem::parse_x509_pem;

use crate::fail;
use connectord::config::Config;
use connectord::domain::gate::Refusal;
use connectord::private_file::read_private;
use connectord::trust::Trust;
use connectord::{clock, ids};

pub(crate) const TENANT: &str = "acme";
pub(crate) const AGENT: &str = "triage";
pub(crate) const CONNECTION: &str = "crm/main";
pub(crate) const ACTION: &str = "add_note";
pub(crate) const TARGET: (&str, &str) = ("deal", "D-104");
const LIFE_SECONDS: u32 = 300;

/// What signs, and what it signs for.
#[derive(Debug)]
pub(crate) struct Mint {
    key: SigningKey,
    issuer: String,
    audience: String,
    cert_sha256: [u8; 32],
    card_digest: [u8; 32],
    epoch: u64,
}

/// Arguments of the action with exactly so many canonical bytes.
pub(crate) fn arguments(bytes: usize) -> anyhow::Result<Map> {
    let with_text = |length: usize| {
        let mut map = Map::new();
        map.set("text", Value::Text("n".repeat(length)));
        map
    };
    let fits = (0..bytes)
        .rev()
        .map(with_text)
        .find(|map| map.encode().len() == bytes);
    fits.ok_or_else(|| fail("no arguments of that size"))
}

/// The request that a call is about.
pub(crate) const fn parts(args_cbor: &[u8]) -> RequestParts<'_> {
    RequestParts {
        tenant: TENANT,
        connection: CONNECTION,
        action: ACTION,
        target: Some(TARGET),
        args_cbor,
        precondition: None,
    }
}

/// A refusal of connectord as an error.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(super) fn refused(refusal: Refusal) -> anyhow::Error {
    fail(format_args!(
        "{}: {}",
        refusal.reason.code(),
        refusal.detail
    ))
}

impl Mint {
    /// Reads key, certificate and card of a folder that `policyd init` made.
    pub(crate) fn read(folder: &Path, config: &Config) -> anyhow::Result<Self> {
        let key = read_private(&folder.join("keys/token.pem")).map_err(refused)?;
        let key = SigningKey::from_pkcs8_pem(&key).map_err(fail)?;
        let trust =
            Trust::load(config.trust.keys_file.clone(), &config.trust.root_key).map_err(refused)?;
        let keys = trust.keys();
        let listed = keys.entries().iter().find(|entry| {
            entry.key == key.verifying_key()
                && entry.verifies(KeyUse::Decision, clock::now().timestamp())
        });
        let listed = listed.ok_or_else(|| fail("keys/token.pem is not a trusted key"))?;
        let pem = std::fs::read(folder.join("certs/agent-acme-triage.pem")).map_err(fail)?;
        let (_, pem) = parse_x509_pem(&pem).map_err(fail)?;
        let catalog =
            connectord::catalog::Files::new(config.clone()).load(&Default::default(), 0)?;
        let card = catalog.cards.get(&(TENANT.to_owned(), ACTION.to_owned()));
        let card = card.map(|held| &held.card);
        Ok(Self {
            issuer: listed.issuer.clone(),
            audience: config.server.audience.clone(),
            cert_sha256: sha256(&pem.contents),
            card_digest: card.ok_or_else(|| fail("no card"))?.digest(),
            key,
            epoch: 0,
        })
    }

    /// The same for writs of another halt epoch.
    pub(crate) const fn in_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The claims of a fresh writ for a call.
    pub(crate) fn claims(&self, args_cbor: &[u8], mode: Mode) -> anyhow::Result<Claims> {
        let iat = u32::try_from(clock::now().timestamp()).map_err(fail)?;
        Ok(Claims {
            iss: self.issuer.clone(),
            sub: AGENT.to_owned(),
            aud: self.audience.clone(),
            exp: iat.saturating_add(LIFE_SECONDS),
            iat,
            cti: TokenId::new(ids::new_id()),
            cnf: Some(self.cert_sha256),
            tenant: TENANT.to_owned(),
            agent: AGENT.to_owned(),
            connection: CONNECTION.to_owned(),
            action: ACTION.to_owned(),
            target: Some((TARGET.0.to_owned(), TARGET.1.to_owned())),
            request_hash: request_hash(&parts(args_cbor)),
            mode,
            decision_id: DecisionId::new(ids::new_id()),
            record_version: 1,
            policy_digest: [4; 32],
            epoch: self.epoch,
            approval: None,
            limits: None,
            trace_id: None,
            card_digest: self.card_digest,
            run: None,
        })
    }

    /// So many calls, each with a writ of its own.
    pub(crate) fn requests(
        &self,
        calls: u64,
        args_bytes: usize,
        mode: Mode,
    ) -> anyhow::Result<Vec<pb::ExecuteRequest>> {
        let args_cbor = arguments(args_bytes)?.encode();
        let wire_mode = match mode {
            Mode::DryRun => pb::Mode::DryRun,
            Mode::Execute => pb::Mode::Execute,
        };
        let one = |_| {
            let call = pb::ActionCall {
                connection: CONNECTION.to_owned(),
                action: ACTION.to_owned(),
                target: Some(pb::Target {
                    r#type: TARGET.0.to_owned(),
                    id: TARGET.1.to_owned(),
                }),
                mode: wire_mode.into(),
                precondition: None,
                arguments: Some(pb::action_call::Arguments::ArgsCbor(args_cbor.clone())),
            };
            Ok(pb::ExecuteRequest {
                parent: format!("tenants/{TENANT}"),
                request_id: ids::new_id().to_string(),
                token: mint(&self.claims(&args_cbor, mode)?, &self.key),
                call: Some(call),
                run_id: String::new(),
            })
        };
        (0..calls).map(one).collect()
    }

    /// The key, for what is measured in this process.
    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The certificate that writs are bound to.
    pub(crate) const fn cert_sha256(&self) -> [u8; 32] {
        self.cert_sha256
    }
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
