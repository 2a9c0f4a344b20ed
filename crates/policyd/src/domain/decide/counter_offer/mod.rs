//! The counter-offer: what an agent may ask for instead, as a request that is allowed as it
//! stands (ADR 0025).
//!
//! Only sums, numbers and optional fields are offered: a smaller value of one argument with all
//! fields kept, or else the same values with as few fields left out as possible. A choice, an id, a
//! text or a target is never replaced, because that would tell what a list holds. Nothing is
//! offered that was not itself decided as ALLOW, and nothing after a forbid, an error, a halt or
//! a budget.

mod retry;
mod scalar;
mod search;
mod subsets;

use serde::Deserialize;
use writ_proto::Reason;
use writ_proto::ids::ActionName;
use writ_proto::value::Map;

use crate::domain::decide::facts::Facts;
use crate::domain::decide::{Outcome, Verdict, decide, reserve};
use crate::domain::request::Request;
use scalar::Scalar;
use subsets::subsets;

pub use retry::{Retry, retry_of};

/// Most evaluations for one counter-offer.
pub const EVALUATIONS_MAX: usize = 24;
/// Up to so many optional fields, every subset is tried; beyond, only those that lack one.
pub const FIELDS_TRIED_MAX: usize = 4;
/// Longest arguments that are offered, as canonical bytes.
pub const OFFER_BYTES_MAX: usize = 8 * 1_024;
/// Most offers an hour that a set may grant to one agent and action.
pub const PER_HOUR_MAX: u32 = 60;

/// `[counter_offer]` of `set.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterOfferText {
    actions: Vec<String>,
    per_hour: u32,
}

/// Which actions of a tenant get counter-offers. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CounterOffers {
    actions: Vec<ActionName>,
    /// How many an agent gets for an action in an hour.
    pub per_hour: u32,
}

impl CounterOffers {
    /// Checks what a set says.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check(
        text: Option<CounterOfferText>,
        is_card: impl Fn(&ActionName) -> bool,
    ) -> Result<Self, String> {
        let Some(CounterOfferText { actions, per_hour }) = text else {
            return Ok(Self::default());
        };
        if !(1..=PER_HOUR_MAX).contains(&per_hour) {
            return Err(format!("counter_offer: per_hour is 1 to {PER_HOUR_MAX}"));
        }
        let parse = |name: &String| {
            let known = ActionName::parse(name).ok().filter(&is_card);
            known.ok_or_else(|| format!("counter_offer: no card named `{name}`"))
        };
        let actions: Result<Vec<_>, _> = actions.iter().map(parse).collect();
        Ok(Self {
            actions: actions?,
            per_hour,
        })
    }

    /// Whether an action gets them.
    #[must_use]
    pub fn has(&self, action: &ActionName) -> bool {
        self.actions.contains(action)
    }
}

/// What would be allowed instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The arguments; everything else is as it was asked.
    pub args: Map,
    /// One sentence about the difference.
    pub sentence: String,
}

/// Whether an outcome is of the kind that gets an offer at all.
#[must_use]
pub fn is_open_to_offers(outcome: &Outcome) -> bool {
    matches!(
        (outcome.verdict, outcome.reason),
        (Verdict::Deny, Some(Reason::NotPermitted))
            | (Verdict::RequireApproval, Some(Reason::ApprovalRequired))
    )
}

/// Evaluates requests until it has counted enough of them.
struct Search<'a> {
    request: &'a Request,
    facts: &'a Facts,
    left: usize,
}

impl Search<'_> {
    /// Whether these arguments would be allowed; none when no more may be evaluated.
    fn allows(&mut self, args: &Map) -> Option<bool> {
        self.left = self.left.checked_sub(1)?;
        let mut request = Request {
            args: args.clone(),
            args_cbor: args.encode(),
            ..self.request.clone()
        };
        // The request that is offered cannot doubt what it leaves out.
        for item in &mut request.evidence {
            item.uncertain.retain(|name| args.get(name).is_some());
        }
        // What a budget could not count is no offer either.
        let outcome = decide(&request, self.facts);
        let (outcome, _) = reserve(&request, self.facts, outcome, 1);
        Some(outcome.verdict == Verdict::Allow)
    }
}

/// The largest request that is allowed instead of this one, as far as the search goes.
#[must_use]
pub fn counter_offer(request: &Request, facts: &Facts, outcome: &Outcome) -> Option<Offer> {
    let card = facts.policies.card(&request.action)?;
    let offered = facts.policies.counter_offers.has(&request.action);
    if !offered || !is_open_to_offers(outcome) || request.args_cbor.len() > OFFER_BYTES_MAX {
        return None;
    }
    let subsets = subsets(request, card);
    let mut search = Search {
        request,
        facts,
        left: EVALUATIONS_MAX.saturating_sub(subsets.len()),
    };
    let smaller = Scalar::of(request, card)
        .into_iter()
        .find_map(|scalar| scalar.largest(&mut search));
    if smaller.is_some() {
        return smaller;
    }
    search.left = search.left.saturating_add(subsets.len());
    subsets.into_iter().find_map(|(args, left_out)| {
        let allowed = search.allows(&args)?;
        let names = left_out.join(", ");
        allowed.then(|| Offer {
            args,
            sentence: format!("it is allowed without {names}"),
        })
    })
}

#[cfg(test)]
mod tests;
