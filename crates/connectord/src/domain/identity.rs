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
    if signals.is_empty() {
        return Ok(());
    }
    let matches = matches(signals)?;
    let counts: Vec<String> = signals
        .iter()
        .map(|signal| format!("{} matches {}", signal.name, signal.ids.len()))
        .collect();
    let all = matches.len();
    let found = format!("{}; together {all}", counts.join(", "));
    match matches.as_slice() {
        [only] if *only == target => Ok(()),
        [_] => Err(Refusal::new(
            Reason::TargetMismatch,
            format!("{found}, which is not the target"),
        )),
        _ => Err(Refusal::new(
            Reason::TargetAmbiguous,
            format!("{found}, must be exactly 1"),
        )),
    }
}

/// Proves that no record carries all signals, before another one is made.
///
/// # Errors
/// `ALREADY_EXISTS`; how many there are is told, which ones is not. `TARGET_AMBIGUOUS` as below.
pub fn absent(signals: &[Signal]) -> Result<(), Refusal> {
    match matches(signals)?.len() {
        0 => Ok(()),
        all => Err(Refusal::new(
            Reason::AlreadyExists,
            format!("{all} carry all signals, must be none"),
        )),
    }
}

/// Ids of the records that carry all signals, sorted.
///
/// # Errors
/// `TARGET_AMBIGUOUS` where a search found so much that its list was cut: nothing is known then.
pub fn matches(signals: &[Signal]) -> Result<Vec<&String>, Refusal> {
    if let Some(full) = signals.iter().find(|signal| signal.ids.len() > MATCHES_MAX) {
        let why = format!("{} matches more than {MATCHES_MAX} records", full.name);
        return Err(Refusal::new(Reason::TargetAmbiguous, why));
    }
    let Some((first, rest)) = signals.split_first() else {
        return Ok(Vec::new());
    };
    let in_all = |id: &&String| rest.iter().all(|signal| signal.ids.contains(*id));
    let mut matches: Vec<&String> = first.ids.iter().filter(in_all).collect();
    matches.sort_unstable();
    matches.dedup();
    Ok(matches)
}

#[cfg(test)]
mod tests;
