//! Ceilings of a card: what a call counts, where, how much, and how far it may go.

use writ_proto::value::args_from_json;

use super::*;
use crate::domain::gate::tests::{admitted, call as any_call};
use crate::domain::plan::plan;

mod amounts;
mod buckets;
mod each;
mod readings;

/// Other ceilings come after its own.
const CARD: &str = r#"
name = "set_amount"
sentence = "Set the amount of one deal."
connection = "crm/main"
verb = "update_fields"
target = "deal"
owner = "ops"
risk = "low"
tier = "reversible"
undo = "puts the old amount back"
rollback_minutes = 1
approver = "role:ops"
rollout_max = "live"
rollback_window = "1h"
customer = "customer"
[args.amount]
type = "money"
currencies = ["EUR", "JPY"]
min = "1"
max = "1000"
[args.note]
type = "text"
max_chars = 9
optional = true
[caps]
records_per_day = 30
"#;

/// Every other ceiling.
const ALL: &str = r#"records_per_agent_per_day = 9
records_per_customer_per_day = 5
records_per_run = 20
fields_per_run = 40
follow_ups_per_run = 3
amount_per_day = "500.00"
amount_per_run = "100"
spike = "5x median of 7 days""#;

/// The last second of a day.
pub(crate) fn now() -> DateTime<Tz> {
    let now: DateTime<chrono::Utc> = "2026-11-21T23:59:59Z".parse().unwrap();
    now.with_timezone(&Tz::UTC)
}

/// The card under another name and with another verb, with more ceilings.
pub(crate) fn card_of(name: &str, verb: &str, ceilings: &str) -> Card {
    let text = CARD.replace("set_amount", name);
    let text = text.replace("update_fields", verb);
    let text = text.replace("\"reversible\"", "\"compensable\"");
    Card::parse(&format!("{text}{ceilings}\n")).unwrap()
}

/// The card with more ceilings.
pub(crate) fn card(ceilings: &str) -> Card {
    card_of("set_amount", "update_fields", ceilings)
}

fn asked(run: &str, args: &str) -> Call {
    Call {
        action: "set_amount".into(),
        args_cbor: args_from_json(args).unwrap().encode(),
        precondition: None,
        run_id: run.into(),
        ..any_call()
    }
}

/// A call of a run that writes two fields, one of them 5 of a currency.
pub(crate) fn call(run: &str, currency: &str) -> Call {
    let amount = format!(r#"{{"currency":"{currency}","value":5}}"#);
    asked(run, &format!(r#"{{"amount":{amount},"note":"n"}}"#))
}

/// What a call counts when its token is spent.
pub(crate) fn spent(card: &Card, call: &Call, now: DateTime<Tz>) -> Result<Vec<Count>, Refusal> {
    at_claim(
        &admitted(call, card, now.to_utc())?,
        call,
        (card, Rollout::Live),
        now,
    )
}

/// What it counts when its record was seen, which names a customer.
pub(crate) fn seen(
    card: &Card,
    call: &Call,
    customer: Value,
    now: DateTime<Tz>,
) -> Result<Vec<Count>, Refusal> {
    let mut before = Image::default();
    before.fields.set("customer", customer);
    let plan = plan(&admitted(call, card, now.to_utc())?, call, card, &before)?;
    at_look(card, call, &plan, &before, now)
}

/// A customer, as a record names it.
pub(crate) fn customer() -> Value {
    Value::Text("C-7".to_owned())
}

/// Action, bucket, how much is added, how far it may go, and of what it is the ceiling.
type Expected = (&'static str, &'static str, i64, i64, &'static str);

fn count((action, bucket, add, cap, what): Expected) -> Count {
    Count {
        is_amount: what.starts_with("EUR"),
        action: action.to_owned(),
        bucket: bucket.to_owned(),
        add,
        cap,
        what: format!("the ceiling of {what} is reached"),
    }
}

const DAY: Expected = ("set_amount", "2026-11-21", 1, 30, "records a day");
const AGENT: Expected = (
    "set_amount",
    "2026-11-21/agent/triage",
    1,
    9,
    "records a day and agent",
);
const RECORDS: Expected = ("set_amount", "run/triage/r-1", 1, 20, "records a run");
const CALLS: Expected = (
    "*",
    "run/triage/r-1/calls",
    1,
    4,
    "calls after the first of a run",
);

#[test]
fn of_two_cards_the_lower_ceiling_holds_and_what_either_counts_counts() {
    let day = |cap: i64| count((DAY.0, DAY.1, 1, cap, DAY.4));
    for (own, other) in [(30, 5), (5, 30), (5, 5)] {
        let lower = narrower(vec![day(own)], vec![day(other)]);
        assert_eq!(lower, [day(5)], "{own} and {other}");
    }
    for other in [AGENT, CALLS, ("other", DAY.1, 1, 5, DAY.4)] {
        let both = narrower(vec![day(30)], vec![count(other)]);
        assert_eq!(both, [day(30), count(other)]);
        let none = narrower(vec![], vec![count(other)]);
        assert_eq!(none, [count(other)]);
    }
}

#[test]
fn the_days_before_do_not_hold_today() {
    let now = DateTime::from_timestamp(1_795_219_200, 0).unwrap();
    let now = now.with_timezone(&Tz::UTC);
    let days = days_before(now);
    assert_eq!(days.len(), 7);
    assert!(!days.contains(&day(now)));
    assert_eq!(days.iter().max().unwrap(), &days[0]);
}

#[test]
fn a_day_ends_where_the_policy_set_says() {
    let amsterdam = now().with_timezone(&Tz::Europe__Amsterdam);
    assert_eq!(
        (day(now()), day(amsterdam)),
        ("2026-11-21".to_owned(), "2026-11-22".to_owned())
    );
}

#[test]
fn a_name_with_a_slash_falls_into_no_bucket_of_another() {
    let bucket = |agent: &str, run: &str| {
        let call = Call {
            agent: agent.into(),
            run_id: run.into(),
            ..call("r", "EUR")
        };
        bucket_of_run(&call)
    };
    assert_ne!(bucket("a/b", "c"), bucket("a", "b/c"));
    assert_ne!(bucket("a%2Fb", "c"), bucket("a/b", "c"));
}

#[test]
fn parts_of_an_amount_are_held_to_their_record_together() {
    let held = |ceiling: &str, total: Option<Value>| {
        let card = card(&format!("amount_per_record = {ceiling}"));
        let mut before = Image::default();
        if let Some(total) = total {
            before.fields.set("total", total);
        }
        let plan = Plan {
            args: amount(),
            ..Plan::nowhere("deal".into(), "D-1".into(), amount())
        };
        at_look(&card, &call("r", "EUR"), &plan, &before, now())
    };
    let fixed = held("\"120.00\"", None).unwrap();
    assert_eq!(fixed.len(), 1);
    assert!(
        fixed[0].cap == 12_000 && fixed[0].bucket.starts_with("record/crm%2Fmain/"),
        "{fixed:?}"
    );
    let total = writ_proto::value::number_from_text("120").unwrap();
    assert_eq!(
        held("{ field = \"total\" }", Some(total)).unwrap()[0].cap,
        12_000
    );
    for nothing in [None, Some(Value::Text("120".into()))] {
        let refused = held("{ field = \"total\" }", nothing).unwrap_err();
        assert_eq!(refused.reason, Reason::BudgetExceeded);
    }
}

/// The amount that [`call`] names.
fn amount() -> writ_proto::value::Map {
    writ_proto::value::args_from_cbor(&call("r", "EUR").args_cbor).unwrap()
}
