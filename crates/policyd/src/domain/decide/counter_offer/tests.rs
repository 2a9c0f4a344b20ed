//! Offers against brute force on random policies, and what is never offered.

use std::sync::Arc;

use proptest::test_runner::{Config, TestRunner};
use writ_proto::value::args_from_json;

use super::*;
use crate::domain::decide::facts::HaltView;
use crate::domain::decide::tests::{now, refund};
use crate::domain::policy::TenantPolicies;
use crate::domain::policy::tests::shipped;

const OFFERS: &str = "\n[counter_offer]\nactions = [\"refund\"]\nper_hour = 6\n";
const FORBIDS: &str = "@id(\"f\") @reason(\"f\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") \
                       forbid (principal, action == Action::\"refund\", resource) when ";

/// The shipped set with rules of its own for refunds, and a card with optional fields.
fn facts(rules: &str, extra_args: &str) -> Facts {
    let mut sources = shipped("acme");
    // A table must not come before the keys of the top of the file.
    sources.set_toml.push_str(OFFERS);
    if rules.is_empty() {
        return with(&sources);
    }
    sources.policies.retain(|(name, _)| name != "refunds.cedar");
    sources.policies.push(("own.cedar".into(), rules.into()));
    let card = sources
        .cards
        .iter_mut()
        .find(|(name, _)| name == "refund.toml");
    let (_, text) = card.unwrap();
    *text = text.replace("[precondition]", &format!("{extra_args}\n[precondition]"));
    with(&sources)
}

fn with(sources: &crate::domain::policy::Sources) -> Facts {
    Facts {
        now: now(),
        policies: Arc::new(TenantPolicies::build(sources).unwrap()),
        halts: HaltView::default(),
        known: Default::default(),
        grounds: Default::default(),
    }
}

fn permit(id: &str, when: &str) -> String {
    format!(
        "@id(\"{id}\") @reason(\"r\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") permit (principal, action == Action::\"refund\", resource) \
         when {{ {when} }};\n"
    )
}

/// A refund of an order of 600 euros.
fn large(amount: &str) -> Request {
    Request {
        target: Some(("order".into(), "O-6".into())),
        ..refund(amount)
    }
}

fn offered(request: &Request, facts: &Facts) -> Option<Offer> {
    counter_offer(request, facts, &decide(request, facts))
}

fn minor(offer: &Offer) -> i64 {
    let money = writ_proto::money::Money::from_value(offer.args.get("amount").unwrap());
    money.unwrap().minor()
}

fn euros(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

#[test]
fn the_shipped_refund_rules_offer_what_they_allow() {
    let facts = facts("", "");
    for (asked, allowed) in [("300.00", 25_000), ("600.00", 25_000), ("250.01", 25_000)] {
        let offer = offered(&large(asked), &facts).unwrap();
        assert_eq!(minor(&offer), allowed, "{asked}");
        assert_eq!(offer.sentence, "amount up to 250.00 EUR is allowed");
        let args_cbor = offer.args.encode();
        let again = Request {
            args: offer.args,
            args_cbor,
            ..large(asked)
        };
        assert_eq!(decide(&again, &facts).verdict, Verdict::Allow);
    }
    assert_eq!(offered(&large("250.00"), &facts), None, "it is allowed");
}

#[test]
fn a_smaller_number_is_the_largest_that_random_rules_allow() {
    let numbers = proptest::collection::vec((0_i64..2_000, 0_i64..2_000, 0..4), 1..4);
    let mut runner = TestRunner::new(Config {
        cases: 40,
        ..Config::default()
    });
    let strategy = (numbers, 1_000_i64..2_000);
    let run = runner.run(&strategy, |(bounds, asked)| {
        let rule = |(at, (low, high, form)): (usize, &(i64, i64, i32))| {
            let amount = "context.amount_minor";
            let when = match form {
                0 => format!("{amount} <= {low}"),
                1 => format!("{amount} > {low} && {amount} < {high}"),
                2 => format!("{amount} == {low}"),
                _ => format!("context.args.amount.minor >= {low} && {amount} != {high}"),
            };
            permit(&format!("p{at}"), &when)
        };
        let text: String = bounds.iter().enumerate().map(rule).collect();
        let facts = facts(&text, "");
        let request = refund(&euros(asked));
        let allows =
            |units: &i64| decide(&refund(&euros(*units)), &facts).verdict == Verdict::Allow;
        let outcome = decide(&request, &facts);
        let best = (1..asked).rev().find(allows);
        let found = offered(&request, &facts).map(|offer| minor(&offer));
        let wanted = best.filter(|_| is_open_to_offers(&outcome));
        // At most 14 candidates are tried one by one; these rules name at most 6 numbers.
        if let Some(found) = found {
            assert!(allows(&found), "an offer is always allowed");
        }
        if bounds.len() < 3 {
            assert_eq!(found, wanted, "{text}");
        }
        Ok(())
    });
    run.unwrap();
}

const FIELDS: &str = "[args.note]\ntype = \"text\"\nmax_chars = 50\noptional = true\n\
                      [args.fast]\ntype = \"boolean\"\noptional = true\n\
                      [args.kind]\ntype = \"choice\"\nvalues = [\"a\", \"secret\"]\noptional = true\n";

fn with_fields(fields: &[&str]) -> Request {
    let mut text = "{\"amount\":{\"currency\":\"EUR\",\"value\":5.00}".to_owned();
    for field in fields {
        let value = match *field {
            "note" => "\"n\"",
            "fast" => "true",
            _ => "\"a\"",
        };
        text.push_str(&format!(",\"{field}\":{value}"));
    }
    text.push('}');
    let args = args_from_json(&text).unwrap();
    Request {
        args_cbor: args.encode(),
        args,
        ..refund("5.00")
    }
}

#[test]
fn as_few_fields_as_possible_are_left_out() {
    let names = ["note", "fast", "kind"];
    let mut runner = TestRunner::new(Config {
        cases: 30,
        ..Config::default()
    });
    let strategy = proptest::collection::vec(0_u32..8, 1..4);
    let run = runner.run(&strategy, |banned| {
        let rule = |(at, mask): (usize, &u32)| {
            let gone = (0..3).filter(|bit| mask >> bit & 1 == 1);
            let parts: Vec<String> = gone
                .map(|bit| format!("!(context.args has {})", names[bit]))
                .collect();
            let when = if parts.is_empty() {
                "context.args has note && context.args has fast && context.args has kind".into()
            } else {
                parts.join(" && ")
            };
            permit(&format!("p{at}"), &when)
        };
        let text: String = banned.iter().enumerate().map(rule).collect();
        let facts = facts(&text, FIELDS);
        let request = with_fields(&names);
        let kept = |mask: u32| {
            let kept: Vec<&str> = (0..3)
                .filter(|bit| mask >> bit & 1 == 0)
                .map(|bit| names[bit])
                .collect();
            decide(&with_fields(&kept), &facts).verdict == Verdict::Allow
        };
        let fewest = (0_u32..8)
            .filter(|mask| kept(*mask))
            .map(u32::count_ones)
            .min();
        let outcome = decide(&request, &facts);
        let found = offered(&request, &facts)
            .map(|offer| u32::try_from(names.len() + 1 - offer.args.iter().count()).unwrap());
        let wanted = fewest.filter(|_| is_open_to_offers(&outcome));
        assert_eq!(found, wanted, "{text}");
        Ok(())
    });
    run.unwrap();
}

#[test]
fn a_choice_an_id_and_a_target_are_never_replaced() {
    let rules = permit(
        "only-secret",
        "context.args has kind && context.args.kind == \"secret\"",
    );
    let set = facts(&rules, FIELDS);
    assert_eq!(offered(&with_fields(&["kind"]), &set), None);
    let rules = permit("one-order", "resource == Order::\"O-8\"");
    assert_eq!(offered(&with_fields(&[]), &facts(&rules, FIELDS)), None);
    let rules = permit("dollars", "context.currency == \"USD\"");
    assert_eq!(
        offered(&with_fields(&["note"]), &facts(&rules, FIELDS)),
        None
    );
}

#[test]
fn nothing_is_offered_after_a_forbid_an_error_a_halt_or_without_the_switch() {
    let small = permit("small", "context.amount_minor <= 100");
    let asked = refund("5.00");
    assert!(offered(&asked, &facts(&small, "")).is_some());
    let forbid = format!("{small}{FORBIDS} {{ context.amount_minor > 100 }};");
    assert_eq!(offered(&asked, &facts(&forbid, "")), None);
    let error = format!("{small}{FORBIDS} {{ context.amount_minor * 9223372036854775807 > 1 }};");
    assert_eq!(offered(&asked, &facts(&error, "")), None);
    let mut halted = facts(&small, "");
    halted.halts.scopes.push("agent:triage".parse().unwrap());
    assert_eq!(offered(&asked, &halted), None);
    let mut sources = shipped("acme");
    sources
        .set_toml
        .push_str(&OFFERS.replace("refund", "add_note"));
    assert_eq!(offered(&large("300.00"), &with(&sources)), None);
    let over = over(&facts(&small, ""));
    assert_eq!(over, None);
}

fn over(facts: &Facts) -> Option<Offer> {
    let outcome = Outcome::deny(Reason::BudgetExceeded, "");
    counter_offer(&refund("5.00"), facts, &outcome)
}

#[test]
fn a_flaw_in_the_switch_refuses_the_set() {
    for (text, wanted) in [
        (OFFERS.replace("= 6", "= 0"), "per_hour is 1 to 60"),
        (OFFERS.replace("= 6", "= 61"), "per_hour is 1 to 60"),
        (OFFERS.replace("refund", "refnud"), "no card named `refnud`"),
        (OFFERS.replace("per_hour", "per_day"), "per_day"),
    ] {
        let mut sources = shipped("acme");
        sources.set_toml.push_str(&text);
        let error = TenantPolicies::build(&sources).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn nothing_is_offered_for_arguments_of_any_length() {
    let set = facts("", "");
    let mut request = large("300.00");
    assert!(offered(&request, &set).is_some());
    request.args_cbor = vec![0; OFFER_BYTES_MAX + 1];
    assert_eq!(offered(&request, &set), None);
}
