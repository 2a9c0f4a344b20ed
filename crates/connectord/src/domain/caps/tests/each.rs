//! Each ceiling alone: the counts it makes, and whether it asks for a run.

use super::*;

/// A ceiling, and what it counts when the token is spent and when the record was seen.
type Ceiling = (&'static str, Option<Expected>, Option<Expected>);

const CUSTOMER: Expected = (
    "set_amount",
    "2026-11-21/customer/C-7",
    1,
    5,
    "records a day and customer",
);
const FIELDS: Expected = ("set_amount", "run/triage/r-1/fields", 2, 40, "fields a run");
const OF_DAY: Expected = ("set_amount", "2026-11-21/EUR", 500, 50_000, "EUR a day");
const OF_RUN: Expected = ("set_amount", "run/triage/r-1/EUR", 500, 10_000, "EUR a run");

const CEILINGS: [Ceiling; 9] = [
    ("", None, None),
    ("records_per_agent_per_day = 9", Some(AGENT), None),
    ("records_per_customer_per_day = 5", None, Some(CUSTOMER)),
    ("records_per_run = 20", Some(RECORDS), None),
    ("fields_per_run = 40", None, Some(FIELDS)),
    ("follow_ups_per_run = 3", Some(CALLS), None),
    ("amount_per_day = \"500.00\"", Some(OF_DAY), None),
    ("amount_per_run = \"100\"", Some(OF_RUN), None),
    ("spike = \"5x median of 7 days\"", None, None),
];

fn counts(expected: &[Option<Expected>]) -> Vec<Count> {
    expected.iter().copied().flatten().map(count).collect()
}

#[test]
fn each_ceiling_makes_its_own_count_and_no_other() {
    let call = call("r-1", "EUR");
    for (ceiling, first, later) in CEILINGS {
        let card = card(ceiling);
        let want = counts(&[Some(DAY), first]);
        assert_eq!(spent(&card, &call, now()), Ok(want), "{ceiling}");
        let want = counts(&[later]);
        assert_eq!(seen(&card, &call, customer(), now()), Ok(want), "{ceiling}");
    }
}

#[test]
fn all_ceilings_of_a_card_count_together() {
    let (card, call) = (card(ALL), call("r-1", "EUR"));
    let first = [DAY, AGENT, RECORDS, OF_DAY, OF_RUN, CALLS].map(count);
    assert_eq!(spent(&card, &call, now()), Ok(first.to_vec()));
    let later = [CUSTOMER, FIELDS].map(count);
    assert_eq!(seen(&card, &call, customer(), now()), Ok(later.to_vec()));
}

#[test]
fn a_dry_run_of_a_write_counts_as_a_look_and_as_nothing_else() {
    let dry_run = Call {
        mode: Mode::DryRun,
        ..call("r-1", "EUR")
    };
    let counts = spent(&card(ALL), &dry_run, now()).unwrap();
    assert!(!counts.is_empty());
    for count in counts {
        assert!(count.bucket.starts_with("look/"), "{count:?}");
        assert!(
            count.add == 1 && count.what.ends_with("for dry runs"),
            "{count:?}"
        );
    }
}

#[test]
fn a_ceiling_of_runs_takes_only_what_was_signed_for_one() {
    for (ceiling, first, later) in CEILINGS {
        let mut counted = [first, later].into_iter().flatten();
        let halts_run = counted.any(|(_, bucket, ..)| bucket.starts_with(RUN));
        let want = halts_run.then(|| Refusal::of(Reason::RunRequired));
        let card = card(ceiling);
        for mode in [Mode::Execute, Mode::DryRun] {
            let of = |run: &str| Call {
                mode,
                ..call(run, "EUR")
            };
            assert_eq!(spent(&card, &of("r-1"), now()).err(), None, "{ceiling}");
            assert_eq!(spent(&card, &of(""), now()).err(), want, "{ceiling}");
            let nameless = admitted(&of(""), &card, now().to_utc()).unwrap();
            let renamed = at_claim(&nameless, &of("r-1"), (&card, Rollout::Live), now());
            assert_eq!(renamed.err(), want, "{ceiling}");
        }
    }
}

#[test]
fn a_reached_ceiling_is_told_without_its_figure_and_one_of_a_run_halts_the_run() {
    for (_, first, later) in CEILINGS {
        for expected in [first, later].into_iter().flatten() {
            let count = count(expected);
            let over = Over::of(&count);
            assert_eq!(over.halts_run, expected.1.starts_with(RUN), "{over}");
            assert_eq!(over.to_string(), count.what);
            assert!(!over.what.contains(char::is_numeric), "{over}");
        }
    }
    let hostile = Count {
        bucket: "2026-11-21/customer/run/triage/r-1".to_owned(),
        ..count(CUSTOMER)
    };
    assert!(!Over::of(&hostile).halts_run);
}
