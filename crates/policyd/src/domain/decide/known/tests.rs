//! Facts of a system decide, and what could not be read denies.

use std::sync::Arc;

use writ_proto::value::args_from_json;

use super::*;
use crate::domain::decide::tests::{now, refund};
use crate::domain::decide::{Outcome, Verdict, decide, reserve};
use crate::domain::policy::tests::as_shipped;
use crate::domain::record::Step;

fn order(total: i64, refunded: &str) -> Reading {
    let fields = format!(
        "{{\"customer\":\"C-2\",\"status\":\"paid\",\"total\":{{\"currency\":\"EUR\",\"value\":{total}}},\
         \"refunded\":{{\"currency\":\"EUR\",\"value\":{refunded}}}}}"
    );
    Reading {
        kind: "order".into(),
        id: "O-7".into(),
        object: "order".into(),
        names: ["customer", "refunded", "status", "total"]
            .map(str::to_owned)
            .to_vec(),
        asked_ms: 7,
        exists: true,
        fields: args_from_json(&fields).unwrap(),
    }
}

fn customer(tier: &str) -> Reading {
    Reading {
        kind: "customer".into(),
        id: "C-2".into(),
        object: "contact".into(),
        names: vec!["tier".into()],
        asked_ms: 8,
        exists: true,
        fields: args_from_json(&format!("{{\"tier\":\"{tier}\"}}")).unwrap(),
    }
}

fn facts(known: Known) -> Facts {
    facts_with("", known)
}

fn facts_with(rule: &str, known: Known) -> Facts {
    let mut sources = as_shipped("acme");
    if !rule.is_empty() {
        sources.policies.push(("extra.cedar".into(), rule.into()));
    }
    Facts {
        now: now(),
        policies: Arc::new(TenantPolicies::build(&sources).unwrap()),
        halts: Default::default(),
        known,
        grounds: Default::default(),
    }
}

fn decided(amount: &str, known: Known) -> Outcome {
    decide(&refund(amount), &facts(known))
}

fn unread() -> Known {
    Known::Unread {
        reason: Reason::SystemUnavailable,
        why: "connection refused".into(),
    }
}

#[test]
fn what_the_system_says_of_the_order_decides() {
    for (amount, readings, verdict, rule) in [
        (
            "100.00",
            vec![order(450, "0"), customer("standard")],
            Verdict::Allow,
            "refund-small",
        ),
        (
            "100.00",
            vec![order(450, "350"), customer("standard")],
            Verdict::Allow,
            "refund-small",
        ),
        (
            "100.01",
            vec![order(450, "350"), customer("standard")],
            Verdict::Deny,
            "refund-over-total",
        ),
        (
            "300.00",
            vec![order(450, "0"), customer("standard")],
            Verdict::Deny,
            "",
        ),
        (
            "300.00",
            vec![order(450, "0"), customer("gold")],
            Verdict::Allow,
            "refund-gold",
        ),
    ] {
        let outcome = decided(amount, Known::Read(readings.clone()));
        assert_eq!(outcome.verdict, verdict, "{amount} {outcome:?}");
        assert!(
            rule.is_empty() || outcome.determining.iter().any(|id| id == rule),
            "{outcome:?}"
        );
        assert!(
            outcome.trace.contains(&Step::Facts(readings)),
            "{:?}",
            outcome.trace
        );
    }
}

