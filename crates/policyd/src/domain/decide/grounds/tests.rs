//! What was found of the evidence decides, for the very values that were looked for.

use std::sync::Arc;

use writ_proto::value::args_from_json;

use super::*;
use crate::domain::decide::tests::{now, refund};
use crate::domain::decide::{Outcome, Verdict, decide};
use crate::domain::policy::TenantPolicies;
use crate::domain::policy::tests::shipped;
use crate::domain::record::Step;
use crate::domain::request::{Cites, Evidence, Extractor};

const ASKED: &str = "@id(\"asked\") @reason(\"the customer asked\") @owner(\"o@acme.example\") @approved_by(\"k\") @approved_on(\"2026-11-02\")\n\
    forbid (principal, action == Action::\"refund\", resource) unless { context.grounded.contains(\"amount\") };";

fn facts(wanted: bool, rule: &str, grounds: Grounds) -> Facts {
    let mut sources = shipped("acme");
    if wanted {
        for (name, text) in &mut sources.cards {
            if name.ends_with("refund.toml") {
                *text = text.replace(
                    "type = \"money\"",
                    "type = \"money\"\nevidence = \"required\"",
                );
            }
        }
    }
    if !rule.is_empty() {
        sources.policies.push(("extra.cedar".into(), rule.into()));
    }
    Facts {
        now: now(),
        policies: Arc::new(TenantPolicies::build(&sources).unwrap()),
        halts: Default::default(),
        known: Default::default(),
        grounds,
    }
}

fn asked(amount: &str, cites: bool) -> Request {
    let mut request = refund(amount);
    let cited = cites.then(|| Evidence {
        cites: Some(Cites {
            argument: "amount".into(),
            source: ["crm/main", "ticket", "T-1", "message"].map(str::to_owned),
            extractor: Extractor::Money,
        }),
        ..Evidence::found("amount")
    });
    request.evidence.extend(cited);
    request
}

fn found(amount: &str, grounded: bool) -> Grounds {
    let args = args_from_json(&format!(
        "{{\"amount\":{{\"currency\":\"EUR\",\"value\":{amount}}}}}"
    ));
    Grounds::Looked(vec![Ground {
        argument: "amount".into(),
        value: args.unwrap().get("amount").unwrap().clone(),
        grounded,
        sha256: Some([7; 32]),
        why: "the quote does not stand in the text".into(),
    }])
}

fn unread() -> Grounds {
    Grounds::Unread {
        reason: Reason::SystemUnavailable,
        why: "connection refused".into(),
    }
}

fn told(outcome: &Outcome) -> (Verdict, Option<Reason>) {
    (outcome.verdict, outcome.reason)
}

#[test]
fn a_value_that_was_not_found_is_no_evidence_and_one_that_nobody_could_look_for_denies() {
    let not_grounded = (Verdict::Deny, Some(Reason::NotGrounded));
    let unknown = (Verdict::Deny, Some(Reason::FactsUnavailable));
    let allowed = (Verdict::Allow, None);
    let forbidden = (Verdict::Deny, Some(Reason::Forbidden));
    for (name, cites, grounds, by_card, by_rule, plain) in [
        (
            "none named",
            false,
            Grounds::NotLooked,
            not_grounded,
            forbidden,
            allowed,
        ),
        (
            "found",
            true,
            found("49.00", true),
            allowed,
            allowed,
            allowed,
        ),
        (
            "not found",
            true,
            found("49.00", false),
            not_grounded,
            forbidden,
            allowed,
        ),
        (
            "found for another amount",
            true,
            found("48.00", true),
            not_grounded,
            forbidden,
            allowed,
        ),
        (
            "nobody looked",
            true,
            Grounds::NotLooked,
            unknown,
            unknown,
            unknown,
        ),
        ("not readable", true, unread(), unknown, unknown, unknown),
        (
            "found for what is not named",
            false,
            found("49.00", true),
            unknown,
            unknown,
            unknown,
        ),
        (
            "not readable, and not named",
            false,
            unread(),
            not_grounded,
            forbidden,
            allowed,
        ),
    ] {
        let request = asked("49.00", cites);
        let decided = |wanted, rule| decide(&request, &facts(wanted, rule, grounds.clone()));
        assert_eq!(told(&decided(true, "")), by_card, "{name}, by the card");
        assert_eq!(told(&decided(false, ASKED)), by_rule, "{name}, by a rule");
        assert_eq!(told(&decided(false, "")), plain, "{name}, nothing wants it");
    }
}

#[test]
fn what_was_found_is_a_step_of_the_trace() {
    let request = asked("49.00", true);
    let outcome = decide(&request, &facts(true, "", found("49.00", true)));
    let steps = outcome.trace.iter();
    let names: Vec<&str> = steps
        .map(|step| match step {
            Step::Halts { .. } => "halts",
            Step::Card { .. } => "card",
            Step::Evidence(found) if found[0].grounded => "evidence",
            Step::Policies { .. } => "policies",
            _ => "other",
        })
        .collect();
    assert_eq!(names, ["halts", "card", "evidence", "policies"]);
}

#[test]
fn a_policy_test_says_what_was_found() {
    let set = facts(true, "", Grounds::NotLooked).policies;
    let case = |grounded: &str, verdict: &str| {
        let json = format!(
            "[{{\"name\":\"x\",\"agent\":\"triage\",\"action\":\"refund\",\"target\":[\"order\",\"O-7\"],\"reason\":\"broken\",\
             \"args\":{{\"amount\":{{\"currency\":\"EUR\",\"value\":49}}}},\"grounded\":{grounded},\"verdict\":\"{verdict}\"}}]"
        );
        crate::domain::policy::case::run(&set, &json)
            .unwrap()
            .remove(0)
            .failure
    };
    assert_eq!(case("[\"amount\"]", "ALLOW"), None);
    assert_eq!(case("[]", "DENY"), None);
    let odd = case("[\"colour\"]", "ALLOW").unwrap();
    assert!(odd.contains("no argument `colour`"), "{odd}");
}
