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
pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-21T23:59:59Z".parse().unwrap()
}

/// The card under another name and with another verb, with more ceilings.
pub(crate) fn card_of(name: &str, verb: &str, ceilings: &str) -> Card {
    let text = CARD.replace("set_amount", name);
    let text = text.replace("update_fields", verb);
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
pub(crate) fn spent(card: &Card, call: &Call, now: DateTime<Utc>) -> Result<Vec<Count>, Refusal> {
    at_claim(
        &admitted(call, card, now)?,
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
    now: DateTime<Utc>,
) -> Result<Vec<Count>, Refusal> {
    let mut before = Image::default();
    before.fields.set("customer", customer);
    let plan = plan(&admitted(call, card, now)?, call, card, &before)?;
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
fn the_days_before_do_not_hold_today() {
    let now = DateTime::from_timestamp(1_795_219_200, 0).unwrap();
    let days = days_before(now);
    assert_eq!(days.len(), 7);
    assert!(!days.contains(&day(now)));
    assert_eq!(days.iter().max().unwrap(), &days[0]);
}
