//! What readings count: every record that is shown, and every search.

use super::*;

/// A card that reads.
fn reading(ceilings: &str) -> Card {
    let head = CARD.split("rollout_max").next().unwrap();
    let head = head.replace("update_fields", "read");
    let caps = "[caps]\nrecords_per_day = 30\nrecords_per_run = 20\n";
    let seen = "[read]\nfields = [\"name\"]\n";
    let text = format!("{head}rollback_window = \"1h\"\n{caps}{ceilings}\n{seen}");
    Card::parse(&text).unwrap()
}

/// A look at one record.
fn look(run: &str) -> Call {
    Call {
        mode: Mode::DryRun,
        ..asked(run, "{}")
    }
}

#[test]
fn a_reading_counts_one_when_its_token_is_spent_and_then_every_other_record() {
    for (ceiling, agent, calls) in [
        ("", None, None),
        ("records_per_agent_per_day = 9", Some(AGENT), None),
        ("follow_ups_per_run = 3", None, Some(CALLS)),
    ] {
        let card = reading(ceiling);
        let shown = |add: i64| -> Vec<Count> {
            let counted = [Some(DAY), agent, Some(RECORDS)].into_iter().flatten();
            counted.map(|one| Count { add, ..count(one) }).collect()
        };
        let mut first = shown(1);
        first.extend(calls.map(count));
        assert_eq!(spent(&card, &look("r-1"), now()), Ok(first), "{ceiling}");
        for (records, add) in [(0, 0), (1, 1), (10, 10)] {
            let later = at_read(&card, &look("r-1"), records, now());
            assert_eq!(later, shown(add), "{ceiling} {records}");
        }
    }
}

#[test]
fn a_reading_names_its_run() {
    let nameless = spent(&reading(""), &look(""), now());
    assert_eq!(nameless, Err(Refusal::of(Reason::RunRequired)));
}
