//! Mechanical edits: the same words in another spelling.
//!
//! Case, spaces, punctuation and listed abbreviations may differ; a word, a digit or a sign of a
//! number may not. In doubt two texts differ.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization as _;

/// Signs that count wherever they stand.
const UNITS: &str = "%‰°€$£¥#@&";
/// Signs that count where they touch a digit.
const IN_NUMBERS: &str = ".,:/";
/// Signs that count where a digit comes next, also after spaces, or just before.
const ALGEBRAIC: &str = "+-±−";
/// Punctuation beside that of ASCII. Whatever else is neither a letter nor a digit counts: what nobody sees, what strikes a
/// word through, a picture.
const PUNCTUATION: &str = "’‘‚“”„«»‹›–—‐‑…·•¡¿′±−";

/// Whether two texts say the same, word for word, once each word is in lower case (NFKC) and
/// short forms are written out.
#[must_use]
pub fn same_words(a: &str, b: &str, abbreviations: &BTreeMap<String, String>) -> bool {
    words(a, abbreviations) == words(b, abbreviations)
}

fn is_digit(c: Option<&char>) -> bool {
    c.is_some_and(|c| c.is_numeric())
}

/// Whether the character at a place is part of what is said.
fn counts(chars: &[char], at: usize, c: char) -> bool {
    let before = is_digit(at.checked_sub(1).and_then(|at| chars.get(at)));
    let after = chars.get(at.saturating_add(1)..).unwrap_or_default();
    let next = is_digit(after.first());
    let next_word = is_digit(after.iter().find(|c| !c.is_whitespace()));
    c.is_alphanumeric()
        || !(c.is_whitespace() || c.is_ascii_punctuation() || PUNCTUATION.contains(c))
        || UNITS.contains(c)
        || (IN_NUMBERS.contains(c) && (before || next))
        || (ALGEBRAIC.contains(c) && (before || next_word))
}

fn words(text: &str, abbreviations: &BTreeMap<String, String>) -> Vec<String> {
    let chars: Vec<char> = text.nfkc().collect();
    let mut words = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        match words.last_mut() {
            Some(word) if counts(&chars, at, *c) => word.extend(c.to_lowercase()),
            _ => words.push(String::new()),
        }
    }
    let written_out = words.into_iter().map(|word| {
        // A stop at the end of a sentence is not part of the number before it.
        let bare = word.trim_end_matches(['.', ',', ':']);
        let long = abbreviations.get(bare).map(String::as_str);
        long.unwrap_or(bare).to_owned()
    });
    written_out.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> BTreeMap<String, String> {
        let pairs = [("st", "street"), ("rd", "road")];
        pairs
            .map(|(short, long)| (short.to_owned(), long.to_owned()))
            .into()
    }

    #[test]
    fn spelling_may_change() {
        for (a, b) in [
            ("ADA  berg", "Ada Berg"),
            ("12 Main st.", "12 Main Street"),
            ("Acme, Renewal", "acme renewal"),
            ("Acme - Renewal", "Acme Renewal"),
            ("ｆｕｌｌ width", "Full Width"),
            ("1,000.50.", "1,000.50"),
            ("", " . "),
            ("“Acme” – renewal", "\"Acme\" - renewal"),
        ] {
            assert!(same_words(a, b, &table()), "{a} / {b}");
        }
    }

    #[test]
    fn what_is_said_may_not() {
        for (a, b) in [
            ("Ada Berg", "Ada Bergh"),
            ("12 Main St", "21 Main St"),
            ("12.50", "1250"),
            ("12.50", "12 50"),
            ("5", "-5"),
            ("balance 5", "balance - 5"),
            ("10 %", "10"),
            ("10%", "10"),
            ("5 €", "5"),
            ("1/2", "12"),
            ("Main St", "Main Rd"),
            ("Ada Berg", "Berg Ada"),
            ("email", "e-mail"),
            ("Straße", "Strase"),
            ("a", ""),
            ("Ada Berg", "Ada \u{202e}Berg"),
            ("Ada Berg", "Ada\u{200b} Berg"),
            ("Ada Berg", "Ada Berg\u{fe0f}"),
            ("Ada Berg", "Ada \u{180b}Berg"),
            ("Ada Berg", "Ada Berg \u{336}"),
            ("500", "500\u{338}"),
            ("Ada Berg", "Ada Berg \u{2800}"),
            ("Ada Berg", "Ada Berg \u{1f642}"),
        ] {
            assert!(!same_words(a, b, &table()), "{a} / {b}");
        }
    }
}
