//! Days in sentences. Only what has one meaning everywhere counts.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{bare, has_digit, joins, words};

const MONTHS: &str = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?";
const NUMBERED: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// Each with the groups `y`, `m` and `d`.
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let forms = [
        r"(?<y>[0-9]{4})-(?<m>[0-9]{2})-(?<d>[0-9]{2})".to_owned(),
        r"(?<d>[0-9]{1,2})\. ?(?<m>[0-9]{1,2})\. ?(?<y>[0-9]{4})".to_owned(),
        format!(
            r"(?i)(?<d>[0-9]{{1,2}})(?:st|nd|rd|th|\.)? (?:of )?(?<m>{MONTHS})[.,]? (?<y>[0-9]{{4}})"
        ),
        format!(r"(?i)(?<m>{MONTHS})\.? (?<d>[0-9]{{1,2}})(?:st|nd|rd|th)?,? (?<y>[0-9]{{4}})"),
    ];
    let forms = forms.iter().map(|form| Regex::new(&format!(r"\b{form}\b")));
    forms.filter_map(Result::ok).collect()
});
/// What is a day in one country and another one in the next.
static ODD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[0-9]/[0-9]|\b[0-9]{1,2}-[0-9]{1,2}-[0-9]{2,4}\b").ok());

fn iso(found: &Captures<'_>) -> Option<String> {
    let of = |name: &str| Some(found.name(name)?.as_str());
    let month = match of("m")?.parse::<u32>() {
        Ok(number) => number,
        Err(_) => {
            let short: String = of("m")?.to_lowercase().chars().take(3).collect();
            let at = NUMBERED.iter().position(|name| *name == short)?;
            u32::try_from(at).ok()?.checked_add(1)?
        }
    };
    let day: u32 = of("d")?.parse().ok()?;
    let year: i32 = of("y")?.parse().ok()?;
    let day = chrono::NaiveDate::from_ymd_opt(year, month, day)?;
    Some(day.format("%Y-%m-%d").to_string())
}

/// Whether a sentence names one day, and it is this one.
pub(super) fn shows(text: &str, wanted: &str) -> Result<(), &'static str> {
    if ODD.as_ref().is_none_or(|odd| odd.is_match(text)) {
        return Err("a day in the quote is written in a way that has several meanings");
    }
    let mut days = BTreeSet::new();
    for form in FORMS.iter() {
        for found in form.captures_iter(text) {
            let (start, end) = found.get(0).map_or((0, 0), |all| (all.start(), all.end()));
            let (before, behind) = (text.get(..start), text.get(end..));
            if is_range(before.unwrap_or_default(), behind.unwrap_or_default()) {
                return Err("several days stand in the quote");
            }
            days.insert(iso(&found).ok_or("a day in the quote is none of the calendar")?);
        }
    }
    let mut days = days.into_iter();
    match (days.next(), days.next()) {
        (None, _) => Err("no day stands in the quote"),
        (Some(day), None) if day == wanted => Ok(()),
        (Some(_), None) => Err("another day stands in the quote"),
        _ => Err("several days stand in the quote"),
    }
}

/// Words that a second day is looked for on each side of one that joins them.
const NEAR: usize = 3;

/// Whether what stands before a day, or behind it, makes it one end of a range: "1-", "1 or ", "1 December to ", " bis 5. Januar".
fn is_range(before: &str, behind: &str) -> bool {
    let dash = |c: char| matches!(c, '-' | '\u{2013}' | '\u{2014}' | '/');
    if before.ends_with(|c: char| dash(c) || matches!(c, '.' | ',') || c.is_numeric())
        || behind.starts_with(dash)
    {
        return true;
    }
    let month = |word: &&str| {
        let word = bare(word).to_lowercase();
        has_digit(&word) || word.len() >= 3 && NUMBERED.iter().any(|month| word.starts_with(month))
    };
    let (before, behind) = (words(before), words(behind));
    let mut back = before.iter().rev();
    let joined_before = back.next().is_some_and(|word| joins(word)) && back.take(NEAR).any(&month);
    // A number right before it, without a mark between: "29 1 December".
    let plain = before
        .last()
        .is_some_and(|word| has_digit(word) && !word.ends_with([';', ':', '!', '?']));
    let parted = [
        "or", "and", "und", "oder", "-", "\u{2013}", "\u{2014}", "/", "~",
    ];
    let open = before
        .last()
        .is_some_and(|word| parted.contains(&bare(word).to_lowercase().as_str()));
    let mut ahead = behind.iter();
    let joined_behind = ahead.next().is_some_and(|word| joins(word)) && ahead.take(NEAR).any(month);
    joined_before || joined_behind || plain || open
}
