//! Amounts in sentences: a number with a currency beside it. What could be another number, or another currency, is none.

use writ_proto::money::{Money, minor_digits};
use writ_proto::value::{Value, number_from_text};

use super::{bare, has_digit, joined, words};

/// Words that make a number another one.
const FACTORS: [&str; 41] = [
    "k",
    "m",
    "mio",
    "mil",
    "mill",
    "mln",
    "mld",
    "mn",
    "mrd",
    "bn",
    "b",
    "tsd",
    "tys",
    "hundred",
    "hundreds",
    "hundert",
    "thousand",
    "thousands",
    "tausend",
    "mille",
    "million",
    "millions",
    "millionen",
    "millon",
    "millones",
    "milioni",
    "miljoen",
    "billion",
    "billions",
    "trillion",
    "milliard",
    "milliards",
    "milliarden",
    "grand",
    "lakh",
    "crore",
    "percent",
    "prozent",
    "dozen",
    "dutzend",
    "%",
];
const SYMBOLS: [(&str, &str); 5] = [
    ("US$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("$", "USD"),
    ("¥", "JPY"),
];

/// Whether a word is a sign by itself, or ends with one.
pub(super) fn is_sign(word: &str) -> bool {
    let said = matches!(bare(word).to_lowercase().as_str(), "minus" | "plus");
    said || word.ends_with(['-', '\u{2212}', '\u{2013}', '\u{2014}', '+', '\u{b1}'])
}

/// Whether a word makes the number before it another one.
pub(super) fn is_factor(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '%');
    FACTORS.contains(&word.to_lowercase().as_str())
}

/// The number of a word; none where it could be several: 1.234 is one thing here and another one there.
fn number(word: &str) -> Option<String> {
    let mut marks: Vec<char> = Vec::new();
    let mut groups = vec![String::new()];
    for c in word.chars() {
        match c {
            '0'..='9' => groups.last_mut()?.push(c),
            '.' | ',' | '\'' | '\u{2019}' => {
                marks.push(c);
                groups.push(String::new());
            }
            _ => return None,
        }
    }
    let last = groups.last()?;
    let point = marks.last().filter(|mark| matches!(mark, '.' | ','));
    let once = point.is_some_and(|point| marks.iter().filter(|mark| *mark == point).count() == 1);
    let has_cents = once && (1..=2).contains(&last.len());
    let whole = groups.len().saturating_sub(usize::from(has_cents));
    let (grouped, between) = (groups.get(..whole)?, marks.get(..whole.saturating_sub(1))?);
    let same = between.iter().all(|mark| Some(mark) == between.first());
    let threes = grouped.iter().skip(1).all(|group| group.len() == 3);
    let lead = grouped.first().map_or(0, String::len);
    let led = lead > 0 && (grouped.len() == 1 || lead <= 3);
    let unclear = !has_cents && between.len() == 1 && matches!(between.first(), Some('.' | ','));
    if !same || !threes || !led || unclear {
        return None;
    }
    let digits = grouped.concat();
    Some(if has_cents {
        format!("{digits}.{last}")
    } else {
        digits
    })
}

/// The currency that a word is.
fn currency(word: &str) -> Option<&'static str> {
    let own = SYMBOLS.iter().find(|(symbol, _)| *symbol == word);
    own.map(|(_, code)| *code)
}

/// The code that a word is, whatever stands around its letters.
fn code(word: &str) -> Option<String> {
    let letters: String = word.chars().filter(|c| c.is_alphabetic()).collect();
    minor_digits(&letters).map(|_| letters)
}

/// The number of a word and the currency that is joined to it.
fn taken(word: &str) -> (Option<String>, Option<String>) {
    let codes = SYMBOLS
        .iter()
        .map(|(symbol, code)| (*symbol, (*code).to_owned()));
    for (symbol, code) in codes {
        let rest = word
            .strip_prefix(symbol)
            .or_else(|| word.strip_suffix(symbol));
        if let Some(rest) = rest {
            return (number(rest), Some(code));
        }
    }
    let letters: String = word.chars().filter(|c| c.is_ascii_uppercase()).collect();
    let joined = word
        .strip_prefix(&letters)
        .or_else(|| word.strip_suffix(&letters));
    match joined.filter(|_| letters.len() == 3 && minor_digits(&letters).is_some()) {
        Some(rest) => (number(rest), Some(letters)),
        None => (number(word), None),
    }
}

/// A number among the words of a sentence, and what stands beside it.
struct Seen<'a> {
    all: &'a [&'a str],
    at: usize,
    /// The number itself, as far as it is one.
    number: Option<String>,
    /// Currencies joined to it, before and behind it.
    own: Option<String>,
    before: Option<String>,
    behind: Option<String>,
}

