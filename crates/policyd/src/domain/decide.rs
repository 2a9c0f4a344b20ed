//! The decision: pure, total, and closed. Whatever cannot be decided is a denial with a code.

use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::token::Mode;

use super::budget::{self, Budget, Hold, Over, holds, refusal};
use super::record::Step;
use super::request::Request;
use crate::domain::approval;
use crate::domain::decide::cedar::{Answer, evaluate};
use crate::domain::decide::facts::Facts;
use crate::domain::policy::facts::Need;
use crate::domain::policy::{ApprovalNeed, Rule};
use crate::domain::policy::{hint, near};
use crate::domain::request::intent;

/// The three answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A writ may be signed.
    Allow,
    /// Nothing may be signed.
    Deny,
    /// A person decides first.
    RequireApproval,
}

impl Verdict {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::RequireApproval => "REQUIRE_APPROVAL",
        }
    }
}

/// What was decided, and everything the record needs to say why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub verdict: Verdict,
    /// Why, unless it is a plain ALLOW.
    pub reason: Option<Reason>,
    /// One sentence for the agent.
    pub message: String,
    /// What the agent can do.
    pub remedy: String,
    /// Rules that decided, sorted.
    pub determining: Vec<String>,
    /// Rules that failed, by their ids.
    pub errors: Vec<String>,
    /// Who has to approve, with REQUIRE_APPROVAL.
    pub approval: Option<ApprovalNeed>,
    /// Shortest life that a deciding rule asks for, in seconds.
    pub ttl_seconds: Option<u32>,
    /// What was looked at, in order, and what came of each.
    pub trace: Vec<Step>,
}

impl Outcome {
    /// A denial with a code.
    #[must_use]
    pub fn deny(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Deny,
            reason: Some(reason),
            message: message.into(),
            remedy: reason.fix().to_owned(),
            determining: Vec::new(),
            errors: Vec::new(),
            approval: None,
            ttl_seconds: None,
            trace: Vec::new(),
        }
    }
}

/// Decides one request.
#[must_use]
pub fn decide(request: &Request, facts: &Facts) -> Outcome {
    let mut trace = Vec::new();
    let mut outcome = decide_step_by_step(request, facts, &mut trace);
    if let Some(need) = &outcome.approval {
        trace.push(Step::Approval {
            role: need.role.clone(),
            quorum: need.quorum,
            ttl_seconds: need.ttl_seconds,
        });
    }
    outcome.trace = trace;
    outcome
}

/// What a system of record has to be asked for before this request can be decided. What is halted,
/// or refused by its card, costs the system nothing.
#[must_use]
pub fn wants<'a>(request: &Request, facts: &'a Facts) -> Option<Need<'a>> {
    let card = reaches_rules(request, facts)?;
    facts.asks(request, card)
}

/// The card of a request that neither a halt nor its card refuses.
#[must_use]
pub fn reaches_rules<'a>(request: &Request, facts: &'a Facts) -> Option<&'a Card> {
    let card = facts.policies.card(&request.action)?;
    let is_halted = !card.verb.reads() && facts.halted(request).is_some();
    (!is_halted && refused_by_card(request, card, facts).is_none()).then_some(card)
}

fn decide_step_by_step(request: &Request, facts: &Facts, trace: &mut Vec<Step>) -> Outcome {
    let card = facts.policies.card(&request.action);
    // A halt stops what writes; connectord has the last word on both.
    let writes = card.is_none_or(|card| !card.verb.reads());
    let halted = facts.halted(request).filter(|_| writes);
    trace.push(Step::Halts {
        epoch: facts.halts.epoch,
        heard_ms: facts.halts.heard_ms,
        scope: halted.map(ToString::to_string),
    });
    if let Some(scope) = halted {
        // Whose record it is may be what halts it, and its system said that.
        if let Some(readings) = card.and_then(|card| facts.read_of(request, card)) {
            trace.push(Step::Facts(readings.to_vec()));
        }
        return Outcome::deny(Reason::Halted, format!("halted: {scope}"));
    }
    let refused = match card {
        Some(card) => refused_by_card(request, card, facts),
        None => {
            let cards = facts.policies.cards().map(|card| card.name.as_str());
            let near = near(request.action.as_str(), cards);
            let (tenant, action) = (&request.tenant, &request.action);
            let message = format!("{tenant} has no action card named `{action}`{}", hint(near));
            Some(Outcome::deny(Reason::UnknownAction, message))
        }
    };
    trace.push(Step::Card {
        digest: card.map(|card| card.digest()),
        refused: refused.as_ref().and_then(|refused| refused.reason),
    });
    let (Some(card), None) = (card, &refused) else {
        return refused.unwrap_or_else(|| Outcome::deny(Reason::UnknownAction, ""));
    };
    let told = match facts.told(request, card) {
        Ok(told) => told,
        Err((reason, why)) => {
            trace.push(Step::Unread { reason });
            return untold(reason, &why);
        }
    };
    if let Some(readings) = facts.read_of(request, card) {
        trace.push(Step::Facts(readings.to_vec()));
    }
    if let Some(refused) = by_evidence(request, card, facts, trace) {
        return refused;
    }
    let answer = evaluate(request, card, (facts, &told));
    trace.push(Step::Policies {
        allowed: answer.allowed,
        determining: answer.determining.clone(),
        errors: answer.errors.clone(),
    });
    conclude(request, facts, answer)
}

