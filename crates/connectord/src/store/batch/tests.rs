//! The ceilings of a card, call by call: each is reached exactly, by whom it is of, and what is
//! refused counts nowhere.

use writ_proto::card::Card;

use super::super::Presented;
use super::*;
use crate::domain::caps::tests::{call, card, card_of, customer, now, seen, spent};
use crate::domain::execution::tests::execution;
use crate::domain::gate::Call;

/// What a call counts, and the write that counts it: the one that spends the token, or the one
/// after the record was seen if the card counts something there.
fn work(id: u128, card: &Card, call: &Call) -> (Vec<Count>, Work) {
    let later = seen(card, call, customer(), now()).unwrap();
    if !later.is_empty() {
        let save = Work::Save {
            tenant: "acme".into(),
            executions: vec![execution(id)],
            reports: vec![],
            rollout: None,
            counts: later.clone(),
        };
        return (later, save);
    }
    let counts = spent(card, call, now()).unwrap();
    let claim = Claim {
        presented: Presented {
            issuer: "https://policyd.localhost".into(),
            cti: Uuid::from_u128(id),
            request_id: Uuid::from_u128(id),
            request_hash: [7; 32],
            caller: "acme/triage".into(),
        },
        counts: counts.clone(),
        execution: execution(id),
    };
    (counts, Work::Claim(Box::new(claim)))
}

/// Which ceiling stops each of the writes, none if it is done, and what is counted at their end.
fn stops(works: &[Work], size: usize) -> (Vec<Option<Over>>, BTreeMap<Counter, i64>) {
    let (mut stops, mut used) = (Vec::new(), BTreeMap::new());
    for batch in works.chunks(size) {
        let known = Known {
            used: used.clone(),
            ..Known::default()
        };
        let planned = plan(batch, known);
        used.extend(planned.used);
        stops.extend(planned.answers.into_iter().map(|answer| match answer {
            Written::OverCap(over) | Written::Claimed(Claimed::OverCap(over)) => Some(over),
            Written::Saved | Written::Claimed(Claimed::Fresh(_)) => None,
            other => panic!("{other:?}"),
        }));
    }
    (stops, used)
}

/// Ceilings, the currency of every call, how many calls fit, and what the next one is told.
const CEILINGS: [(&str, &str, usize, &str); 10] = [
    ("", "EUR", 30, "records a day"),
    (
        "records_per_agent_per_day = 3",
        "EUR",
        3,
        "records a day and agent",
    ),
    (
        "records_per_customer_per_day = 3",
        "EUR",
        3,
        "records a day and customer",
    ),
    ("records_per_run = 3", "EUR", 3, "records a run"),
    ("fields_per_run = 7", "EUR", 3, "fields a run"),
    (
        "follow_ups_per_run = 3",
        "EUR",
        4,
        "calls after the first of a run",
    ),
    ("amount_per_day = \"15.00\"", "EUR", 3, "EUR a day"),
    ("amount_per_day = \"14.99\"", "EUR", 2, "EUR a day"),
    ("amount_per_run = \"15\"", "JPY", 3, "JPY a run"),
    ("amount_per_day = \"15.50\"", "JPY", 0, "JPY a day"),
];

#[test]
fn a_ceiling_is_reached_exactly_and_one_of_a_run_leaves_other_runs_alone() {
    for (ceilings, currency, fits, what) in CEILINGS {
        let card = card(ceilings);
        let runs = std::iter::repeat_n("r-1", fits + 1).chain(["r-2"]);
        let (counts, works): (Vec<_>, Vec<_>) = (1..)
            .zip(runs)
            .map(|(id, run)| work(id, &card, &call(run, currency)))
            .unzip();
        let over = Over {
            what: format!("the ceiling of {what} is reached"),
            halts_run: what.ends_with("a run"),
        };
        let mut want = vec![None; fits];
        want.push(Some(over.clone()));
        want.push(Some(over).filter(|over| !over.halts_run));
        let mut sum: BTreeMap<Counter, i64> = BTreeMap::new();
        for (counts, stop) in counts.iter().zip(&want) {
            for count in counts.iter().filter(|_| stop.is_none()) {
                *sum.entry(counter("acme", count)).or_default() += count.add;
            }
        }
        for size in [1, 2, works.len()] {
            let (stops, used) = stops(&works, size);
            assert_eq!(stops, want, "{ceilings}, {size} a batch");
            assert_eq!(used, sum, "{ceilings}, {size} a batch");
        }
    }
}

#[test]
fn calls_of_a_run_count_together_whatever_they_do() {
    let ceilings = "follow_ups_per_run = 1";
    let (one, other) = (
        card(ceilings),
        card_of("set_note", "update_fields", ceilings),
    );
    let works: Vec<Work> = (1..)
        .zip([&one, &other, &one, &other])
        .map(|(id, card)| work(id, card, &call("r-1", "EUR")).1)
        .collect();
    let (stops, _) = stops(&works, works.len());
    let stopped: Vec<bool> = stops.iter().map(Option::is_some).collect();
    assert_eq!(stopped, [false, false, true, true]);
}
