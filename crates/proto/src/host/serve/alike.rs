//! What is alike within a minute: the first ones are written down, the rest are counted, and their number is written down
//! once. Who goes on asking what is refused fills no disk with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long what is alike is counted together, in milliseconds.
pub const WINDOW_MS: i64 = 60_000;
/// Most kinds of one owner that are counted at the same time; what comes on top is written down one by one.
const KINDS_MAX: usize = 1_000;
/// Most different things that are remembered of what is only counted.
const DETAILS_MAX: usize = 100;

/// How often since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// When the window began, Unix milliseconds.
    pub began_ms: i64,
    written: u32,
    /// How many are not written down.
    pub unwritten: u64,
    /// What those were about, the first hundred.
    pub details: BTreeSet<String>,
}

impl Count {
    const fn begun(began_ms: i64) -> Self {
        Self {
            began_ms,
            written: 0,
            unwritten: 0,
            details: BTreeSet::new(),
        }
    }
}

/// A kind of one owner, and how often it was seen.
pub type Counted<K> = (String, K, Count);

/// The counts of this process. What was counted and is not written down yet is lost with the process.
#[derive(Debug)]
pub struct Alike<K> {
    counts: Mutex<BTreeMap<String, BTreeMap<K, Count>>>,
    written_max: u32,
}

impl<K: Ord + Clone> Alike<K> {
    /// Counts with so many of a window written down one by one.
    #[must_use]
    pub const fn new(written_max: u32) -> Self {
        Self {
            counts: Mutex::new(BTreeMap::new()),
            written_max,
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<K, Count>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more is to be written down itself. A window that is over is left to [`Self::take_finished`].
    pub fn admit(&self, owner: &str, kind: &K, now_ms: i64) -> bool {
        let mut counts = self.counts();
        let own = counts.entry(owner.to_owned()).or_default();
        if own.len() >= KINDS_MAX && !own.contains_key(kind) {
            return true;
        }
        let count = own
            .entry(kind.clone())
            .or_insert_with(|| Count::begun(now_ms));
        if count.unwritten == 0 && is_over(count, now_ms) {
            *count = Count::begun(now_ms);
        }
        if count.written >= self.written_max {
            return false;
        }
        count.written = count.written.saturating_add(1);
        true
    }

    /// Counts one that was not admitted, and what it was about.
    pub fn add(&self, owner: &str, kind: K, about: &str, now_ms: i64) {
        let mut counts = self.counts();
        let own = counts.entry(owner.to_owned()).or_default();
        let count = own.entry(kind).or_insert_with(|| Count::begun(now_ms));
        count.unwritten = count.unwritten.saturating_add(1);
        if count.details.len() < DETAILS_MAX {
            count.details.insert(about.to_owned());
        }
    }

    /// Takes the counts whose window is over, or all of them; those of which everything is written down are forgotten.
    pub fn take_finished(&self, now_ms: i64, all: bool) -> Vec<Counted<K>> {
        let mut counts = self.counts();
        let mut taken = Vec::new();
        counts.retain(|owner, own| {
            own.retain(|kind, count| {
                let goes = all || is_over(count, now_ms);
                if goes && count.unwritten > 0 {
                    taken.push((owner.clone(), kind.clone(), count.clone()));
                }
                !goes
            });
            !own.is_empty()
        });
        taken
    }

    /// Puts back what could not be written down.
    pub fn put_back(&self, (owner, kind, count): Counted<K>) {
        let mut counts = self.counts();
        let own = counts.entry(owner).or_default();
        let held = own
            .entry(kind)
            .or_insert_with(|| Count::begun(count.began_ms));
        held.unwritten = held.unwritten.saturating_add(count.unwritten);
        held.began_ms = held.began_ms.min(count.began_ms);
        held.details.extend(count.details);
        while held.details.len() > DETAILS_MAX {
            held.details.pop_last();
        }
    }
}

/// A clock that went back keeps no window open for longer than one.
fn is_over(count: &Count, now_ms: i64) -> bool {
    now_ms.abs_diff(count.began_ms) >= WINDOW_MS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(alike: &Alike<&'static str>, kind: &'static str, now_ms: i64) -> bool {
        let admitted = alike.admit("o", &kind, now_ms);
        if !admitted {
            alike.add("o", kind, &format!("at {now_ms}"), now_ms);
        }
        admitted
    }

    #[test]
    fn the_first_ones_of_a_window_are_written_down_and_the_others_are_counted() {
        let alike = Alike::new(3);
        for call in 0..5 {
            assert_eq!(see(&alike, "a", 1_000 + call), call < 3);
        }
        assert!(see(&alike, "b", 1_000));
        assert!(alike.admit("p", &"a", 1_000), "another owner");
        assert!(alike.take_finished(1_000 + WINDOW_MS - 1, false).is_empty());
        // What was not written down is not begun anew.
        assert!(!see(&alike, "a", 1_000 + WINDOW_MS));
        let over = alike.take_finished(1_000 + WINDOW_MS, false);
        assert_eq!(over.len(), 1);
        let (owner, kind, count) = &over[0];
        assert_eq!((owner.as_str(), *kind, count.unwritten), ("o", "a", 3));
        let details: Vec<&str> = count.details.iter().map(String::as_str).collect();
        assert_eq!(details, ["at 1003", "at 1004", "at 61000"]);
        assert!(alike.take_finished(1_000 + WINDOW_MS, true).is_empty());
        assert!(see(&alike, "a", 1_000 + WINDOW_MS), "a new window");
    }

    #[test]
    fn a_window_of_which_all_is_written_down_begins_anew() {
        let alike = Alike::new(2);
        assert!(see(&alike, "a", 0) && see(&alike, "a", 1));
        assert!(see(&alike, "a", WINDOW_MS) && see(&alike, "a", WINDOW_MS));
        assert!(!see(&alike, "a", WINDOW_MS + 1));
    }

    #[test]
    fn what_could_not_be_written_down_is_counted_on() {
        let alike = Alike::new(1);
        for _ in 0..4 {
            see(&alike, "a", 0);
        }
        let taken = alike.take_finished(0, true).remove(0);
        assert!(see(&alike, "a", WINDOW_MS));
        assert!(!see(&alike, "a", WINDOW_MS));
        alike.put_back(taken);
        assert_eq!(alike.take_finished(WINDOW_MS, false)[0].2.unwritten, 4);
    }

    #[test]
    fn more_kinds_of_one_owner_than_can_be_counted_are_written_down_and_take_no_others_room() {
        let alike = Alike::new(0);
        for kind in 0..KINDS_MAX {
            assert!(!alike.admit("noisy", &kind, 0));
            alike.add("noisy", kind, "x", 0);
        }
        assert!(alike.admit("noisy", &KINDS_MAX, 0));
        assert!(!alike.admit("noisy", &1, 0));
        assert!(!alike.admit("quiet", &KINDS_MAX, 0));
        for detail in 0..2 * DETAILS_MAX {
            alike.add("noisy", 1, &detail.to_string(), 0);
        }
        // A clock that was put back ends the window too.
        let taken = alike.take_finished(-WINDOW_MS, false);
        assert_eq!(taken.len(), KINDS_MAX);
        assert!(
            taken
                .iter()
                .all(|(_, _, count)| count.details.len() <= DETAILS_MAX)
        );
    }
}