/// The denial where what the system says of the target is not known. A rule that forbids by a fact would not fire, so a
/// record that is not there is one of these: it may be there by the time of the write.
fn untold(reason: Reason, why: &str) -> Outcome {
    if reason == Reason::TargetNotFound {
        return Outcome::deny(reason, reason.sentence());
    }
    let message = format!("{}: {why}", Reason::FactsUnavailable.sentence());
    Outcome::deny(Reason::FactsUnavailable, message)
}

/// What was found of the evidence, as a step; and the denial where that is not known, or not what the card wants.
fn by_evidence(
    request: &Request,
    card: &Card,
    facts: &Facts,
    trace: &mut Vec<Step>,
) -> Option<Outcome> {
    match facts.grounds_of(request) {
        Err((reason, why)) => {
            trace.push(Step::Unlooked { reason });
            let message = format!("{}: {why}", Reason::FactsUnavailable.sentence());
            return Some(Outcome::deny(Reason::FactsUnavailable, message));
        }
        Ok([]) => {}
        Ok(found) => trace.push(Step::Evidence(found.to_vec())),
    }
    let (name, why) = facts.ungrounded(request, card)?;
    let message = format!("`{name}` needs evidence: {why}");
    Some(Outcome::deny(Reason::NotGrounded, message))
}

/// What the card itself rules out, before any policy is asked.
fn refused_by_card(request: &Request, card: &Card, facts: &Facts) -> Option<Outcome> {
    if card.connection.as_str() != request.connection {
        let (action, own) = (&request.action, &card.connection);
        let message = format!("`{action}` is on {own}, not on {}", request.connection);
        return Some(Outcome::deny(Reason::UnknownConnection, message));
    }
    let invalid = |message: String| Some(Outcome::deny(Reason::InvalidArguments, message));
    if let Err(message) = card.check_target(request.target.as_ref()) {
        return invalid(message);
    }
    if card.verb.reads() && request.mode == Mode::Execute {
        let action = &request.action;
        return invalid(format!("mode: `{action}` only reads; ask for a dry run"));
    }
    if card.version_required && request.precondition.is_none() {
        let message = "precondition: the card requires the version the agent relied on";
        return invalid(message.to_owned());
    }
    if let Err(error) = card.check(&request.args, facts.now.date_naive()) {
        return invalid(error.to_string());
    }
    let hours = card.hours.as_ref();
    let closed = hours.filter(|hours| !hours.contain(facts.now))?;
    Some(Outcome::deny(
        Reason::OutsideHours,
        format!("the card allows this action only {closed}"),
    ))
}

/// What an outcome reserves; a denial where a budget cannot count it. An ALLOW that may change
/// something reserves its part of budgets, what waits for a person a place among those that wait.
#[must_use]
pub fn reserve(
    request: &Request,
    facts: &Facts,
    outcome: Outcome,
    ttl_seconds: u32,
) -> (Outcome, Vec<Hold>) {
    let policies = &facts.policies;
    let waits = outcome.verdict == Verdict::RequireApproval;
    if let Some(need) = outcome.approval.as_ref().filter(|_| waits) {
        let place = approval::place(request, need, (facts.now, policies.waiting_max));
        return (outcome, vec![place]);
    }
    let card = policies.card(&request.action);
    let executes = outcome.verdict == Verdict::Allow && request.mode == Mode::Execute;
    let Some(card) = card.filter(|_| executes) else {
        return (outcome, Vec::new());
    };
    let mut places = intent::places(card, request, facts.now, ttl_seconds);
    if policies.budgets.is_empty() {
        return (outcome, places);
    }
    let customer = facts.customer_of(request);
    let asked = budget::Asked {
        request,
        card,
        customer: customer.as_deref(),
        now: facts.now,
        zone: policies.zone,
        ttl_seconds,
    };
    match holds(&policies.budgets, &asked) {
        Ok(holds) => {
            // The intent is looked at first: a repeated request is told so, and not of a budget.
            places.extend(holds);
            (outcome, places)
        }
        Err(uncounted) => {
            let message = uncounted.message(&request.action);
            let reason = uncounted.reason();
            let mut denied = unbudgeted(outcome, reason, message);
            denied.trace.push(Step::Uncounted { reason });
            (denied, Vec::new())
        }
    }
}

