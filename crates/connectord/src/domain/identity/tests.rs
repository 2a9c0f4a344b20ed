//! When a record is the one that is meant.

use super::*;

fn signals(sets: &[&[&str]]) -> Vec<Signal> {
    let signal = |(index, ids): (usize, &&[&str])| Signal {
        name: format!("s{index}"),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    sets.iter().enumerate().map(signal).collect()
}

#[test]
fn exactly_one_record_carries_all_signals_and_is_the_target() {
    type Case<'a> = (&'a [&'a [&'a str]], Option<Reason>);
    let table: [Case<'_>; 9] = [
        (&[], None),
        (&[&["O-7"], &["O-7"]], None),
        (&[&["O-7", "O-8"], &["O-7", "O-9"]], None),
        (&[&["O-7", "O-7"], &["O-7"]], None),
        (
            &[&["O-7", "O-8"], &["O-7", "O-8"]],
            Some(Reason::TargetAmbiguous),
        ),
        (&[&["O-7"], &[]], Some(Reason::TargetAmbiguous)),
        (&[&[], &[]], Some(Reason::TargetAmbiguous)),
        (&[&["O-7"], &["O-8"]], Some(Reason::TargetAmbiguous)),
        (&[&["O-8"], &["O-8"]], Some(Reason::TargetMismatch)),
    ];
    for (sets, expected) in table {
        let refusal = confirm("O-7", &signals(sets)).err();
        assert_eq!(refusal.map(|r| r.reason), expected, "{sets:?}");
    }
}

#[test]
fn another_record_is_made_only_where_none_carries_all_signals() {
    type Case<'a> = (&'a [&'a [&'a str]], Option<Reason>);
    let table: [Case<'_>; 4] = [
        (&[], None),
        (&[&["C-1"], &["C-2"]], None),
        (&[&["C-1", "C-2"], &["C-2"]], Some(Reason::AlreadyExists)),
        (
            &[&["C-1", "C-2"], &["C-1", "C-2"]],
            Some(Reason::AlreadyExists),
        ),
    ];
    for (sets, expected) in table {
        let refusal = absent(&signals(sets)).err();
        assert_eq!(refusal.map(|r| r.reason), expected, "{sets:?}");
    }
}

#[test]
fn a_search_that_finds_too_much_says_nothing() {
    let many: Vec<String> = (0..=MATCHES_MAX).map(|n| format!("O-{n}")).collect();
    let sets = [
        Signal {
            name: "number".into(),
            ids: many,
        },
        Signal {
            name: "email".into(),
            ids: vec!["O-7".into()],
        },
    ];
    for told in [confirm("O-7", &sets), absent(&sets)] {
        assert_eq!(told.unwrap_err().reason, Reason::TargetAmbiguous);
    }
}

#[test]
fn the_refusal_names_no_record() {
    let refusal = confirm("O-7", &signals(&[&["O-8"], &["O-8"]])).unwrap_err();
    assert!(!refusal.detail.contains("O-8"), "{}", refusal.detail);
}
