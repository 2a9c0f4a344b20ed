//! The texts of the folder of flag files: names of scopes, and the file `epoch`.

use super::{Mark, Recent, Scope};

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte)
}

/// A text as a file name.
pub(super) fn file_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

/// The scope that a file name spells.
pub(super) fn scope_of(name: &str) -> Option<Scope> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let text = core::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(text, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()?.parse().ok()
}

/// `EPOCH GENERATION`, then a line `MILLISECONDS SCOPE` for each recent halt. One number alone is an
/// epoch.
pub(super) fn parse_mark(text: &str) -> Option<Mark> {
    let mut lines = text.lines();
    let mut numbers = lines.next()?.split_ascii_whitespace();
    let epoch = numbers.next()?.parse().ok()?;
    let generation = numbers.next().map_or(Some(0), |text| text.parse().ok())?;
    if numbers.next().is_some() {
        return None;
    }
    let recent = lines.map(|line| {
        let (at_ms, scope) = line.split_once(' ')?;
        let (at_ms, scope) = (at_ms.parse().ok()?, scope.parse().ok()?);
        Some(Recent { scope, at_ms })
    });
    Some(Mark {
        epoch,
        generation,
        recent: recent.collect::<Option<_>>()?,
    })
}

pub(super) fn mark_text(mark: &Mark) -> String {
    let mut text = format!("{} {}\n", mark.epoch, mark.generation);
    for recent in &mark.recent {
        text.push_str(&format!("{} {}\n", recent.at_ms, recent.scope));
    }
    text
}
