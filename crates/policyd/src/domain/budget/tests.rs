//! Budgets of a policy set, what they ask of a request, and how counters and holds move.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use writ_proto::Reason;
use writ_proto::ids::{AgentId, RunId};
use writ_proto::token::Mode;
use writ_proto::value::args_from_json;

use super::*;
use crate::domain::decide::facts::{Facts, HaltView};
use crate::domain::decide::tests::refund;
use crate::domain::decide::{Outcome, Verdict, decide, over_budget, reserve};
use crate::domain::policy::tests::shipped;
use crate::domain::policy::{PolicyErrors, TenantPolicies};
use crate::domain::request::Request;

const REFUNDS: &str = "[[budget]]\nid = \"refunds\"\nactions = [\"refund\"]\nscope = \"tenant\"\n\
                       window = \"day\"\namount = \"100.00\"\ncurrency = \"EUR\"\n";
const CALLS: &str = "[[budget]]\nid = \"calls\"\nscope = \"agent\"\nwindow = \"hour\"\ncalls = 7\n";
const CHAIN: &str =
    "[[budget]]\nid = \"chain\"\nscope = \"run\"\nwindow = \"run\"\nfollow_ups = 2\n";
const PER_CUSTOMER: &str = "[[budget]]\nid = \"each\"\nactions = [\"refund\"]\nscope = \
                            \"customer\"\nwindow = \"day\"\nrecords = 3\n";
const TOKENS: &str =
    "[[budget]]\nid = \"tokens\"\nscope = \"agent\"\nwindow = \"day\"\ntokens = 1000\n";
const MONDAY: &str = "2026-11-02T11:00:00Z";

/// The shipped set with other budgets.
fn with(budgets: &str) -> Result<TenantPolicies, PolicyErrors> {
    let mut sources = shipped("acme");
    let own = sources.set_toml.split("[[budget]]").next().unwrap();
    sources.set_toml = format!("{own}\n{budgets}");
    TenantPolicies::build(&sources)
}

fn facts(budgets: &str, now: &str) -> Facts {
    Facts {
        now: now.parse().unwrap(),
        policies: Arc::new(with(budgets).unwrap()),
        halts: HaltView::default(),
        known: Default::default(),
        grounds: Default::default(),
    }
}

fn reserved(budgets: &str, now: &str, request: &Request) -> (Outcome, Vec<Hold>) {
    let facts = facts(budgets, now);
    reserve(request, &facts, decide(request, &facts), 60)
}

/// What a request is refused with that a rule allows.
fn refused(budgets: &str, request: &Request) -> (Option<Reason>, String) {
    let (outcome, holds) = reserved(budgets, MONDAY, request);
    assert!(holds.is_empty(), "{holds:?}");
    assert_eq!(outcome.verdict, Verdict::Deny);
    (outcome.reason, outcome.message)
}

fn in_run(run: &str) -> Request {
    Request {
        run: Some(RunId::parse(run).unwrap()),
        ..refund("49.00")
    }
}

#[test]
fn an_allowed_execution_reserves_of_every_budget_that_counts_it() {
    let all = format!("{REFUNDS}{CALLS}{CHAIN}{PER_CUSTOMER}{TOKENS}");
    let (outcome, holds) = reserved(&all, MONDAY, &in_run("r.1"));
    assert_eq!(outcome.verdict, Verdict::Allow);
    let found: Vec<_> = holds
        .iter()
        .map(|hold| (hold.key.as_str(), hold.amount, hold.limits.cap, hold.takes))
        .collect();
    let wanted = [
        ("refunds|tenant|2026-11-02", 4_900, 10_000, Takes::Settled),
        ("calls|agent:triage|2026-11-02T12+0100", 1, 7, Takes::AtOnce),
        ("chain|run:triage:r.1|run", 1, 2, Takes::AtOnce),
        ("each|customer:C-1|2026-11-02", 1, 3, Takes::Settled),
        ("tokens|agent:triage|2026-11-02", 0, 1_000, Takes::Nothing),
    ];
    assert_eq!(found, wanted);
    let mut dry = in_run("r.1");
    dry.mode = Mode::DryRun;
    assert!(reserved(&all, MONDAY, &dry).1.is_empty());
    let (outcome, holds) = reserved(&all, MONDAY, &refund("20000.00"));
    assert_ne!(outcome.verdict, Verdict::Allow);
    assert!(holds.is_empty());
}

