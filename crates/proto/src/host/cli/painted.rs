//! Colours of the words that matter, on a terminal only. `NO_COLOR` and `TERM=dumb` switch them off
//! (no-color.org).

use std::io::IsTerminal;

/// How a word is shown: an SGR parameter of ECMA-48.
const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";

/// Words that stand alone, and their colour.
const WORDS: &[(&str, &str)] = &[
    ("ALLOW", GREEN),
    ("DONE", GREEN),
    ("UNDONE", GREEN),
    ("SERVING", GREEN),
    ("OK", GREEN),
    ("ok", GREEN),
    ("DENY", RED),
    ("REFUSED", RED),
    ("FAILED", RED),
    ("FAIL", RED),
    ("NOT_SERVING", RED),
    ("HALTED", RED),
    ("REQUIRE_APPROVAL", YELLOW),
    ("IN_DOUBT", YELLOW),
    ("DRY_RUN", YELLOW),
    ("WARN", YELLOW),
    ("WARNING", YELLOW),
    ("HUMAN", YELLOW),
];

/// Whether a stream is a terminal that is to be coloured.
#[must_use]
pub fn is_coloured(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}

/// A text with its words in colour. Letters, digits and `_` make words.
#[must_use]
pub fn painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let inside = |sign: char| sign.is_alphanumeric() || sign == '_';
        let length = rest.find(|sign| !inside(sign)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        match WORDS.iter().find(|(known, _)| *known == word) {
            Some((_, colour)) => {
                out.push_str("\u{1b}[");
                out.push_str(colour);
                out.push('m');
                out.push_str(word);
                out.push_str("\u{1b}[0m");
            }
            None => out.push_str(word),
        }
        let gap = after.find(inside).unwrap_or(after.len());
        let (between, next) = after.split_at(gap);
        out.push_str(between);
        rest = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_stand_alone_are_coloured_and_the_text_stays() {
        let table = [
            ("ALLOW  refund", "\u{1b}[32mALLOW\u{1b}[0m  refund"),
            ("(DENY)", "(\u{1b}[31mDENY\u{1b}[0m)"),
            ("ALLOWED DENY_X xDENY", "ALLOWED DENY_X xDENY"),
            ("NOT_SERVING", "\u{1b}[31mNOT_SERVING\u{1b}[0m"),
            ("üDENY — DONE", "üDENY — \u{1b}[32mDONE\u{1b}[0m"),
            ("", ""),
            (" ", " "),
        ];
        for (text, wanted) in table {
            assert_eq!(painted(text), wanted);
        }
    }
}