/// A forbid that asks for a fact with `has` does not fire where the fact is absent: only a denial keeps that from
/// becoming a permit.
#[test]
fn what_could_not_be_read_is_no_absence() {
    let frozen = "@id(\"frozen\") @reason(\"r\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") \
                  forbid (principal, action, resource) when { resource has status && resource.status == \"frozen\" };";
    let hold = |known| {
        let mut request = refund("1.00");
        request.action = writ_proto::ids::ActionName::parse("hold_order").unwrap();
        request.args =
            args_from_json("{\"email\":\"a@b.c\",\"hold\":\"x\",\"order_number\":\"1\"}").unwrap();
        request.args_cbor = request.args.encode();
        decide(
            &request,
            &facts_with(
                &frozen.replace("action,", "action == Action::\"hold_order\","),
                known,
            ),
        )
    };
    let paid = || Known::Read(vec![order(450, "0"), customer("gold")]);
    assert_eq!(hold(paid()).verdict, Verdict::Allow, "{:?}", hold(paid()));
    for (known, step) in [
        (unread(), Reason::SystemUnavailable),
        (Known::NotAsked, Reason::Unavailable),
        (Known::Read(vec![]), Reason::Unavailable),
        (Known::Read(vec![customer("gold")]), Reason::Unavailable),
        (
            // A set that asks for less was in force when it was read: a fact that nobody asked for is not absent.
            Known::Read(vec![Reading {
                names: vec!["total".into()],
                ..order(450, "0")
            }]),
            Reason::Unavailable,
        ),
        (
            Known::Read(vec![Reading {
                id: "O-8".into(),
                ..order(450, "0")
            }]),
            Reason::Unavailable,
        ),
    ] {
        let outcome = hold(known);
        assert_eq!(
            outcome.reason,
            Some(Reason::FactsUnavailable),
            "{outcome:?}"
        );
        assert!(
            outcome.trace.contains(&Step::Unread { reason: step }),
            "{:?}",
            outcome.trace
        );
    }
}

#[test]
fn a_record_that_is_not_there_is_denied_and_one_that_is_named_must_be_read() {
    let gone = Reading {
        exists: false,
        fields: Map::new(),
        ..order(1, "0")
    };
    let outcome = decided("1.00", Known::Read(vec![gone]));
    assert_eq!(outcome.reason, Some(Reason::TargetNotFound));
    let outcome = decided("1.00", Known::Read(vec![order(450, "0")]));
    assert_eq!(
        outcome.reason,
        Some(Reason::FactsUnavailable),
        "its customer was not read: {outcome:?}"
    );
}

#[test]
fn a_value_of_another_type_than_declared_is_unreadable() {
    for (name, json) in [
        ("total", "12"),
        ("total", "{\"currency\":\"EUR\",\"value\":0.001}"),
        ("status", "true"),
        ("customer", "[\"C-2\"]"),
    ] {
        let mut odd = order(450, "0");
        odd.fields
            .set(name, writ_proto::value::value_from_json(json).unwrap());
        let outcome = decided("1.00", Known::Read(vec![odd, customer("gold")]));
        assert_eq!(
            outcome.reason,
            Some(Reason::FactsUnavailable),
            "{name} {json}: {outcome:?}"
        );
        assert!(
            outcome.message.contains(&format!("order O-7: {name}: ")),
            "{outcome:?}"
        );
    }
}

#[test]
fn budgets_count_the_customer_that_the_system_names() {
    let (request, facts) = (
        refund("1.00"),
        facts(Known::Read(vec![order(450, "0"), customer("gold")])),
    );
    assert_eq!(facts.customer_of(&request).as_deref(), Some("C-2"));
    let (_, holds) = reserve(&request, &facts, decide(&request, &facts), 60);
    assert!(
        holds.iter().any(|hold| hold.key.as_str().contains("C-2")),
        "{holds:?}"
    );
    let unknown = Facts {
        known: unread(),
        ..facts
    };
    assert_eq!(unknown.customer_of(&request), None);
}

fn stage(rule: &str, known: Known, entities: impl Fn(String) -> String) -> Outcome {
    let mut sources = as_shipped("acme");
    sources.policies.push(("extra.cedar".into(), rule.into()));
    sources.entities_json = entities(sources.entities_json);
    let facts = Facts {
        policies: Arc::new(TenantPolicies::build(&sources).unwrap_or_else(|why| panic!("{why}"))),
        ..facts(known)
    };
    let mut request = refund("1.00");
    request.action = writ_proto::ids::ActionName::parse("set_stage").unwrap();
    request.target = Some(("deal".into(), "D-104".into()));
    request.args = args_from_json("{\"stage\":\"qualified\"}").unwrap();
    request.args_cbor = request.args.encode();
    decide(&request, &facts)
}

