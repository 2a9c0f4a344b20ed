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

use super::stage::fail;
use crate::app::AppError;
use crate::config::Config;
use crate::private_file::read_private;
use crate::trust::Trust;
use crate::{clock, ids};

pub(super) const TENANT: &str = "acme";
pub(super) const AGENT: &str = "triage";
pub(super) const CONNECTION: &str = "crm/main";
pub(super) const ACTION: &str = "add_note";
pub(super) const TARGET: (&str, &str) = ("deal", "D-104");
const LIFE_SECONDS: u32 = 300;

/// What signs, and what it signs for.
#[derive(Debug)]
pub(super) struct Mint {
    key: SigningKey,
    issuer: String,
    audience: String,
    cert_sha256: [u8; 32],
    card_digest: [u8; 32],
    epoch: u64,
}

/// Arguments of the action with exactly so many canonical bytes.
pub(super) fn arguments(bytes: usize) -> Result<Map, AppError> {
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
pub(super) const fn parts(args_cbor: &[u8]) -> RequestParts<'_> {
    RequestParts {
        tenant: TENANT,
        connection: CONNECTION,
        action: ACTION,
        target: Some(TARGET),
        args_cbor,
        precondition: None,
    }
}

impl Mint {
    /// Reads key, certificate and card of a folder that `policyd init` made.
    pub(super) fn read(folder: &Path, config: &Config) -> Result<Self, AppError> {
        let key = read_private(&folder.join("keys/token.pem"))?;
        let key = SigningKey::from_pkcs8_pem(&key).map_err(fail)?;
        let trust = Trust::load(config.trust.keys_file.clone(), &config.trust.root_key)?;
        let keys = trust.keys();
        let listed = keys.entries().iter().find(|entry| {
            entry.key == key.verifying_key()
                && entry.verifies(KeyUse::Decision, clock::now().timestamp())
        });
        let listed = listed.ok_or_else(|| fail("keys/token.pem is not a trusted key"))?;
        let pem = std::fs::read(folder.join("certs/agent-acme-triage.pem")).map_err(fail)?;
        let (_, pem) = parse_x509_pem(&pem).map_err(fail)?;
        let catalog = crate::catalog::Files::new(config.clone()).load(&Default::default(), 0)?;
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
    pub(super) const fn in_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The claims of a fresh writ for a call.
    pub(super) fn claims(&self, args_cbor: &[u8], mode: Mode) -> Result<Claims, AppError> {
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
    pub(super) fn requests(
        &self,
        calls: u64,
        args_bytes: usize,
        mode: Mode,
    ) -> Result<Vec<pb::ExecuteRequest>, AppError> {
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
    pub(super) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The certificate that writs are bound to.
    pub(super) const fn cert_sha256(&self) -> [u8; 32] {
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
