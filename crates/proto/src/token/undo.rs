//! The undo writ: signed when a write is reported, so that undoing it later needs nobody's leave.
//!
//! It is the writ of the write with other values in some claims, under a `typ` of its own: neither
//! can be taken for the other. `cti` is the execution that it undoes, the request hash is the
//! digest of the images before and after, its life is the rollback window, and it is bound to no
//! certificate, for an operator presents it as well as the agent.

use ed25519_dalek::SigningKey;
use uuid::Uuid;

use super::{Claims, Mode, TokenError, Verifier, check_time, signed_claims, unknown_key};
use crate::context::TYP_UNDO;
use crate::cose::{Sign1, sign1};
use crate::ids::TokenId;
use crate::keyset::KeyUse;

/// What a write left behind, as it was reported.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The execution.
    pub execution: Uuid,
    /// Who wrote.
    pub agent: &'a str,
    /// Connection.
    pub connection: &'a str,
    /// Action.
    pub action: &'a str,
    /// Object type and id of the record.
    pub target: (&'a str, &'a str),
    /// [`crate::digest::images_digest`] of its declared fields.
    pub images: [u8; 32],
    /// Unix time of the report.
    pub issued: u32,
    /// Seconds in which it can be undone.
    pub window: u32,
}

/// The payload of the undo writ of a write, from the payload of its writ; none where that writ did
/// not allow this write.
#[must_use]
pub fn undo_payload(writ: &[u8], written: &Written<'_>) -> Option<Vec<u8>> {
    let writ = Claims::decode(writ).ok()?;
    let target = writ.target.as_ref();
    let same = target.is_some_and(|(kind, id)| (kind.as_str(), id.as_str()) == written.target)
        && writ.agent == written.agent
        && writ.connection == written.connection
        && writ.action == written.action;
    if writ.mode != Mode::Execute || !same {
        return None;
    }
    let undo = Claims {
        exp: written.issued.saturating_add(written.window),
        iat: written.issued,
        cti: TokenId::new(written.execution),
        cnf: None,
        request_hash: written.images,
        ..writ
    };
    Some(undo.encode())
}

/// The execution that a payload of an undo writ is of.
#[must_use]
pub fn undo_execution(payload: &[u8]) -> Option<Uuid> {
    Some(Claims::decode(payload).ok()?.cti.uuid())
}

/// Signs the payload of an undo writ.
#[must_use]
pub fn mint_undo(payload: &[u8], key: &SigningKey) -> Vec<u8> {
    sign1(TYP_UNDO, payload, key)
}

/// Bytes that claim to be an undo writ.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedUndo<'a>(&'a [u8]);

/// An undo writ whose signature, audience and times are right. Only [`UnverifiedUndo::verify`]
/// makes one; that it is of this write is [`VerifiedUndo::allows`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedUndo {
    claims: Claims,
}

/// The write that is to be undone, as the verifier knows it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Tenant.
    pub tenant: &'a str,
    /// Who wrote.
    pub agent: &'a str,
    /// Connection.
    pub connection: &'a str,
    /// Action.
    pub action: &'a str,
    /// Object type and id of the record.
    pub target: (&'a str, &'a str),
    /// Run, or empty.
    pub run: &'a str,
    /// The execution.
    pub execution: Uuid,
    /// Its decision.
    pub decision: Uuid,
    /// Digest of the images that undo would go by.
    pub images: [u8; 32],
}

impl<'a> UnverifiedUndo<'a> {
    /// Wraps bytes as they came.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Runs the checks of a writ on it; possession is not among them.
    ///
    /// # Errors
    /// The code of the check that fails.
    pub fn verify(self, verifier: &Verifier<'_>) -> Result<VerifiedUndo, TokenError> {
        let message = Sign1::parse(self.0, TYP_UNDO)?;
        // It outlives the key that signed it: the key was to be valid then, and not revoked since.
        let key = verifier
            .keys
            .find_at_any_time(&message.kid, KeyUse::Decision)
            .ok_or_else(|| unknown_key(verifier.keys, message.kid))?;
        let claims = signed_claims(&message, key, verifier.audience)?;
        if !key.verifies(KeyUse::Decision, i64::from(claims.iat)) {
            return Err(unknown_key(verifier.keys, message.kid));
        }
        check_time(&claims, verifier)?;
        Ok(VerifiedUndo { claims })
    }
}

impl VerifiedUndo {
    /// Whether it undoes exactly this write.
    ///
    /// # Errors
    /// The name of what differs.
    pub fn allows(&self, asked: &Asked<'_>) -> Result<(), &'static str> {
        let claims = &self.claims;
        let target = claims.target.as_ref();
        let target = target.map(|(kind, id)| (kind.as_str(), id.as_str()));
        let same = [
            ("tenant", claims.tenant == asked.tenant),
            ("agent", claims.agent == asked.agent),
            ("connection", claims.connection == asked.connection),
            ("action", claims.action == asked.action),
            ("target", target == Some(asked.target)),
            (
                "run",
                claims.run.as_deref().unwrap_or_default() == asked.run,
            ),
            ("execution", claims.cti.uuid() == asked.execution),
            ("decision", claims.decision_id.uuid() == asked.decision),
            (
                "values before and after",
                claims.request_hash == asked.images,
            ),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            Some((what, _)) => Err(what),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
