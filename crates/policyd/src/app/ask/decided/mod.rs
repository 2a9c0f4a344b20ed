//! A decision as it is stored and found again. The claims are stored, not the token: signing them
//! again, for the same certificate and with the same key, gives the same bytes: a retry gets the same writ.

use writ_proto::Reason;
use writ_proto::value::{Map, Value, value_from_cbor};

use crate::app::ask::offers::Offered;
use crate::error::AppError;

/// Everything a caller is told about a decision, but for the token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// Decision id, hyphenated; empty where nothing was recorded.
    pub id: String,
    /// Tenant of the record.
    pub tenant: String,
    /// ALLOW, DENY, REQUIRE_APPROVAL.
    pub verdict: String,
    /// Stable code, or empty.
    pub reason_code: String,
    /// One sentence.
    pub message: String,
    /// What the agent can do.
    pub remedy: String,
    /// Rules that decided.
    pub rules: Vec<String>,
    /// Label and digest of the policy set.
    pub policy_version: String,
    /// Request hash.
    pub request_hash: Vec<u8>,
    /// Canonical arguments.
    pub args_cbor: Vec<u8>,
    /// Payload of the token, with ALLOW.
    pub claims: Vec<u8>,
    /// Expiry of the token, Unix seconds, or 0.
    pub expires: i64,
    /// When it was decided, Unix milliseconds.
    pub created_ms: i64,
    /// Agent that asked.
    pub agent: String,
    /// Action it asked for.
    pub action: String,
    /// What is allowed instead.
    pub offer: Option<Offered>,
    /// Version that the agent relied on; it is in the request hash, so a call without it is another.
    pub precondition: Option<String>,
}

const TEXTS: [&str; 9] = [
    "id",
    "tenant",
    "verdict",
    "reason_code",
    "message",
    "remedy",
    "policy_version",
    "agent",
    "action",
];

impl Decided {
    /// Binds its token to the certificate that asks for it now; the token keeps its id.
    ///
    /// # Errors
    /// When the stored claims are none.
    pub fn bind(&mut self, certificate: Option<[u8; 32]>) -> Result<(), AppError> {
        if !self.claims.is_empty() {
            let bound = writ_proto::token::bound_to(&self.claims, certificate);
            self.claims = bound.map_err(|_| AppError::of(Reason::StoreCorrupt))?;
        }
        Ok(())
    }

    fn texts(&mut self) -> [&mut String; 9] {
        [
            &mut self.id,
            &mut self.tenant,
            &mut self.verdict,
            &mut self.reason_code,
            &mut self.message,
            &mut self.remedy,
            &mut self.policy_version,
            &mut self.agent,
            &mut self.action,
        ]
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = Map::new();
        for (name, text) in TEXTS.iter().zip(self.clone().texts()) {
            map.set(name, Value::Text(text.clone()));
        }
        let rules = self.rules.iter().cloned().map(Value::Text).collect();
        map.set("rules", Value::List(rules));
        map.set("request_hash", Value::Bytes(self.request_hash.clone()));
        map.set("claims", Value::Bytes(self.claims.clone()));
        map.set("expires", Value::Int(self.expires));
        map.set("created_ms", Value::Int(self.created_ms));
        if let Some(offer) = &self.offer {
            map.set("offer", offer.value());
        }
        if let Some(precondition) = &self.precondition {
            map.set("precondition", Value::Text(precondition.clone()));
        }
        let mut out = map.encode();
        // Arguments may be as long as one value may be, so they stand behind the map.
        out.extend_from_slice(&self.args_cbor);
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `STORE_CORRUPT` when it is not what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, AppError> {
        let corrupt = || AppError::of(Reason::StoreCorrupt);
        let (head, args) = writ_proto::value::first_from_cbor(bytes).map_err(|_| corrupt())?;
        let Value::Map(map) = head else {
            return Err(corrupt());
        };
        if !args.is_empty() {
            value_from_cbor(args).map_err(|_| corrupt())?;
        }
        let mut decided = Self {
            args_cbor: args.to_vec(),
            ..Self::default()
        };
        for (name, slot) in TEXTS.iter().zip(decided.texts()) {
            let text = map.get(name).and_then(Value::as_text).ok_or_else(corrupt)?;
            text.clone_into(slot);
        }
        let bytes = |name: &str| match map.get(name) {
            Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Err(corrupt()),
        };
        let number = |name: &str| match map.get(name) {
            Some(Value::Int(number)) => Ok(*number),
            _ => Err(corrupt()),
        };
        decided.rules = match map.get("rules") {
            Some(Value::List(items)) => items
                .iter()
                .filter_map(Value::as_text)
                .map(str::to_owned)
                .collect(),
            _ => return Err(corrupt()),
        };
        decided.request_hash = bytes("request_hash")?;
        decided.claims = bytes("claims")?;
        decided.expires = number("expires")?;
        decided.created_ms = number("created_ms")?;
        decided.offer = match map.get("offer") {
            None => None,
            Some(offer) => Some(Offered::read(offer).ok_or_else(corrupt)?),
        };
        decided.precondition = match map.get("precondition") {
            None => None,
            Some(Value::Text(text)) => Some(text.clone()),
            Some(_) => return Err(corrupt()),
        };
        Ok(decided)
    }
}

#[cfg(test)]
mod tests;