/// The denial of what a rule allowed and a budget has no room for. It says which kind of limit
/// fired and when it resets; how much was left is not for the agent.
#[must_use]
pub fn over_budget(
    outcome: Outcome,
    budget: Option<&Budget>,
    over: &Over,
    facts: &Facts,
) -> Outcome {
    let reason = over.fired.reason();
    let message = budget.map_or_else(
        || reason.sentence().to_owned(),
        |budget| refusal(budget, over, facts.now, facts.policies.zone),
    );
    unbudgeted(outcome, reason, message)
}

/// The denial of what would have waited behind too many others of its agent.
#[must_use]
pub fn queue_full(outcome: Outcome) -> Outcome {
    let reason = Reason::ApprovalQueueFull;
    unbudgeted(outcome, reason, reason.sentence().to_owned())
}

/// The denial of what was decided a moment ago under another request id.
#[must_use]
pub fn duplicate_intent(outcome: Outcome, first: &str) -> Outcome {
    let reason = Reason::DuplicateIntent;
    let message = format!("{}: decisions/{first}", reason.sentence());
    unbudgeted(outcome, reason, message)
}

fn unbudgeted(outcome: Outcome, reason: Reason, message: String) -> Outcome {
    Outcome {
        determining: outcome.determining,
        trace: outcome.trace,
        ..Outcome::deny(reason, message)
    }
}

/// From Cedar's answer to ours.
fn conclude(request: &Request, facts: &Facts, answer: Answer) -> Outcome {
    let rules: Vec<&Rule> = answer
        .determining
        .iter()
        .filter_map(|id| facts.policies.rule(id))
        .collect();
    if !answer.errors.is_empty() || rules.len() != answer.determining.len() {
        // Cedar skips a policy that fails, so a failing forbid would vanish.
        let mut outcome = Outcome::deny(Reason::PolicyError, Reason::PolicyError.sentence());
        outcome.determining = answer.determining;
        outcome.errors = answer.failed;
        return outcome;
    }
    let forbidding = rules.iter().find(|rule| rule.forbids);
    let mut outcome = match (answer.allowed, forbidding) {
        (true, None) if request.tenant == request.caller_tenant => allowed(&rules),
        (true, _) => Outcome::deny(
            Reason::Forbidden,
            "an agent acts only inside its own tenant",
        ),
        (false, Some(rule)) => {
            let mut outcome = Outcome::deny(Reason::Forbidden, rule.reason.clone());
            if let Some(fix) = &rule.fix {
                outcome.remedy.clone_from(fix);
            }
            outcome
        }
        (false, None) => {
            let (action, agent) = (&request.action, &request.agent);
            let unknown = if facts.policies.has_agent(agent) {
                String::new()
            } else {
                format!("; entities.json has no agent `{agent}`, so it has no role")
            };
            let message = format!("no rule allows `{action}` as asked{unknown}");
            let mut outcome = Outcome::deny(Reason::NotPermitted, message);
            if !unknown.is_empty() {
                "an operator adds the agent to entities.json, or corrects its name there"
                    .clone_into(&mut outcome.remedy);
            }
            outcome
        }
    };
    outcome.determining = answer.determining;
    outcome
}

fn allowed(rules: &[&Rule]) -> Outcome {
    let unconditional = rules.iter().any(|rule| rule.approval.is_none());
    let least = rules.iter().filter_map(|rule| rule.approval.clone()).min();
    let (verdict, reason, approval) = match least {
        Some(need) if !unconditional => (
            Verdict::RequireApproval,
            Some(Reason::ApprovalRequired),
            Some(need),
        ),
        _ => (Verdict::Allow, None, None),
    };
    let carries = |rule: &&&Rule| rule.approval == approval;
    let message = rules
        .iter()
        .find(carries)
        .map(|rule| rule.reason.clone())
        .unwrap_or_default();
    let remedy = approval.as_ref().map_or_else(String::new, |need| {
        format!(
            "{} of role {} must approve; {}",
            need.quorum,
            need.role,
            Reason::ApprovalRequired.fix()
        )
    });
    Outcome {
        verdict,
        reason,
        message,
        remedy,
        determining: Vec::new(),
        errors: Vec::new(),
        approval,
        ttl_seconds: rules.iter().filter_map(|rule| rule.ttl_seconds).min(),
        trace: Vec::new(),
    }
}

pub mod cedar;
pub mod counter_offer;
pub mod facts;
pub mod grounds;
pub mod known;
#[cfg(test)]
pub(crate) mod tests;
