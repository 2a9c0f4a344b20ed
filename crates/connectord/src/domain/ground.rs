//! Whether the value of an argument stands in a quote, and the quote in a text: by rules that find nothing rather than the wrong
//! thing. The words around a quote count, for whoever quotes chooses where to cut: "EUR 5" of "EUR 5 million" is none.

mod amount;
mod day;
mod word;

use writ_proto::card::ArgKind;
use writ_proto::value::{Value, number_from_text};

/// Words on each side of a quote that are read with it.
const AROUND: usize = 3;
/// Longest quote, in words: a page of one word is looked through in no time.
pub const QUOTE_WORDS_MAX: usize = 128;
/// Most places of a text that are read.
pub const PLACES_MAX: usize = 16;
/// Words between two numbers that make one statement of them.
const JOINING: [&str; 25] = [
    "or", "to", "and", "till", "until", "through", "thru", "bis", "und", "oder", "-", "\u{2013}",
    "\u{2014}", "/", "~", "by", "&", "+", "x", "\u{d7}", "*", "times", "mal", "\u{2026}", "=",
];

/// How the value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extractor {
    /// The value itself, as a whole word.
    Literal,
    /// One of the words of the card, and no other of them.
    Enum,
    /// A day, and no other one.
    Date,
    /// An amount with its currency, and no other amount.
    Money,
}

/// What a mail puts before the lines of an earlier one.
pub const MARKS: [char; 4] = ['>', '|', ' ', '\t'];

/// The words of a line. Only plain white space parts them: what else may stand between digits is part of the word.
fn words(line: &str) -> Vec<&str> {
    line.split([' ', '\t', '\r'])
        .filter(|word| !word.is_empty())
        .collect()
}

/// A word without what ends or begins a sentence or a quotation.
fn bare(word: &str) -> &str {
    let word = word.trim_start_matches(['"', '\u{201c}', '\u{ab}', '\u{201e}']);
    word.trim_end_matches(['.', ',', ';', ':', '!', '?', '"', '\u{201d}', '\u{bb}'])
}

/// Whether a word ends a clause. A day or an abbreviation before a number does not: "01.12. bis", "49 EUR bzw. 59".
fn ends(word: &str, next: &str) -> bool {
    let short = bare(word).chars().count() <= 4 && bare(word).chars().all(char::is_lowercase);
    let stops = word.ends_with('.') && !has_digit(word) && !(short && has_digit(next));
    // What goes on in small letters is one sentence: "24 Nov. to 1 Dec.".
    let goes_on = joins(word) || joins(next) || next.starts_with(char::is_lowercase);
    let stops = stops && !goes_on;
    stops || word.ends_with([';', '!', '?'])
}

/// Whether a word makes one statement of the numbers beside it.
fn joins(word: &str) -> bool {
    let dots = word.len() > 1 && word.bytes().all(|byte| byte == b'.');
    dots || JOINING.contains(&bare(word).to_lowercase().as_str())
}

fn has_digit(word: &str) -> bool {
    word.chars().any(char::is_numeric)
}

/// Whether a number stands beside another one, so that both together may mean something else: "7 500", "40 or 49", "1, 500". What
/// ends a clause parts them.
fn joined(all: &[&str], at: usize, skip: impl Fn(&str) -> bool) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| all.get(at)).copied().unwrap_or_default();
    let parts =
        |at: usize| word(Some(at)).ends_with(':') || ends(word(Some(at)), word(at.checked_add(1)));
    let passed = |word: &str| joins(word) || skip(word);
    let mut back = (0..at).rev().take_while(|before| !parts(*before));
    let mut ahead = (at..all.len())
        .take_while(|before| !parts(*before))
        .map(|before| before.saturating_add(1));
    let met = |near: &usize| !passed(word(Some(*near)));
    let (back, ahead) = (back.find(met), ahead.find(met));
    has_digit(word(back)) || has_digit(word(ahead))
}

/// Where a quote stands in a text, word for word and in one line: each time with the words around it.
#[must_use]
pub fn standing(text: &str, quote: &str) -> Vec<String> {
    let wanted = words(quote);
    let mut found = Vec::new();
    if wanted.is_empty() || wanted.len() > QUOTE_WORDS_MAX || quote.contains('\n') {
        return found;
    }
    let lines = text
        .lines()
        .map(|line| words(line.trim_start_matches(MARKS)));
    let lines: Vec<Vec<&str>> = lines.collect();
    for (at, line) in lines.iter().enumerate() {
        // A mail is broken into lines anywhere; an empty line parts.
        let above = at
            .checked_sub(1)
            .and_then(|above| lines.get(above))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let above = above
            .get(above.len().saturating_sub(AROUND)..)
            .unwrap_or_default();
        let below = lines
            .get(at.saturating_add(1))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let below = below.get(..AROUND.min(below.len())).unwrap_or_default();
        let all = [above, line.as_slice(), below].concat();
        for (start, run) in line.windows(wanted.len()).enumerate() {
            if run == wanted.as_slice() || is_run(run, &wanted) {
                if found.len() == PLACES_MAX {
                    return found;
                }
                found.push(around(
                    &all,
                    above.len().saturating_add(start),
                    wanted.len(),
                ));
            }
        }
    }
    found
}

