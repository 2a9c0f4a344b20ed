//! What is going on: executions in flight, and the last live write. For people who halt.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts of this process.
#[derive(Debug, Default)]
pub struct Work {
    open: AtomicU32,
    finished: AtomicU32,
    last: Mutex<Option<Write>>,
    mark: Mutex<Mark>,
}

/// A live write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Action.
    pub action: String,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// How things stood when the halts last changed.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    open: u32,
    finished: u32,
}

/// An execution in flight, until it is dropped.
#[derive(Debug)]
pub struct Open<'a>(&'a Work);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::AcqRel);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Work {
    /// An execution begins.
    pub fn begin(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::AcqRel);
        Open(self)
    }

    /// A write was made.
    pub fn wrote(&self, action: &str, at_ms: i64) {
        let write = Write {
            action: action.to_owned(),
            at_ms,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(write);
    }

    /// The last write of this process.
    pub fn last(&self) -> Option<Write> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Remembers how things stand: the halts have changed.
    pub fn mark(&self) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Mark {
            open: self.open.load(Ordering::Acquire),
            finished: self.finished.load(Ordering::Acquire),
        };
    }

    /// How many are in flight, and how many of those at the last mark have ended at least.
    pub fn flight(&self) -> (u32, u32) {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.finished.load(Ordering::Acquire);
        let ended = ended.wrapping_sub(mark.finished).min(mark.open);
        (self.open.load(Ordering::Acquire), ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_flight_at_a_halt_is_counted_to_its_end() {
        let work = Work::default();
        let (first, second) = (work.begin(), work.begin());
        work.mark();
        assert_eq!(work.flight(), (2, 0));
        drop(first);
        assert_eq!(work.flight(), (1, 1));
        drop(second);
        drop(work.begin());
        assert_eq!(work.flight(), (0, 2), "a later one is not one of them");
        assert_eq!(work.last(), None);
        work.wrote("set_stage", 7);
        assert_eq!(work.last().unwrap().at_ms, 7);
    }
}
