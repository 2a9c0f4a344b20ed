//! The ambiguity stop: several signals must single out one record, and it must be the target.

use writ_proto::Reason;

use super::gate::Refusal;

/// Most records that a search for a signal may give before it says nothing.
pub const MATCHES_MAX: usize = 100;

/// What a search for one signal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Name of the argument.
    pub name: String,
    /// Ids of the records that carry it.
    pub ids: Vec<String>,
}

/// Proves that exactly one record carries all signals, and that it is the target. How many match
/// is told, which ones is not: that is not for an agent to learn.
///
/// # Errors
/// `TARGET_AMBIGUOUS` where none or several match, `TARGET_MISMATCH` where another one does.
pub fn confirm(target: &str, signals: &[Signal]) -> Result<(), Refusal> {
    let Some((first, rest)) = signals.split_first() else {
        return Ok(());
    };
    let in_all = |id: &&String| rest.iter().all(|signal| signal.ids.contains(*id));
    let mut matches: Vec<&String> = first.ids.iter().filter(in_all).collect();
    matches.sort_unstable();
    matches.dedup();
    let counts: Vec<String> = signals
        .iter()
        .map(|signal| format!("{} matches {}", signal.name, signal.ids.len()))
        .collect();
    let all = matches.len();
    let found = format!("{}; together {all}", counts.join(", "));
    let overfull = signals.iter().any(|signal| signal.ids.len() > MATCHES_MAX);
    match matches.as_slice() {
        [only] if !overfull && *only == target => Ok(()),
        [_] if !overfull => Err(Refusal::new(
            Reason::TargetMismatch,
            format!("{found}, which is not the target"),
        )),
        _ => Err(Refusal::new(
            Reason::TargetAmbiguous,
            format!("{found}, must be exactly 1"),
        )),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            confirm("O-7", &sets).unwrap_err().reason,
            Reason::TargetAmbiguous
        );
    }

    #[test]
    fn the_refusal_names_no_record() {
        let refusal = confirm("O-7", &signals(&[&["O-8"], &["O-8"]])).unwrap_err();
        assert!(!refusal.detail.contains("O-8"), "{}", refusal.detail);
    }
}
