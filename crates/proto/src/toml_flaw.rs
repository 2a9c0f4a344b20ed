//! What is wrong with a TOML text, in words and with its place: the same for cards, sets and settings.

/// How many letters may differ in what is taken for a slip.
const NEAR: usize = 2;

/// What is wrong, and at which byte if that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlFlaw {
    /// In words.
    pub message: String,
    /// Byte of the text.
    pub at: Option<usize>,
}

/// The texts between backticks.
fn quoted(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// The known word that was most likely meant.
#[must_use]
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::osa_distance(word, other);
    let best = known.into_iter().min_by_key(distance)?;
    (distance(&best) <= NEAR).then_some(best)
}

/// Words and place of an error of the `toml` crate. A key that is not known is answered with the one
/// that was most likely meant, and with all of them only where none is near.
#[must_use]
pub fn flaw(error: &toml::de::Error) -> TomlFlaw {
    let (message, start) = (error.message(), error.span().map(|span| span.start));
    let words = quoted(message);
    let message = match words.as_slice() {
        [missing] if message.starts_with("missing field") => format!("`{missing}` is missing"),
        [unknown, known @ ..] if message.starts_with("unknown field") => {
            match near(unknown, known.iter().copied()) {
                Some(near) => format!("there is no key `{unknown}`. Did you mean `{near}`?"),
                None => format!(
                    "there is no key `{unknown}`; there are {}",
                    known.join(", ")
                ),
            }
        }
        [unknown, known @ ..] if message.starts_with("unknown variant") => {
            match near(unknown, known.iter().copied()) {
                Some(near) => {
                    format!("`{unknown}` is not one of the choices. Did you mean `{near}`?")
                }
                None => format!("`{unknown}` is not one of {}", known.join(", ")),
            }
        }
        _ => message.trim().replace('\n', "; "),
    };
    // The whole text is no place.
    TomlFlaw {
        message,
        at: start.filter(|start| *start > 0),
    }
}

/// Where a word stands that is no part of a longer one.
#[must_use]
pub fn whole_word(text: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let apart = |(at, _): &(usize, &str)| {
        let (before, rest) = text.split_at_checked(*at).unwrap_or((text, ""));
        let after = rest.strip_prefix(word).unwrap_or_default();
        !before.ends_with(is_part) && !after.starts_with(is_part)
    };
    text.match_indices(word).find(apart).map(|(at, _)| at)
}

/// Where in a TOML text a message points: at what it quotes, or at the key or table that it begins with.
#[must_use]
pub fn place_of(text: &str, message: &str) -> Option<usize> {
    let named = quoted(message).into_iter().filter(|word| !word.is_empty());
    let by_quote = named.filter_map(|word| {
        let whole = format!("\"{word}\"");
        text.find(&whole).or_else(|| whole_word(text, word))
    });
    let begins = message.split([':', ' ']).next().unwrap_or_default();
    let key = begins.rsplit('.').next().unwrap_or_default();
    let by_key = || {
        let table = text.find(&format!("[{begins}]"));
        let is_key = |line: &str| {
            let own = line.trim_start();
            let rest = own.strip_prefix(key).filter(|_| !key.is_empty());
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let mut start = 0_usize;
        let line = text.split_inclusive('\n').find_map(|line| {
            let own = start;
            start = start.saturating_add(line.len());
            is_key(line).then_some(own)
        });
        table.or(line)
    };
    by_quote.into_iter().next().or_else(by_key)
}

#[cfg(test)]
mod tests;
