//! Checks 1 to 18 in their order: halts before anything is parsed, then the token, then the gate.

use std::sync::Arc;
use std::time::Duration;

use writ_proto::Reason;
use writ_proto::card::{Card, Rollout};
use writ_proto::token::{Claims, Mode, UnverifiedToken, VerifiedToken, Verifier};

use crate::app::App;
use crate::app::halts::check::{issued_ms, subject};
use crate::clock;
use crate::domain::gate::{Call, Permit, Refusal, Seen, Standing, admit, check_scope};
use crate::domain::promotion::check_promoted;
use crate::error::AppError;
use crate::halt::Customer;
use crate::store::Promoted;
use crate::system::System;

/// How long a card that a writ names is waited for: longer than files are looked at.
const CARD_STEP: Duration = Duration::from_millis(50);
const CARD_STEPS: u32 = 30;

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
    /// How often the action was moved before.
    pub revision: i64,
    /// Other cards that a write must satisfy too: the one that was promoted, and the one in force where
    /// the writ was signed under one that it replaced a moment ago.
    pub also: Vec<Arc<Card>>,
}

/// What a writ is about, as the files say now.
struct Chosen {
    /// The card that it was signed under.
    card: Arc<Card>,
    /// The card in force.
    in_force: Arc<Card>,
    system: Arc<System>,
}

/// What binds a write beside its writ.
struct Binding {
    rollout: Rollout,
    revision: i64,
    also: Vec<Arc<Card>>,
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
        Ok(Self::within(card, promoted.as_ref()))
    }

    /// The same, as the database has it at this moment.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn rollout_now(&self, tenant: &str, card: &Card) -> Result<Rollout, AppError> {
        let promoted = self.journal.rollout_now(tenant, card.name.as_str()).await?;
        Ok(Self::within(card, promoted.as_ref()))
    }

    pub(crate) fn within(card: &Card, promoted: Option<&Promoted>) -> Rollout {
        // What a card says of its start is taken over once (`start_new_actions`), and is a row from then on.
        let start = card.rollout.min(Rollout::DryRun);
        let set = promoted.map_or(start, |set| set.at(clock::now().timestamp_millis()));
        // The card's own limit holds even if it was lowered after the promotion.
        let set = set.min(card.rollout_max);
        // A pilot whose card has lost its limits would be a live action.
        if set == Rollout::Pilot && card.pilot.is_none() {
            return Rollout::DryRun;
        }
        set
    }

    /// The card of a writ and the driver of its connection, if the card is in force or was when the
    /// writ was signed a moment ago, and the connection is this tenant's and can perform it.
    fn chosen(&self, claims: &Claims, call: &Call) -> Result<Chosen, Refusal> {
        let catalog = self.catalog.load();
        let held = catalog.held(&call.tenant, &call.action)?;
        let now = clock::now().timestamp_millis();
        let signed = held.of_digest(&claims.card_digest, now);
        let card = Arc::clone(signed.unwrap_or(&held.card));
        if let Some(why) = &held.unfit {
            return Err(Refusal::new(Reason::CardInvalid, why.clone()));
        }
        Ok(Chosen {
            card,
            in_force: Arc::clone(&held.card),
            system: catalog.system(&call.tenant, &call.connection)?,
        })
    }

    /// policyd may have read a changed card a moment earlier: its writs are not refused for that.
    async fn await_card(&self, claims: &Claims, call: &Call) {
        for _ in 0..CARD_STEPS {
            let known = {
                let catalog = self.catalog.load();
                let held = catalog.held(&call.tenant, &call.action);
                let now = clock::now().timestamp_millis();
                held.is_ok_and(|held| held.of_digest(&claims.card_digest, now).is_some())
            };
            if known || claims.tenant != call.tenant || claims.action != call.action {
                return;
            }
            tokio::time::sleep(CARD_STEP).await;
        }
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
        self.await_card(verified.claims(), call).await;
        // The gate checks this too; here it comes before the card of another scope is looked for.
        let chosen = check_scope(verified.claims(), call)
            .and_then(|()| self.chosen(verified.claims(), call));
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let set = self.journal.rollout(&call.tenant, &call.action).await?;
        let writes = call.mode == Mode::Execute;
        let binding = match self.binding(set.as_ref(), &chosen, writes) {
            Ok(binding) => binding,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Chosen { card, system, .. } = chosen;
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
            rollout: binding.rollout,
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
        for other in &binding.also {
            if let Err(refusal) = check_promoted(other, &card, call, permit.args(), clock::now()) {
                return Ok(Err(refusal));
            }
        }
        // Last, since it may ask the system: only who may do something makes it ask.
        if let Err(refusal) = self.check_standing(&call.connection, &system).await {
            return Ok(Err(refusal));
        }
        Ok(Ok(Admitted {
            permit,
            card,
            system,
            rollout: binding.rollout,
            revision: binding.revision,
            also: binding.also,
        }))
    }

    /// How far the action goes, and what a write must satisfy beside the card of its writ. Narrowing
    /// holds at once, also for a writ that was signed before it.
    fn binding(
        &self,
        set: Option<&Promoted>,
        chosen: &Chosen,
        writes: bool,
    ) -> Result<Binding, Refusal> {
        let of = |card: &Card| Self::within(card, set);
        let rollout = of(&chosen.card).min(of(&chosen.in_force));
        let revision = set.map_or(0, |set| set.revision);
        let mut also = Vec::new();
        if writes && rollout.writes() {
            if chosen.in_force.digest() != chosen.card.digest() {
                also.push(Arc::clone(&chosen.in_force));
            }
            if let Some(set) = set {
                also.extend(self.as_promoted(set, &chosen.card, &chosen.system)?);
            }
        }
        Ok(Binding {
            rollout,
            revision,
            also,
        })
    }

    /// The card as it was promoted, if it is not the one in force. What the system file says of the
    /// verb must be what it said then.
    pub(crate) fn as_promoted(
        &self,
        set: &Promoted,
        card: &Card,
        system: &System,
    ) -> Result<Option<Arc<Card>>, Refusal> {
        let now = hex::encode(system.digest(&card.target, card.verb.name()));
        let again = format!("promote it again: connectord actions promote {}", card.name);
        if set.system != now {
            let detail = format!(
                "the system file does `{}` otherwise than when it was promoted; {again}",
                card.verb.name()
            );
            return Err(Refusal::new(Reason::DryRunOnly, detail));
        }
        let promoted = Card::parse(&set.card).map_err(|error| {
            Refusal::new(
                Reason::DryRunOnly,
                format!("the card that was promoted cannot be read any more ({error}); {again}"),
            )
        })?;
        Ok((promoted.digest() != card.digest()).then(|| Arc::new(promoted)))
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
