//! The decision token, or writ: CWT claims in COSE_Sign1 (docs/token.md).
//!
//! `UnverifiedToken` is another type than `VerifiedToken`, and only `verify` turns one into the
//! other, by checks 2 to 14 of docs/token.md in their order. Checks 15 to 20 need the request
//! and the stores; they live in connectord.

mod claims;
mod encode;
mod undo;

use ed25519_dalek::SigningKey;

pub use claims::{ApprovalClaim, Claims, LimitsClaim, Mode};
pub use undo::{
    Asked, UnverifiedUndo, VerifiedUndo, Written, mint_undo, undo_execution, undo_payload,
};

use crate::context::TYP_DECISION;
use crate::cose::{Sign1, sign1};
use crate::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};
use crate::reason::Reason;

/// Why a token is refused: the stable code, and a detail for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.code())]
pub struct TokenError {
    /// The first check that failed.
    pub reason: Reason,
    /// What was found.
    pub detail: String,
}

impl TokenError {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// Signs claims. Ed25519 is deterministic: equal claims and key give equal bytes.
#[must_use]
pub fn mint(claims: &Claims, key: &SigningKey) -> Vec<u8> {
    mint_payload(&claims.encode(), key)
}

/// Signs the stored payload of claims again, so that a retry gets the same token.
#[must_use]
pub fn mint_payload(payload: &[u8], key: &SigningKey) -> Vec<u8> {
    sign1(TYP_DECISION, payload, key)
}

/// The stored payload of claims, bound to the certificate that asks now: who renewed theirs gets a token they can
/// spend. It has the same id, so that one of the two is spent at most.
///
/// # Errors
/// When the payload is none of ours.
pub fn bound_to(payload: &[u8], certificate: Option<[u8; 32]>) -> Result<Vec<u8>, TokenError> {
    let claims = Claims::decode(payload)?;
    Ok(Claims {
        cnf: certificate,
        ..claims
    }
    .encode())
}

/// What a verifier knows before it looks at a token.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    /// The trusted keys.
    pub keys: &'a KeySet,
    /// The verifier's own audience, compared byte for byte.
    pub audience: &'a str,
    /// Unix time.
    pub now_seconds: i64,
    /// Allowed clock difference, at most 30 s.
    pub leeway_seconds: u32,
    /// Longest life of a token, at most 300 s.
    pub ttl_seconds_max: u32,
    /// SHA-256 of the client certificate (DER) of the channel.
    pub client_cert_sha256: Option<[u8; 32]>,
    /// Refuse tokens that are bound to no certificate.
    pub require_cnf: bool,
}

/// Bytes that claim to be a token.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedToken<'a>(&'a [u8]);

/// A token that passed checks 2 to 14. Only [`UnverifiedToken::verify`] makes one:
///
/// ```
/// use writ_proto::token::{Claims, VerifiedToken};
/// fn read(token: &VerifiedToken) -> &Claims {
///     token.claims()
/// }
/// ```
/// ```compile_fail,E0451
/// use writ_proto::token::{Claims, VerifiedToken};
/// fn forge(claims: Claims) -> VerifiedToken {
///     VerifiedToken { claims }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    claims: Claims,
}

impl VerifiedToken {
    /// The signed claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl<'a> UnverifiedToken<'a> {
    /// Wraps bytes as they came.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Runs checks 2 to 14 of docs/token.md and stops at the first that fails.
    ///
    /// # Errors
    /// The code of that check. Nothing of the payload is believed before check 9.
    pub fn verify(self, verifier: &Verifier<'_>) -> Result<VerifiedToken, TokenError> {
        let message = Sign1::parse(self.0, TYP_DECISION)?;
        let key = verifier
            .keys
            .find(&message.kid, KeyUse::Decision, verifier.now_seconds)
            .ok_or_else(|| unknown_key(verifier.keys, message.kid))?;
        let claims = signed_claims(&message, key, verifier.audience)?;
        check_time(&claims, verifier)?;
        check_possession(&claims, verifier)?;
        Ok(VerifiedToken { claims })
    }