#[test]
fn what_cannot_be_counted_is_denied() {
    let (reason, message) = refused(CHAIN, &refund("1.00"));
    assert_eq!(reason, Some(Reason::RunRequired), "{message}");
    // A target that policyd does not know, and one whose fact names no customer.
    let mut stranger = in_run("r");
    stranger.target = Some(("order".into(), "O-404".into()));
    let set = facts(PER_CUSTOMER, MONDAY);
    let allowed = decide(&in_run("r"), &set);
    let (outcome, holds) = reserve(&stranger, &set, allowed.clone(), 60);
    assert_eq!(outcome.reason, Some(Reason::CustomerUnknown));
    assert!(holds.is_empty());
    let mut foreign = in_run("r");
    foreign.tenant = writ_proto::ids::TenantId::parse("globex").unwrap();
    assert_eq!(set.policies.customer_of(&foreign), None);
    assert_eq!(
        set.policies.customer_of(&in_run("r")).as_deref(),
        Some("C-1")
    );
    // An amount that is left out, of another shape, or negative.
    let set = facts(REFUNDS, MONDAY);
    for args in [
        "{}",
        r#"{"amount":5}"#,
        r#"{"amount":{"currency":"EUR","value":-1.00}}"#,
    ] {
        let mut odd = in_run("r");
        odd.args = args_from_json(args).unwrap();
        let (outcome, holds) = reserve(&odd, &set, allowed.clone(), 60);
        assert_eq!(outcome.reason, Some(Reason::AmountRequired), "{args}");
        assert!(holds.is_empty());
    }
}

#[test]
fn a_day_begins_at_midnight_of_the_zone_and_the_doubled_hour_is_two() {
    let key = |budgets: &str, now: &str| {
        let set = with(budgets).unwrap();
        let request = refund("1.00");
        let asked = Asked {
            request: &request,
            card: set.card(&request.action).unwrap(),
            customer: None,
            now: now.parse().unwrap(),
            zone: set.zone,
            ttl_seconds: 60,
        };
        holds(&set.budgets, &asked).unwrap()[0]
            .key
            .as_str()
            .to_owned()
    };
    // Amsterdam goes from +02:00 to +01:00 at 01:00 UTC on 25 October 2026.
    assert_eq!(
        key(REFUNDS, "2026-11-02T22:59:59Z"),
        "refunds|tenant|2026-11-02"
    );
    assert_eq!(
        key(REFUNDS, "2026-11-02T23:00:00Z"),
        "refunds|tenant|2026-11-03"
    );
    assert_ne!(
        key(CALLS, "2026-10-25T00:30:00Z"),
        key(CALLS, "2026-10-25T01:30:00Z")
    );
}

#[test]
fn a_window_ends_at_the_next_hour_or_midnight_of_the_zone() {
    let moment = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let table = [
        (
            Window::Hour,
            "Europe/Amsterdam",
            "2026-11-02T11:59:59Z",
            "2026-11-02T12:00:00Z",
        ),
        (
            Window::Hour,
            "Asia/Kolkata",
            "2026-11-02T11:29:00Z",
            "2026-11-02T11:30:00Z",
        ),
        (
            Window::Day,
            "Europe/Amsterdam",
            "2026-11-02T23:00:00Z",
            "2026-11-03T23:00:00Z",
        ),
        (
            Window::Day,
            "Europe/Amsterdam",
            "2026-10-24T23:00:00Z",
            "2026-10-25T23:00:00Z",
        ),
        // There is no midnight in Cairo on 24 April 2026: the day begins at one.
        (
            Window::Day,
            "Africa/Cairo",
            "2026-04-23T12:00:00Z",
            "2026-04-23T22:00:00Z",
        ),
    ];
    for (window, zone, now, end) in table {
        let zone: Tz = zone.parse().unwrap();
        assert_eq!(
            reset(window, moment(now), zone),
            Some(moment(end)),
            "{zone} {now}"
        );
    }
    assert_eq!(reset(Window::Run, moment(MONDAY), Tz::UTC), None);
}