const BLOCKED: &str = "@id(\"blocked\") @reason(\"r\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") \
    forbid (principal, action == Action::\"set_stage\", resource) when { CONDITION };";

/// A deal is not asked for, and names a customer who is.
#[test]
fn what_a_target_of_entities_json_names_is_read_too() {
    for condition in [
        "resource has customer && resource.customer has tier && resource.customer.tier == \"gold\"",
        "resource has customer.tier && resource.customer.tier == \"gold\"",
    ] {
        let rule = BLOCKED.replace("CONDITION", condition);
        let c1 = |tier| {
            Known::Read(vec![Reading {
                id: "C-1".into(),
                ..customer(tier)
            }])
        };
        let same = |text: String| text;
        assert_eq!(
            stage(&rule, c1("gold"), same).reason,
            Some(Reason::Forbidden),
            "{condition}"
        );
        assert_eq!(
            stage(&rule, c1("standard"), same).verdict,
            Verdict::Allow,
            "{condition}"
        );
        let unread = stage(&rule, unread(), same);
        assert_eq!(
            unread.reason,
            Some(Reason::FactsUnavailable),
            "{condition}: {unread:?}"
        );
    }
    let only = BLOCKED.replace("CONDITION", "resource has customer.tier");
    assert_eq!(
        stage(&only, unread(), |text| text).reason,
        Some(Reason::FactsUnavailable)
    );
}

#[test]
fn a_named_record_that_is_not_there_or_one_too_many_is_no_absence() {
    let gone = Reading {
        exists: false,
        fields: Map::new(),
        ..customer("gold")
    };
    let outcome = decided("1.00", Known::Read(vec![order(450, "0"), gone]));
    assert_eq!(
        outcome.reason,
        Some(Reason::FactsUnavailable),
        "{outcome:?}"
    );
    assert!(outcome.trace.contains(&Step::Unread {
        reason: Reason::FieldUnreadable
    }));
    let mut sources = as_shipped("acme");
    let names = ["payer", "shipper", "buyer", "owner"];
    let types: String = names
        .map(|name| format!("{name} = \"Customer\"\n"))
        .concat();
    sources.set_toml = sources
        .set_toml
        .replace("[facts.deal]\n", &format!("[facts.deal]\n{types}"));
    let attrs = names
        .map(|name| format!("\"{name}\": {{\"type\": \"Customer\", \"id\": \"C-{name}\"}}, "))
        .concat();
    sources.entities_json = sources
        .entities_json
        .replace("\"stage\": \"new\"", &format!("{attrs}\"stage\": \"new\""));
    let rule = BLOCKED.replace(
        "CONDITION",
        "resource has owner && resource.owner has tier && resource.owner.tier == \"gold\"",
    );
    sources.policies.push(("extra.cedar".into(), rule));
    let set = TenantPolicies::build(&sources).unwrap();
    let mut request = refund("1.00");
    request.action = writ_proto::ids::ActionName::parse("set_stage").unwrap();
    request.target = Some(("deal".into(), "D-104".into()));
    let links = set.links(&request, None, |_| None);
    assert!(links.unwrap_err().contains("names 5 records"));
}

/// Whose record it is may be what halts it: deciding again sees it too.
#[test]
fn a_halt_of_a_customer_that_the_system_named_has_the_facts_in_its_trace() {
    let mut facts = facts(Known::Read(vec![order(450, "0"), customer("gold")]));
    facts.halts.scopes = vec!["tenant:acme/customer:C-2".parse().unwrap()];
    let outcome = decide(&refund("1.00"), &facts);
    assert_eq!(outcome.reason, Some(Reason::Halted));
    assert!(matches!(&outcome.trace[1], Step::Facts(readings) if readings.len() == 2));
}