    /// Proves who signed a token, apart from everything that time can change: its key may be revoked
    /// since, its life over, and the certificate of the channel a newer one of the same agent. A late
    /// retry is recognised by it; it allows nothing.
    ///
    /// # Errors
    /// The code of the first of checks 2 to 12 that fails.
    pub fn prove_origin(self, keys: &KeySet, audience: &str) -> Result<Claims, TokenError> {
        let message = Sign1::parse(self.0, TYP_DECISION)?;
        let listed =
            |entry: &&KeyEntry| entry.kid == message.kid && entry.usage == KeyUse::Decision;
        let key = keys.entries().iter().find(listed);
        signed_claims(
            &message,
            key.ok_or_else(|| unknown_key(keys, message.kid))?,
            audience,
        )
    }

    /// Reads claims and key id without any belief in them: for display and for the records of
    /// refusals, never for a decision.
    ///
    /// # Errors
    /// When the bytes are not a token at all.
    pub fn inspect_unverified(self) -> Result<(Claims, [u8; 16]), TokenError> {
        let message = Sign1::parse(self.0, TYP_DECISION)?;
        Ok((Claims::decode(message.payload)?, message.kid))
    }
}

/// Why no listed key verifies this: what to do differs.
fn unknown_key(keys: &KeySet, kid: [u8; 16]) -> TokenError {
    let listed = keys.entries().iter().find(|entry| entry.kid == kid);
    let why = match listed.map(|entry| (entry.usage, entry.status)) {
        None => "is not in the trust document",
        Some((_, KeyStatus::Revoked)) => "was revoked",
        Some((KeyUse::Decision, _)) => "was not valid at that time",
        Some(_) => "signs something else",
    };
    let detail = format!("the key {} {why}", hex::encode(kid));
    TokenError::new(Reason::TokenUnknownKey, detail)
}

/// Checks 9 to 12, the same for a writ and for the writ of its undo.
fn signed_claims(
    message: &Sign1<'_>,
    key: &KeyEntry,
    audience: &str,
) -> Result<Claims, TokenError> {
    message.verify(&key.key)?;
    let claims = Claims::decode(message.payload)?;
    if claims.iss != key.issuer {
        let detail = format!("iss is not {}", key.issuer);
        return Err(TokenError::new(Reason::TokenWrongIssuer, detail));
    }
    if claims.aud != audience {
        let detail = format!("aud is not {audience}");
        return Err(TokenError::new(Reason::TokenWrongAudience, detail));
    }
    Ok(claims)
}

/// Check 13.
fn check_time(claims: &Claims, verifier: &Verifier<'_>) -> Result<(), TokenError> {
    let (issued, expires) = (i64::from(claims.iat), i64::from(claims.exp));
    let (now, leeway) = (verifier.now_seconds, i64::from(verifier.leeway_seconds));
    if expires.saturating_sub(issued) > i64::from(verifier.ttl_seconds_max) {
        let detail = format!("lives {} s", expires.saturating_sub(issued));
        return Err(TokenError::new(Reason::TokenTtlTooLong, detail));
    }
    if issued > now.saturating_add(leeway) {
        let detail = format!("issued {} s ahead", issued.saturating_sub(now));
        return Err(TokenError::new(Reason::TokenNotYetValid, detail));
    }
    if now > expires.saturating_add(leeway) {
        let detail = format!("expired {} s ago", now.saturating_sub(expires));
        return Err(TokenError::new(Reason::TokenExpired, detail));
    }
    Ok(())
}

/// Check 14.
fn check_possession(claims: &Claims, verifier: &Verifier<'_>) -> Result<(), TokenError> {
    let fail = |detail: &str| Err(TokenError::new(Reason::TokenPopFailed, detail));
    match (claims.cnf, verifier.client_cert_sha256) {
        (Some(bound), Some(shown)) if bound == shown => Ok(()),
        (Some(_), Some(_)) => fail("another certificate"),
        (Some(_), None) => fail("the channel shows no certificate"),
        (None, _) if verifier.require_cnf => fail("the token is bound to no certificate"),
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
