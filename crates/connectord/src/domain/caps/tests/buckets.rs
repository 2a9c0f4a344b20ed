//! Who shares a count: calls of another run, agent, day, customer or action do not, unless the
//! ceiling is of them together.

use std::collections::BTreeSet;

use super::*;

fn buckets(card: &Card, (call, customer): (&Call, &str), now: DateTime<Tz>) -> BTreeSet<String> {
    let mut counts = spent(card, call, now).unwrap();
    counts.extend(seen(card, call, Value::Text(customer.to_owned()), now).unwrap());
    counts.into_iter().map(|count| count.bucket).collect()
}

const OF_DAY: [&str; 4] = [
    "2026-11-21",
    "2026-11-21/EUR",
    "2026-11-21/agent/triage",
    "2026-11-21/customer/C-7",
];
const OF_RUN: [&str; 4] = [
    "run/triage/r-1",
    "run/triage/r-1/EUR",
    "run/triage/r-1/calls",
    "run/triage/r-1/fields",
];

#[test]
fn what_others_do_falls_into_other_buckets() {
    let (card, own) = (card(ALL), call("r-1", "EUR"));
    let base = buckets(&card, (&own, "C-7"), now());
    let all = [OF_DAY, OF_RUN].concat();
    assert!(base.iter().eq(all.iter()), "{base:?}");
    let next_day = now() + chrono::Duration::seconds(1);
    let other_agent = Call {
        agent: "other".into(),
        ..own.clone()
    };
    let other_record = Call {
        target: Some(("deal".into(), "D-105".into())),
        request_id: uuid::Uuid::from_u128(2),
        ..own.clone()
    };
    let of_agent = [&OF_DAY[2..3], OF_RUN.as_slice()].concat();
    let of_currency = vec![OF_DAY[1], OF_RUN[1]];
    for (what, call, customer, now, gone) in [
        ("record", other_record, "C-7", now(), vec![]),
        ("run", call("r-2", "EUR"), "C-7", now(), OF_RUN.to_vec()),
        ("day", own.clone(), "C-7", next_day, OF_DAY.to_vec()),
        ("agent", other_agent, "C-7", now(), of_agent),
        ("currency", call("r-1", "JPY"), "C-7", now(), of_currency),
        ("customer", own, "C-8", now(), vec![OF_DAY[3]]),
    ] {
        let others = buckets(&card, (&call, customer), now);
        assert_eq!(others.len(), base.len(), "{what}: {others:?}");
        let shared: Vec<&str> = base.intersection(&others).map(String::as_str).collect();
        let mut kept = all.clone();
        kept.retain(|bucket| !gone.contains(bucket));
        assert_eq!(shared, kept, "{what}");
    }
}

#[test]
fn counts_are_of_one_action_and_calls_of_a_run_are_of_all() {
    let card = card_of("raise_amount", "update_fields", ALL);
    let call = call("r-1", "EUR");
    let mut counts = spent(&card, &call, now()).unwrap();
    counts.extend(seen(&card, &call, customer(), now()).unwrap());
    assert_eq!(counts.len(), OF_DAY.len() + OF_RUN.len());
    for count in counts {
        let of_all = count.bucket == "run/triage/r-1/calls";
        let want = if of_all { "*" } else { "raise_amount" };
        assert_eq!(count.action, want, "{count:?}");
    }
}

#[test]
fn a_customer_is_counted_as_the_record_names_it_and_must_be_named() {
    let call = call("r-1", "EUR");
    for (customer, name) in [
        (Value::Text("C-7".into()), Some("C-7")),
        (Value::Int(7), Some("7")),
        (Value::Text(String::new()), None),
        (Value::Null, None),
        (Value::Bool(true), None),
        (Value::List(vec![Value::Text("C-7".into())]), None),
    ] {
        let counted = card("records_per_customer_per_day = 5");
        let found = seen(&counted, &call, customer.clone(), now());
        let why = "the record names no customer, so nothing can be counted for one";
        let want = match name {
            Some(name) => Ok(format!("2026-11-21/customer/{name}")),
            None => Err(Refusal::new(Reason::BudgetExceeded, why)),
        };
        let bucket = found.map(|mut counts| counts.remove(0).bucket);
        assert_eq!(bucket, want, "{customer:?}");
        assert_eq!(seen(&card(""), &call, customer, now()), Ok(vec![]));
    }
}

#[test]
fn every_field_that_is_written_counts_and_a_record_that_is_added_is_one() {
    let amount = r#"{"amount":{"currency":"EUR","value":5}}"#;
    for (verb, call, add) in [
        ("update_fields", call("r-1", "EUR"), 2),
        ("update_fields", asked("r-1", amount), 1),
        ("create_task", call("r-1", "EUR"), 1),
    ] {
        let card = card_of("set_amount", verb, "fields_per_run = 40");
        let counts = seen(&card, &call, customer(), now()).unwrap();
        let added: Vec<i64> = counts.iter().map(|count| count.add).collect();
        assert_eq!(added, [add], "{verb}");
    }
}
