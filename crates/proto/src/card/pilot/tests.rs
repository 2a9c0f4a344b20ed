//! Pilots that are taken, and pilots that are refused.

use super::super::tests::STAGE;
use super::*;

const LIVE: &str = "rollout_max = \"live\"";
const SMALL: &str = "[pilot]\nrecords_per_day = 5";

/// The card with another line for how far it goes, and a pilot.
fn piloted(furthest: &str, pilot: &str) -> Result<Card, CardError> {
    let (head, args) = STAGE.split_once("[args.stage]").unwrap();
    let head = head.replace(LIVE, furthest);
    Card::parse(&format!("{head}{pilot}\n[args.stage]{args}"))
}

#[test]
fn a_pilot_says_how_small_it_is_and_when_it_widens() {
    for (more, expected) in [
        ("", (5, 1, None)),
        ("fields_per_record = 2", (5, 2, None)),
        ("widen_after = \"14d\"", (5, 1, Some((14 * 86_400, 5)))),
        (
            "widen_after = \"90m\"\nwiden_records = 10",
            (5, 1, Some((5_400, 10))),
        ),
    ] {
        let card = piloted(LIVE, &format!("{SMALL}\n{more}")).unwrap();
        let read = card.pilot.unwrap();
        let widen = read.widen.map(|widen| (widen.calm_seconds, widen.records));
        let found = (read.records_per_day, read.fields_per_record, widen);
        assert_eq!(found, expected, "{more}");
    }
}

#[test]
fn a_pilot_that_limits_nothing_or_never_begins_is_refused() {
    let more = |more: &str| format!("{SMALL}\n{more}");
    for (furthest, pilot) in [
        (LIVE, "[pilot]".to_owned()),
        (LIVE, "[pilot]\nrecords_per_day = 0".to_owned()),
        (LIVE, "[pilot]\nrecords_per_day = 201".to_owned()),
        (LIVE, more("fields_per_record = 0")),
        (LIVE, more("widen_records = 3")),
        (LIVE, more("widen_after = \"2 weeks\"")),
        (LIVE, more("widen_after = \"31d\"")),
        (LIVE, more("widen_after = \"1d\"\nwiden_records = 0")),
        (LIVE, more("widen_after = \"1d\"\nwiden_records = 11")),
        (LIVE, more("calm = \"14d\"")),
        (
            LIVE,
            "[pilot]\nrecords_per_day = 40\nwiden_after = \"14d\"".to_owned(),
        ),
        ("rollout_max = \"dry_run\"", more("")),
        ("rollout_max = \"live\"\nrollout = \"live\"", more("")),
        ("rollout_max = \"live\"\nrollout = \"pilot\"", more("")),
        ("rollout_max = \"pilot\"", more("widen_after = \"1d\"")),
        ("rollout_max = \"pilot\"", String::new()),
        ("rollout_max = \"live\"\nrollout = \"pilot\"", String::new()),
    ] {
        let found = piloted(furthest, &pilot);
        assert!(found.is_err(), "{furthest} {pilot}: {found:?}");
    }
    assert!(piloted("rollout_max = \"pilot\"", SMALL).is_ok());
    let (head, args) = STAGE.split_once("[args.stage]").unwrap();
    let two = args.replacen("optional = true\n", "", 1);
    let two = Card::parse(&format!("{head}{SMALL}\n[args.stage]{two}"));
    assert!(two.unwrap_err().detail.contains("writes 2 fields"));
}

#[test]
fn what_cannot_be_undone_has_no_pilot_either() {
    for furthest in ["pilot", "live"] {
        let lines = format!("rollout_max = \"{furthest}\"");
        let (head, rest) = STAGE.split_once("[args.stage]").unwrap();
        let head = head
            .replace(LIVE, &lines)
            .replace("\"reversible\"", "\"irreversible\"");
        let found = Card::parse(&format!("{head}{SMALL}\n[args.stage]{rest}"));
        let said = found.unwrap_err().detail;
        assert!(said.contains("executed by a person"), "{said}");
    }
}
