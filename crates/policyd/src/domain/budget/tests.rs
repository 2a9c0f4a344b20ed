//! Budgets of a policy set, and how holds move.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::token::Mode;
use writ_proto::value::args_from_json;

use super::*;
use crate::domain::decide::tests::refund;
use crate::domain::decide::{Verdict, decide, reserve};
use crate::domain::facts::{Facts, HaltView};
use crate::domain::policy_set::tests::shipped;
use crate::domain::policy_set::{PolicyErrors, TenantPolicies};
use crate::domain::request::Request;

const REFUNDS: &str = "[[budget]]\nid = \"refunds\"\nactions = [\"refund\"]\nscope = \"tenant\"\n\
                       window = \"day\"\namount = \"100.00\"\ncurrency = \"EUR\"\n";
const CALLS: &str = "[[budget]]\nid = \"calls\"\nscope = \"agent\"\nwindow = \"hour\"\ncalls = 7\n";

/// The shipped set with other budgets.
fn with(budgets: &str) -> Result<TenantPolicies, PolicyErrors> {
    let mut sources = shipped("acme");
    let own = sources.set_toml.split("[[budget]]").next().unwrap();
    sources.set_toml = format!("{own}\n{budgets}");
    TenantPolicies::build(&sources)
}

fn reserved(budgets: &str, now: &str, request: &Request) -> (Verdict, Option<Reason>, Vec<Hold>) {
    let facts = Facts {
        now: now.parse().unwrap(),
        policies: Arc::new(with(budgets).unwrap()),
        halts: HaltView::default(),
    };
    let (outcome, holds) = reserve(request, &facts, decide(request, &facts), 60);
    (outcome.verdict, outcome.reason, holds)
}

const MONDAY: &str = "2026-11-02T11:00:00Z";

#[test]
fn an_allowed_execution_reserves_of_every_budget_that_counts_it() {
    let both = format!("{REFUNDS}{CALLS}");
    let (verdict, _, holds) = reserved(&both, MONDAY, &refund("49.00"));
    assert_eq!(verdict, Verdict::Allow);
    let found: Vec<_> = holds
        .iter()
        .map(|hold| (hold.key.as_str(), hold.amount, hold.cap))
        .collect();
    let wanted = [
        ("refunds|tenant|2026-11-02", 4_900, 10_000),
        ("calls|agent:triage|2026-11-02T12+0100", 1, 7),
    ];
    assert_eq!(found, wanted);
    let mut dry = refund("49.00");
    dry.mode = Mode::DryRun;
    assert!(reserved(&both, MONDAY, &dry).2.is_empty());
    let (verdict, _, holds) = reserved(&both, MONDAY, &refund("20000.00"));
    assert_ne!(verdict, Verdict::Allow);
    assert!(holds.is_empty());
}

#[test]
fn a_day_begins_at_midnight_of_the_zone_and_the_doubled_hour_is_two() {
    // Amsterdam goes from +02:00 to +01:00 at 01:00 UTC on 25 October 2026.
    let table = [
        ("2026-11-02T22:59:59Z", "refunds|tenant|2026-11-02"),
        ("2026-11-02T23:00:00Z", "refunds|tenant|2026-11-03"),
    ];
    for (now, key) in table {
        let facts = with(REFUNDS).unwrap();
        let card = facts.card(&refund("1.00").action).unwrap();
        let when = (now.parse().unwrap(), facts.zone);
        let holds = holds(&facts.budgets, (&refund("1.00"), card), when, 60).unwrap();
        assert_eq!(holds[0].key, key);
    }
    let set = with(CALLS).unwrap();
    let card = set.card(&refund("1.00").action).unwrap();
    let key = |now: &str| {
        let when = (now.parse().unwrap(), set.zone);
        let holds = holds(&set.budgets, (&refund("1.00"), card), when, 60).unwrap();
        holds[0].key.clone()
    };
    assert_ne!(key("2026-10-25T00:30:00Z"), key("2026-10-25T01:30:00Z"));
}

#[test]
fn another_currency_does_not_slip_past_a_budget() {
    let set = with(REFUNDS).unwrap();
    let mut request = refund("1.00");
    request.args = args_from_json(r#"{"amount":{"currency":"USD","value":1.00}}"#).unwrap();
    let card = set.card(&request.action).unwrap();
    let when = (MONDAY.parse().unwrap(), set.zone);
    let refused = holds(&set.budgets, (&request, card), when, 60);
    assert_eq!(refused, Err(NoCurrency("USD".to_owned())));
    let dollars = REFUNDS
        .replace("EUR", "USD")
        .replace("\"refunds\"", "\"usd\"");
    let both = with(&format!("{REFUNDS}{dollars}")).unwrap();
    let holds = holds(&both.budgets, (&request, card), when, 60).unwrap();
    assert_eq!((holds.len(), holds[0].amount), (1, 100));
}

#[test]
fn a_budget_with_a_flaw_refuses_the_set_and_says_what() {
    let table = [
        (
            REFUNDS.replace("refund\"]", "refnud\"]"),
            "no card named `refnud`",
        ),
        (REFUNDS.replace("refund\"]", "add_note\"]"), "has no amount"),
        (REFUNDS.replace("100.00", "100.001"), "budget `refunds`"),
        (REFUNDS.replace("currency", "curency"), "curency"),
        (CALLS.replace("calls = 7", ""), "give `calls`, or"),
        (CALLS.replace("\"calls\"", "\"a b\""), "an id is letters"),
        (format!("{CALLS}{CALLS}"), "two budgets are named `calls`"),
        (CALLS.repeat(BUDGETS_MAX + 1), "at most 16 budgets"),
    ];
    for (text, wanted) in table {
        let error = with(&text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn a_hold_fits_up_to_the_cap_and_never_by_overflow() {
    let hold = |amount, cap| Hold {
        key: String::new(),
        amount,
        cap,
        expires_ms: 0,
    };
    let table = [
        (0, 10, 10, Some(10)),
        (1, 10, 10, None),
        (10, 0, 10, None),
        (10, -5, 10, None),
        (i64::MAX, 1, i64::MAX, None),
        (-3, 3, 0, Some(0)),
    ];
    for (used, amount, cap, then) in table {
        assert_eq!(
            fits(used, &hold(amount, cap)),
            then,
            "{used} {amount} {cap}"
        );
    }
}

#[test]
fn a_settlement_moves_the_use_once() {
    use HoldState::{Captured, Doubtful, Held, Void};
    let table = [
        (Held, SettledAs::Doubtful, Doubtful, 0),
        (Void, SettledAs::Doubtful, Doubtful, 1),
        (Captured, SettledAs::Doubtful, Captured, 0),
        (Doubtful, SettledAs::Doubtful, Doubtful, 0),
        (Doubtful, SettledAs::Captured, Captured, 0),
        (Doubtful, SettledAs::Void, Void, -1),
        (Held, SettledAs::Captured, Captured, 0),
        (Held, SettledAs::Void, Void, -1),
        (Void, SettledAs::Captured, Captured, 1),
        (Void, SettledAs::Void, Void, 0),
        (Captured, SettledAs::Captured, Captured, 0),
        (Captured, SettledAs::Void, Captured, 0),
    ];
    for (state, to, then, change) in table {
        assert_eq!(state.settle(to), (then, change), "{state:?} {to:?}");
        assert_eq!(
            HoldState::from_number(i64::from(state.number())),
            Some(state)
        );
    }
}