impl<'a> Seen<'a> {
    fn new(all: &'a [&'a str], at: usize) -> Self {
        let mut seen = Self {
            all,
            at,
            number: None,
            own: None,
            before: None,
            behind: None,
        };
        let own = |word: &str| currency(word).map(str::to_owned).or_else(|| code(word));
        (seen.number, seen.own) = taken(bare(seen.back(0)));
        // What ends a clause parts a number from a currency: "order 7: EUR 5".
        let parted = |word: &str| word.ends_with(['.', ',', ';', ':', '!', '?']);
        if !parted(seen.back(1)) {
            seen.before = own(seen.back(1));
        }
        if !parted(seen.back(0)) {
            seen.behind = own(bare(seen.ahead(1)));
        }
        seen
    }

    fn back(&self, by: usize) -> &'a str {
        let word = self.at.checked_sub(by).and_then(|at| self.all.get(at));
        word.copied().unwrap_or_default()
    }

    fn ahead(&self, by: usize) -> &'a str {
        let word = self.all.get(self.at.saturating_add(by));
        word.copied().unwrap_or_default()
    }

    /// The one currency, if there is one.
    fn currency(&self) -> Result<Option<&String>, &'static str> {
        let mut codes = [&self.own, &self.before, &self.behind]
            .into_iter()
            .flatten();
        let Some(code) = codes.next() else {
            let odd = self.back(0).contains(['€', '£', '$', '¥']);
            return if odd {
                Err("an amount in the quote can be read in several ways")
            } else {
                Ok(None)
            };
        };
        if codes.any(|other| other != code) {
            return Err("an amount in the quote has several currencies");
        }
        // C $5, A $5: another dollar.
        let marks = match (self.back(0).starts_with('$'), self.back(1)) {
            (true, marks) => marks,
            (false, "$") => self.back(2),
            (false, _) => "",
        };
        if (1..=2).contains(&marks.len()) && marks.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err("a currency in the quote has several meanings");
        }
        Ok(Some(code))
    }

    /// Whether a sign stands beside number and currency.
    fn is_signed(&self) -> bool {
        let outer = if self.before.is_some() {
            self.back(2)
        } else {
            ""
        };
        let opens =
            |word: &str| word.starts_with(['-', '(', '\u{2212}', '\u{2013}', '\u{2014}', '+']);
        let before = self.before.is_some() && opens(self.back(1));
        let last = if self.behind.is_some() {
            self.ahead(2)
        } else {
            ""
        };
        is_sign(outer)
            || is_sign(self.back(1))
            || before
            || is_sign(self.ahead(1))
            || matches!(bare(last).to_lowercase().as_str(), "-" | "minus" | "plus")
    }

    fn has_factor(&self) -> bool {
        let outer = if self.behind.is_some() {
            self.ahead(2)
        } else {
            ""
        };
        is_factor(self.ahead(1)) || is_factor(outer)
    }
}

/// Every amount of a sentence.
fn amounts(text: &str) -> Result<Vec<Money>, &'static str> {
    let all = words(text);
    let mut found = Vec::new();
    for (at, _) in all.iter().enumerate().filter(|(_, word)| has_digit(word)) {
        let seen = Seen::new(&all, at);
        let Some(code) = seen.currency()? else {
            continue;
        };
        let digits = seen.number.as_ref();
        let digits = digits.ok_or("an amount in the quote can be read in several ways")?;
        if seen.is_signed() {
            return Err("an amount in the quote has a sign beside it");
        }
        if seen.has_factor() {
            return Err("an amount in the quote has a factor behind it");
        }
        let is_currency = |word: &str| currency(word).is_some() || self::code(word).is_some();
        if joined(&all, at, is_currency) {
            return Err("an amount in the quote stands beside another number");
        }
        let digits = number_from_text(digits).map_err(|_| "an amount in the quote is too long")?;
        let money = Money::new(code, &digits);
        found
            .push(money.map_err(|_| "an amount in the quote has more decimals than its currency")?);
    }
    Ok(found)
}

/// Whether a sentence names one amount, and it is this one.
pub(super) fn shows(text: &str, wanted: &Value) -> Result<(), &'static str> {
    let wanted = Money::from_value(wanted).map_err(|_| "the argument is no amount")?;
    let same = |one: &Money| one.currency() == wanted.currency() && one.minor() == wanted.minor();
    match amounts(text)?.as_slice() {
        [] => Err("no amount with its currency stands in the quote"),
        all if all.iter().all(same) => Ok(()),
        [_] => Err("another amount stands in the quote"),
        _ => Err("several amounts stand in the quote"),
    }
}
