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
            Self::Table if is_coloured(&std::io::stdout()) => print(painted(&plain(text))),
            Self::Table => print(plain(text)),
            Self::Jsonl => print(plain(&value.to_string())),
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
            (false, 1) => print(plain(&all.remove(0).to_string())),
            _ => print(plain(&Json::Array(all).to_string())),
        }
    }
}

/// A reader that went away (`| head`) is no reason to fail, or to leave processes behind.
fn print(line: impl core::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// A line on stderr.
pub fn complain(line: impl core::fmt::Display) {
    PRINTED.store(true, Ordering::Relaxed);
    drop(writeln!(std::io::stderr(), "{}", plain(&line.to_string())));
}

/// A text without what acts on a terminal or turns the reading order round: agents and systems of record put what
/// they like into reasons and messages. New lines and tabs stay, and JSON stays the same JSON.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if turns || (c.is_control() && !matches!(c, '\n' | '\t')) {
            plain.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            plain.push(c);
        }
    }
    plain
}

/// `1 error`, `2 errors`.
#[must_use]
pub fn plural<N: core::fmt::Display + PartialEq + From<u8> + Copy>(count: N, noun: &str) -> String {
    let end = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_not_done() {
        for (text, want) in [
            ("a\nb\tc", "a\nb\tc"),
            ("\u{1b}[2Jx\u{7}", "\\u001b[2Jx\\u0007"),
            ("paid \u{202e}00.1", "paid \\u202e00.1"),
            ("\u{9b}31m", "\\u009b31m"),
            ("a\u{61c}b", "a\\u061cb"),
            ("é 漢", "é 漢"),
        ] {
            assert_eq!(plain(text), want);
        }
        let json = serde_json::json!({ "said": "\u{202e}x\u{9b}" }).to_string();
        let read: Json = serde_json::from_str(&plain(&json)).unwrap();
        assert_eq!(read["said"], "\u{202e}x\u{9b}", "JSON stays the same JSON");
    }
}
