//! The words of a card in sentences.

/// What turns a word around.
const NOT: [&str; 26] = [
    "not", "no", "non", "none", "nobody", "nothing", "never", "cannot", "without", "neither",
    "nor", "isn't", "wasn't", "won't", "don't", "didn't", "nicht", "kein", "keine", "keinen",
    "keiner", "keinem", "keines", "niemand", "nie", "niemals",
];

/// One spelling of words: lower case, with spaces for `_` and `-`.
fn spaced(text: &str) -> String {
    let text = text.to_lowercase().replace(['_', '-'], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A sentence as it is searched: in lower case, `_` and `-` only where a card may have them.
fn lower(text: &str) -> String {
    text.to_lowercase().replace('\u{2019}', "'")
}

/// Where a word stands as a whole: a letter, a digit, or a mark with a letter behind it makes it another one.
fn places(text: &str, wanted: &str) -> Vec<(usize, usize)> {
    let inner = |c: char| matches!(c, '-' | '_' | '\'');
    let found = text.match_indices(wanted).filter(|(start, hit)| {
        let mut back = text.get(..*start).unwrap_or_default().chars().rev();
        let after = text
            .get(start.saturating_add(hit.len())..)
            .unwrap_or_default();
        let mut ahead = after.chars();
        let beside = |near: Option<char>, far: Option<char>| {
            near.is_some_and(|c| {
                c.is_alphanumeric() || inner(c) && far.is_some_and(char::is_alphanumeric)
            })
        };
        !beside(back.next(), back.next()) && !beside(ahead.next(), ahead.next())
    });
    found.map(|(start, hit)| (start, hit.len())).collect()
}

/// The words of a card that a sentence holds, the longest first, so that "closed won" is not "won".
fn chosen(text: &str, values: &[String]) -> Vec<String> {
    let mut rest = lower(text);
    let mut all: Vec<&String> = values.iter().collect();
    all.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut found = Vec::new();
    for value in all {
        let spaced = spaced(value);
        let spellings = [
            lower(value),
            spaced.replace(' ', "-"),
            spaced.replace(' ', "_"),
            spaced,
        ];
        let mut stands = false;
        for wanted in spellings.iter().filter(|wanted| !wanted.is_empty()) {
            for (start, length) in places(&rest, wanted).into_iter().rev() {
                rest.replace_range(start..start.saturating_add(length), &"\u{1}".repeat(length));
                stands = true;
            }
        }
        if stands {
            found.push(value.clone());
        }
    }
    found
}

/// Whether a sentence holds one of the words of a card, and it is this one.
pub(super) fn shows(text: &str, wanted: &str, values: &[String]) -> Result<(), &'static str> {
    let same = values
        .iter()
        .filter(|value| spaced(value) == spaced(wanted));
    if same.count() > 1 {
        return Err("several words of the card are spelled alike");
    }
    let said = lower(text);
    if said.split_whitespace().any(|word| {
        NOT.contains(&word.trim_matches(|c: char| !c.is_alphabetic())) || word.contains("n't")
    }) {
        return Err("what is quoted says no to something");
    }
    match chosen(text, values).as_slice() {
        [] => Err("none of the words of the card stands in the quote"),
        [only] if only == wanted => Ok(()),
        [_] => Err("another word of the card stands in the quote"),
        _ => Err("several words of the card stand in the quote"),
    }
}