/// Some words, with those around them that belong to the same sentence.
fn around(all: &[&str], at: usize, length: usize) -> String {
    let word = |at: usize| all.get(at).copied().unwrap_or_default();
    let parts = |at: &usize| ends(word(*at), word(at.saturating_add(1)));
    let first = at.saturating_sub(AROUND);
    let first = (first..at)
        .rev()
        .take_while(|before| !parts(before))
        .last()
        .unwrap_or(at);
    let last = at.saturating_add(length).saturating_sub(1);
    let more = (last..last.saturating_add(AROUND))
        .take_while(|before| !parts(before))
        .count();
    let end = last.saturating_add(more).saturating_add(1).min(all.len());
    all.get(first..end).unwrap_or_default().join(" ")
}

/// Whether the words are the same but for what ends a sentence behind the last, or begins a quotation before the first.
fn is_run(run: &[&str], wanted: &[&str]) -> bool {
    let last = run.len().saturating_sub(1);
    run.iter()
        .zip(wanted)
        .enumerate()
        .all(|(at, (own, wanted))| {
            own == wanted
                || (at == 0 || at == last) && bare(own) == bare(wanted) && !bare(own).is_empty()
        })
}

/// The number that a word is, as it is written without groups.
fn plain_number(word: &str) -> Option<Value> {
    let word = bare(word);
    let digits = word
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    // 1.000 is a thousand for some.
    let grouped = word
        .split_once('.')
        .is_some_and(|(lead, rest)| rest.len() == 3 && lead.len() <= 3 && !lead.starts_with('0'));
    let number = number_from_text(word).ok()?;
    (digits && !grouped && word.starts_with(|c: char| c.is_ascii_digit())).then_some(number)
}

/// Whether a number is the only one of a quote, and no other number, sign or factor stands beside it in the sentence.
fn number((quote, around): (&str, &str), wanted: &Value) -> Result<(), &'static str> {
    let own = words(quote);
    let mut numbers = own.iter().filter(|word| has_digit(word));
    let (Some(only), None) = (numbers.next(), numbers.next()) else {
        return Err("exactly one number must stand in the quote");
    };
    if plain_number(only).as_ref() != Some(wanted) {
        return Err("the number does not stand in the quote");
    }
    let all = words(around);
    let word = |at: Option<usize>| at.and_then(|at| all.get(at)).copied().unwrap_or_default();
    let alone = (0..all.len())
        .filter(|at| bare(word(Some(*at))) == bare(only))
        .all(|at| {
            let (left, right) = (word(at.checked_sub(1)), word(at.checked_add(1)));
            let signed = amount::is_sign(left) || amount::is_sign(right);
            !signed && !amount::is_factor(right) && !joined(&all, at, |_| false)
        });
    alone
        .then_some(())
        .ok_or("another number, a sign or a factor stands beside the number")
}

/// Whether a text stands in a quote as whole words, and no number goes on where it ends or begins with one.
fn literal((quote, around): (&str, &str), text: &str) -> Result<(), &'static str> {
    let wanted = words(text);
    if standing(quote, text).is_empty() {
        return Err("the value does not stand in the quote");
    }
    let all = words(around);
    let beside = |at: Option<usize>| {
        at.and_then(|at| all.get(at))
            .is_some_and(|word| has_digit(word))
    };
    let alone = all
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, run)| is_run(run, &wanted));
    let mut cut = alone.map(|(at, run)| {
        let first = run.first().is_some_and(|word| has_digit(word)) && beside(at.checked_sub(1));
        let last =
            run.last().is_some_and(|word| has_digit(word)) && beside(at.checked_add(run.len()));
        first || last
    });
    let is_cut = cut.any(|cut| cut);
    (!is_cut)
        .then_some(())
        .ok_or("a number goes on beside the value")
}

/// Whether a value stands in a quote, as the argument of a card says what it can be; `around` is the quote with the words around it.
///
/// # Errors
/// What is missing, for people.
pub fn shows(
    extractor: Extractor,
    (quote, around): (&str, &str),
    (kind, value): (&ArgKind, &Value),
) -> Result<(), &'static str> {
    match (extractor, kind, value) {
        (Extractor::Date, ArgKind::Date { .. }, Value::Text(day)) => {
            day::shows(quote, day).and_then(|()| day::shows(around, day))
        }
        (Extractor::Money, ArgKind::Money { .. }, amount) => {
            amount::shows(quote, amount).and_then(|()| amount::shows(around, amount))
        }
        (Extractor::Enum, ArgKind::Choice { values }, Value::Text(word)) => {
            word::shows(quote, word, values).and_then(|()| word::shows(around, word, values))
        }
        (
            Extractor::Literal,
            ArgKind::Text { .. } | ArgKind::Reference { .. },
            Value::Text(text),
        ) => literal((quote, around), text),
        (Extractor::Literal, ArgKind::Integer { .. } | ArgKind::Decimal { .. }, wanted) => {
            number((quote, around), wanted)
        }
        _ => Err("the argument is of another type than the extractor looks for"),
    }
}

#[cfg(test)]
mod tests;
