//! Checks 1 to 18 in their order: halts before anything is parsed, then the token, then the gate.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::card::{Card, Rollout};
use writ_proto::token::{UnverifiedToken, VerifiedToken, Verifier};

use super::halts::{issued_ms, subject};
use super::{App, AppError};
use crate::clock;
use crate::domain::gate::{Call, Permit, Refusal, Seen, Standing, admit, check_scope};
use crate::halt::Customer;
use crate::system::System;

/// A call that may be claimed, with what it takes to do it.
#[derive(Debug)]
pub struct Admitted {
    /// Leave to do it.
    pub permit: Permit,
    /// connectord's own card.
    pub card: Arc<Card>,
    /// The driver of its connection.
    pub system: Arc<System>,
    /// How far its action goes.
    pub rollout: Rollout,
}

/// What a token is presented for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To change something, or to see what would change.
    Write,
    /// To see what is there. Halts do not stop it.
    Read,
}

impl App {
    /// How far an action goes for a tenant now.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn rollout_of(&self, tenant: &str, card: &Card) -> Result<Rollout, AppError> {
        let promoted = self.journal.rollout(tenant, card.name.as_str()).await?;
        let set = promoted.map_or(card.rollout, |set| set.at(clock::now().timestamp_millis()));
        // The card's own limit holds even if it was lowered after the promotion.
        let set = set.min(card.rollout_max);
        // A pilot whose card has lost its limits would be a live action.
        if set == Rollout::Pilot && card.pilot.is_none() {
            return Ok(Rollout::DryRun);
        }
        Ok(set)
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
        purpose: Purpose,
    ) -> Result<Result<Admitted, Refusal>, AppError> {
        let before = match purpose {
            Purpose::Write => self.check_before_token(call),
            Purpose::Read => Ok(()),
        };
        if let Err(refusal) = before {
            return Ok(Err(refusal));
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
        if card.verb.reads() != (purpose == Purpose::Read) {
            return Ok(Err(Refusal::of(Reason::VerbMismatch)));
        }
        let state = match (purpose, self.halt_state()) {
            (Purpose::Read, _) => None,
            (Purpose::Write, Ok(state)) => Some(state),
            (Purpose::Write, Err(refusal)) => return Ok(Err(refusal)),
        };
        let subject = subject(call, Customer::NotYet);
        let issued = issued_ms(verified.claims());
        let digest = card.digest();
        let seen = Seen {
            card_digest: &digest,
            rollout,
            standing: state.as_ref().map(|state| Standing {
                epoch: state.epoch,
                halted: state.covering(&subject).map(|flag| &flag.scope),
                revoked: state.revoking(&subject, issued),
            }),
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
            rollout,
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
