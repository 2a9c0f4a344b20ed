//! Checks 1 to 18 in their order: halts before anything is parsed, then the token, then the gate.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::card::{Card, Rollout};
use writ_proto::token::{UnverifiedToken, VerifiedToken, Verifier};

use super::{App, AppError};
use crate::clock;
use crate::domain::gate::{Call, Permit, Refusal, Seen, admit, check_scope};
use crate::halt::{HaltState, scopes_of};
use crate::system::HttpJson;

/// A call that may be claimed, with what it takes to do it.
#[derive(Debug)]
pub struct Admitted {
    /// Leave to do it.
    pub permit: Permit,
    /// connectord's own card.
    pub card: Arc<Card>,
    /// The driver of its connection.
    pub system: Arc<HttpJson>,
}

impl App {
    /// The halt state; what cannot be read is a refusal.
    ///
    /// # Errors
    /// `HALT_UNKNOWN`.
    pub fn halt_state(&self) -> Result<HaltState, Refusal> {
        self.halts.read().map_err(|error| {
            tracing::error!(%error, "the halt state is not known");
            Refusal::of(Reason::HaltUnknown)
        })
    }

    /// Refuses a call that is halted right now.
    ///
    /// # Errors
    /// `HALTED` or `HALT_UNKNOWN`.
    pub fn check_halts(&self, call: &Call) -> Result<(), Refusal> {
        let scopes = scopes_of(&call.tenant, &call.connection, &call.action, &call.agent);
        match self.halt_state()?.covers(&scopes) {
            Some(scope) => Err(Refusal::new(Reason::Halted, scope)),
            None => Ok(()),
        }
    }

    /// How far an action goes for a tenant now.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn rollout_of(&self, tenant: &str, card: &Card) -> Result<Rollout, AppError> {
        let promoted = self.journal.rollout(tenant, card.name.as_str()).await?;
        let set = promoted.map_or(card.rollout, |set| set.at(clock::now().timestamp_millis()));
        // The card's own limit holds even if it was lowered after the promotion.
        Ok(set.min(card.rollout_max))
    }

    /// connectord's own card of an action.
    ///
    /// # Errors
    /// `CARD_MISSING`.
    pub fn card(&self, tenant: &str, action: &str) -> Result<Arc<Card>, Refusal> {
        let card = self
            .cards
            .get(&(tenant.to_owned(), action.to_owned()))
            .cloned();
        card.ok_or_else(|| Refusal::new(Reason::CardMissing, format!("no card for `{action}`")))
    }

    /// Checks 1 to 18.
    ///
    /// # Errors
    /// The first check that fails, as a refusal inside; or the journal is away.
    pub async fn admit(
        &self,
        token: &[u8],
        call: &Call,
        certificate: [u8; 32],
    ) -> Result<Result<Admitted, Refusal>, AppError> {
        let state = match self.halt_state() {
            Ok(state) => state,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if state.covers(&["global".to_owned()]).is_some() {
            return Ok(Err(Refusal::new(Reason::Halted, "global")));
        }
        let verified = match self.verify(token, certificate) {
            Ok(verified) => verified,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // The gate checks this too; here it comes before the card of another scope is looked for.
        let card = check_scope(verified.claims(), call)
            .and_then(|()| self.card(&call.tenant, &call.action));
        let card = match card {
            Ok(card) => card,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rollout = self.rollout_of(&call.tenant, &card).await?;
        let scopes = scopes_of(&call.tenant, &call.connection, &call.action, &call.agent);
        let digest = card.digest();
        let seen = Seen {
            card_digest: &digest,
            rollout,
            epoch: state.epoch,
            halted: state.covers(&scopes),
            now: clock::now(),
        };
        let permit = match admit(&verified, call, &seen, Some(&card)) {
            Ok(permit) => permit,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(system) = self.systems.get(&call.connection).cloned() else {
            return Ok(Err(Refusal::of(Reason::UnknownConnection)));
        };
        Ok(Ok(Admitted {
            permit,
            card,
            system,
        }))
    }

    /// Checks 2 to 14, with one look at the trust document for a key that is not known.
    fn verify(&self, token: &[u8], certificate: [u8; 32]) -> Result<VerifiedToken, Refusal> {
        let now_seconds = clock::now().timestamp();
        let check = || {
            let keys = self.trust.keys();
            UnverifiedToken::new(token).verify(&Verifier {
                keys: &keys,
                audience: &self.rules.audience,
                now_seconds,
                leeway_seconds: self.rules.leeway_seconds,
                ttl_seconds_max: self.rules.ttl_seconds_max,
                client_cert_sha256: Some(certificate),
                require_cnf: true,
            })
        };
        match check() {
            Err(error) if error.reason == Reason::TokenUnknownKey => {
                if self.trust.refresh(now_seconds) {
                    Ok(check()?)
                } else {
                    Err(error.into())
                }
            }
            result => Ok(result?),
        }
    }
}
