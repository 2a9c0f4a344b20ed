//! Results on stdout: lines for people, one JSON document, or one JSON value a line.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use serde_json::Value as Json;

use super::painted::{is_coloured, painted};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document: an array for a list.
    Json,
    /// One JSON value a line.
    Jsonl,
}

/// What the document of this process will hold.
static HELD: Mutex<Vec<Json>> = Mutex::new(Vec::new());
/// Whether anything was printed for people.
static PRINTED: AtomicBool = AtomicBool::new(false);

impl Format {
    /// The same for a command that goes on until it is stopped: it cannot wait for the end of its document.
    #[must_use]
    pub const fn live(self) -> Self {
        match self {
            Self::Json => Self::Jsonl,
            other => other,
        }
    }

    /// Prints a result, or keeps it for the document.
    pub fn put(self, text: &str, value: &Json) {
        PRINTED.store(true, Ordering::Relaxed);
        match self {
            Self::Table if is_coloured(&std::io::stdout()) => print(painted(text)),
            Self::Table => print(text),
            Self::Jsonl => print(value),
            Self::Json => {
                let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
                held.push(value.clone());
            }
        }
    }

    /// Prints the document: an array of a list, however many it has, and a single result as it is. What
    /// failed before it had anything has none. People are told that a list is empty.
    pub fn finish(self, list: bool, succeeded: bool) {
        if self == Self::Table && list && succeeded && !PRINTED.load(Ordering::Relaxed) {
            complain("nothing to list");
        }
        if self != Self::Json {
            return;
        }
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = std::mem::take(&mut *held);
        match (list, all.len()) {
            (_, 0) if !(list && succeeded) => {}
            (false, 1) => print(all.remove(0)),
            _ => print(Json::Array(all)),
        }
    }
}

/// A reader that went away (`| head`) is no reason to fail, or to leave processes behind.
pub fn print(line: impl core::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// A line on stderr.
pub fn complain(line: impl core::fmt::Display) {
    PRINTED.store(true, Ordering::Relaxed);
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// `1 error`, `2 errors`.
#[must_use]
pub fn plural(count: usize, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}