#[test]
fn another_currency_does_not_slip_past_a_budget() {
    let set = facts(REFUNDS, MONDAY);
    let allowed = decide(&refund("1.00"), &set);
    let mut request = refund("1.00");
    request.args = args_from_json(r#"{"amount":{"currency":"USD","value":1.00}}"#).unwrap();
    let (outcome, _) = reserve(&request, &set, allowed.clone(), 60);
    assert_eq!(outcome.reason, Some(Reason::BudgetExceeded));
    assert!(
        outcome.message.contains("counts USD"),
        "{}",
        outcome.message
    );
    let dollars = REFUNDS
        .replace("EUR", "USD")
        .replace("\"refunds\"", "\"usd\"");
    let both = facts(&format!("{REFUNDS}{dollars}"), MONDAY);
    let (_, holds) = reserve(&request, &both, allowed.clone(), 60);
    assert_eq!(
        (holds.len(), holds[0].amount, holds[0].currency.as_str()),
        (1, 100, "USD")
    );
    // A budget of another kind that counts it does not stand in for this one.
    let hourly = dollars.replace("\"day\"", "\"hour\"");
    let apart = facts(&format!("{REFUNDS}{hourly}"), MONDAY);
    let (outcome, _) = reserve(&request, &apart, allowed, 60);
    assert_eq!(outcome.reason, Some(Reason::BudgetExceeded));
}

#[test]
fn an_agent_is_told_which_limit_and_when_it_resets_but_no_figure() {
    let set = facts(&format!("{REFUNDS}{CHAIN}{TOKENS}"), MONDAY);
    let told = |id: &str, fired| {
        let over = Over {
            fired,
            used: 9_876,
            limit: 9_999,
        };
        let allowed = decide(&refund("1.00"), &set);
        over_budget(allowed, set.policies.budget(id), &over, &set)
    };
    let table = [
        (
            "refunds",
            Fired::Cap,
            Reason::BudgetExceeded,
            "resets at 2026-11-02T23:00:00Z",
        ),
        (
            "refunds",
            Fired::Spike,
            Reason::BudgetExceeded,
            "unusually many EUR",
        ),
        (
            "chain",
            Fired::Cap,
            Reason::BudgetExceeded,
            "follow-up calls of this run",
        ),
        ("chain", Fired::Age, Reason::BudgetExceeded, "too old"),
        (
            "tokens",
            Fired::Unreported,
            Reason::UsageUnknown,
            "not reported in time",
        ),
    ];
    for (id, fired, reason, part) in table {
        let outcome = told(id, fired);
        assert_eq!(outcome.reason, Some(reason));
        assert!(outcome.message.contains(part), "{}", outcome.message);
        for figure in ["9876", "98.76", "9999", "99.99", "100"] {
            assert!(!outcome.message.contains(figure), "{}", outcome.message);
        }
    }
}

fn flaws_of_windows() -> Vec<(String, &'static str)> {
    let plus = |budget: &str, line: &str| format!("{budget}{line}\n");
    vec![
        (
            CHAIN.replace("\"run\"\nfollow", "\"day\"\nfollow"),
            "has the window `run`",
        ),
        (
            CHAIN.replace("scope = \"run\"", "scope = \"agent\""),
            "has the window `run`",
        ),
        (
            CALLS.replace("calls = 7", "follow_ups = 7"),
            "counted in the scope `run`",
        ),
        (
            TOKENS.replace("\"agent\"", "\"customer\""),
            "not for customers",
        ),
        (plus(REFUNDS, "on_trip = \"halt\""), "goes with the scopes"),
        (plus(CALLS, "max = 6"), "less than the cap"),
        (plus(CALLS, "max = \"9\""), "not in the unit"),
        (plus(REFUNDS, "spike = \"5x\""), "go together"),
        (
            plus(REFUNDS, "spike = \"1x\"\nspike_floor = \"1\""),
            "2x to 100x",
        ),
        (
            plus(CALLS, "spike = \"5x\"\nspike_floor = 1"),
            "window `day`",
        ),
        (plus(CALLS, "max_age = \"1h\""), "`max_age` does not go"),
        (plus(CHAIN, "max_age = \"8d\""), "`max_age` is too long"),
        (
            plus(CALLS, "report_within = \"1m\""),
            "`report_within` does not go",
        ),
    ]
}

/// A budget with a flaw, and what is said of it.
fn flaws() -> Vec<(String, &'static str)> {
    let customer = |action: &str| PER_CUSTOMER.replace("refund\"]", &format!("{action}\"]"));
    let plus = |budget: &str, line: &str| format!("{budget}{line}\n");
    let mut flaws = flaws_of_windows();
    flaws.extend([
        (
            REFUNDS.replace("refund\"]", "refnud\"]"),
            "no card named `refnud`",
        ),
        (
            REFUNDS.replace("refund\"]", "add_note\"]"),
            "`add_note` has no amount in an argument",
        ),
        (
            plus(REFUNDS, "argument = \"total\""),
            "`refund` has no amount in an argument `total`",
        ),
        (
            plus(REFUNDS, "argument = \"total\"").replace("actions = [\"refund\"]\n", ""),
            "it has amount",
        ),
        (
            REFUNDS.replace("100.00", "100.001"),
            "budget `refunds`: amount: `100.001`",
        ),
        (
            REFUNDS.replace("100.00", "-1"),
            "budget `refunds`: amount: `-1`",
        ),
        (REFUNDS.replace("EUR", "XXZ"), "not an ISO 4217"),
        (REFUNDS.replace("currency", "curency"), "curency"),
        (CALLS.replace("calls = 7", ""), "give exactly one of"),
        (plus(CALLS, "tokens = 1"), "give exactly one of"),
        (plus(CALLS, "currency = \"EUR\""), "go with `amount`"),
        (CALLS.replace("= 7", "= -7"), "`-7`"),
        (CALLS.replace("\"calls\"", "\"a b\""), "an id is letters"),
        (format!("{CALLS}{CALLS}"), "two budgets are named `calls`"),
        (CALLS.repeat(BUDGETS_MAX + 1), "at most 16 budgets"),
        (customer("append_issue_note"), "declares no customer"),
        (
            PER_CUSTOMER.replace("actions = [\"refund\"]\n", ""),
            "declares no customer",
        ),
    ]);
    flaws
}

#[test]
fn a_budget_with_a_flaw_refuses_the_set_and_says_what_and_where() {
    for (text, wanted) in flaws() {
        let error = with(&text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
        assert!(
            error.starts_with("set.toml:") && error.contains(" POLICY_INVALID "),
            "{error}"
        );
    }
    let first = shipped("acme")
        .set_toml
        .split("[[budget]]")
        .next()
        .unwrap()
        .lines()
        .count();
    let error = with(&format!("{CALLS}{}", TOKENS.replace("1000", "-1"))).unwrap_err();
    let line = first + 1 + CALLS.lines().count() + 1;
    assert!(
        error.to_string().contains(&format!(
            "set.toml:{line}:1: POLICY_INVALID budget `tokens`"
        )),
        "{error}"
    );
}

#[test]
fn of_a_budget_of_all_agents_each_agent_has_its_own_time_to_report() {
    let all = TOKENS.replace("\"agent\"", "\"tenant\"");
    let (_, holds) = reserved(&all, MONDAY, &refund("1.00"));
    let found: Vec<_> = holds
        .iter()
        .map(|hold| (hold.key.subject(), hold.limits.report_ms_max.is_some()))
        .collect();
    assert_eq!(found, [("agent:triage", true), ("tenant", false)]);
}

#[test]
fn figures_are_read_and_written_exactly() {
    let euro = Unit::money("EUR").unwrap();
    let table = [
        (&euro, "5000.00", Some(500_000), "5000.00"),
        (&euro, "0.1", Some(10), "0.10"),
        (&euro, "0.001", None, ""),
        (&euro, "92233720368547758.08", None, ""),
        (&Unit::MicroUsd, "25", Some(25_000_000), "25.000000"),
        (&Unit::MicroUsd, "0.0000001", None, ""),
        (&Unit::Tokens, "7", Some(7), "7"),
        (&Unit::Tokens, "7.5", None, ""),
        (&Unit::Count, "1e3", Some(1_000), "1000"),
        (&Unit::Count, "NaN", None, ""),
    ];
    for (unit, text, figure, shown) in table {
        assert_eq!(unit.read(text).ok(), figure, "{text}");
        if let Some(figure) = figure {
            assert_eq!(unit.shown(figure), shown);
        }
    }
    assert!(Unit::money("eur").is_err());
}

#[test]
fn what_a_writ_may_still_use_stays_held_for_an_hour_after_its_life() {
    let (_, holds) = reserved(REFUNDS, MONDAY, &refund("49.00"));
    let hold = &holds[0];
    assert_eq!(hold.expires_ms - hold.at_ms, 60_000 + 60 * 60 * 1_000);
}

#[test]
fn a_raise_lifts_the_counter_it_names_until_it_ends_and_never_lowers_one() {
    let raise = |budget: &str, subject: &str| Raise {
        id: Uuid::nil(),
        budget: budget.into(),
        subject: subject.into(),
        amount: 1,
        until_ms: 500,
    };
    let key = Key::new("calls", &Subject::Agent("triage".into()), "w");
    for (raise, now_ms, lifts) in [
        (raise("calls", ""), 499, true),
        (raise("calls", "agent:triage"), 499, true),
        (raise("calls", "agent:seller"), 499, false),
        (raise("other", ""), 499, false),
        (raise("calls", ""), 500, false),
    ] {
        assert_eq!(raise.lifts(&key, now_ms), lifts, "{raise:?} {now_ms}");
    }
    let set = with(CALLS).unwrap();
    let now = MONDAY.parse().unwrap();
    let limits = set.budgets[0].limits(&Subject::Tenant, now, set.zone);
    assert_eq!(limit(&limits, -5, &[]), (7, Fired::Cap));
}

#[test]
fn an_agents_own_word_spends_nothing_of_what_all_share() {
    let set = with(&TOKENS.replace("\"agent\"", "\"tenant\"")).unwrap();
    let agent = AgentId::parse("triage").unwrap();
    let moment = (MONDAY.parse().unwrap(), set.zone);
    for (own_word, wanted) in [
        (true, &["agent:triage"][..]),
        (false, &["tenant", "agent:triage"]),
    ] {
        let keys = usage_keys(&set.budgets, (&agent, None), (5, 0), moment, own_word);
        let subjects: Vec<_> = keys.iter().map(|(key, _)| key.subject()).collect();
        assert_eq!(subjects, wanted);
    }
}
