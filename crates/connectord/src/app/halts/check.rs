//! Halts where they count: before a token is parsed, after the record was seen, and right before
//! the write.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::token::Claims;
use writ_proto::value::Value;

use crate::app::App;
use crate::clock;
use crate::domain::execution::Execution;
use crate::domain::gate::{Call, Refusal, Standing, check_standing, told};
use crate::domain::image::Image;
use crate::halt::{Customer, HaltState, Part, Subject};

/// A call as halts see it.
#[must_use]
pub fn subject<'a>(call: &'a Call, customer: Customer<'a>) -> Subject<'a> {
    Subject {
        tenant: &call.tenant,
        connection: &call.connection,
        action: &call.action,
        agent: &call.agent,
        run: &call.run_id,
        customer,
    }
}

/// The customer that a record belongs to, as text; the outer none where nobody can tell.
fn owner(card: &Card, before: &Image) -> Option<Option<String>> {
    match before.fields.get(card.customer.as_deref()?)? {
        Value::Null => Some(None),
        Value::Text(text) if text.is_empty() => Some(None),
        Value::Text(text) => Some(Some(text.clone())),
        Value::Int(number) => Some(Some(number.to_string())),
        _ => None,
    }
}

/// When a writ was issued, in Unix milliseconds: its id tells, or else the second is taken whole.
pub(crate) fn issued_ms(claims: &Claims) -> i64 {
    let second = i64::from(claims.iat).saturating_mul(1_000);
    let stamp = claims.cti.uuid().get_timestamp();
    let by_id = stamp.map(|stamp| {
        let (seconds, nanos) = stamp.to_unix();
        let seconds = i64::try_from(seconds).unwrap_or(0);
        seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(nanos / 1_000_000))
    });
    // An id that names another second is no clock.
    let near = |at: &i64| (second..second.saturating_add(1_000)).contains(at);
    by_id.filter(near).unwrap_or(second)
}

impl App {
    /// The halt state; what cannot be read is a refusal.
    ///
    /// # Errors
    /// `HALT_UNKNOWN`.
    pub fn halt_state(&self) -> Result<Arc<HaltState>, Refusal> {
        self.halts.read(clock::now().timestamp()).map_err(|error| {
            tracing::debug!(%error, "the halt state is not known");
            Refusal::of(Reason::HaltUnknown)
        })
    }

    /// Check 1, with nothing but what the caller says and is.
    ///
    /// # Errors
    /// `HALTED` or `HALT_UNKNOWN`.
    pub(crate) fn check_before_token(&self, call: &Call) -> Result<(), Refusal> {
        let state = self.halt_state()?;
        // Whether another tenant is halted is not for this caller to learn.
        let subject = Subject {
            tenant: &call.caller_tenant,
            ..subject(call, Customer::NotYet)
        };
        match state.covering(&subject) {
            Some(flag) => Err(Refusal::new(Reason::Halted, told(&flag.scope))),
            None => Ok(()),
        }
    }

    /// Whether halts stop an agent from undoing what it did. The record is not looked at for its
    /// customer, so the halt of any customer of the tenant stops it: operators undo on.
    ///
    /// # Errors
    /// `HALTED` or `HALT_UNKNOWN`.
    pub(crate) fn check_undo(&self, execution: &Execution, agent: &str) -> Result<(), Refusal> {
        let subject = Subject {
            tenant: &execution.tenant,
            connection: &execution.connection,
            action: &execution.action,
            agent,
            run: &execution.run,
            customer: Customer::Unknown,
        };
        match self.halt_state()?.covering(&subject) {
            Some(flag) => Err(Refusal::new(Reason::Halted, told(&flag.scope))),
            None => Ok(()),
        }
    }

    /// The last check before a write, with the record seen: halts of its customer too, and halts
    /// that came and went since the token was checked.
    ///
    /// # Errors
    /// `HALTED`, `HALT_UNKNOWN` or `TOKEN_REVOKED`.
    pub(crate) fn check_before_write(
        &self,
        (card, claims): (&Card, &Claims),
        call: &Call,
        before: &Image,
    ) -> Result<(), Refusal> {
        let state = self.halt_state()?;
        let owner = owner(card, before);
        let customer = match &owner {
            None => Customer::Unknown,
            Some(None) => Customer::Nobody,
            Some(Some(name)) => Customer::Is(name),
        };
        let subject = subject(call, customer);
        let halted = state.covering(&subject).map(|flag| &flag.scope);
        let standing = Standing {
            epoch: state.epoch,
            halted,
            revoked: state.revoking(&subject, issued_ms(claims)),
        };
        let unknown = customer == Customer::Unknown;
        check_standing(claims, &standing).map_err(|mut refusal| {
            if unknown && halted.is_some_and(|scope| matches!(scope.part(), Part::Customer(_))) {
                refusal
                    .detail
                    .push_str("; nobody can tell the customer of this record");
            }
            refusal
        })
    }
}
