//! What is wrong with a policy set, and where.

use core::fmt;

use writ_proto::Reason;
use writ_proto::toml_flaw::whole_word;

/// A place in a file, and the line that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line itself, or the beginning of a long one.
    pub text: String,
}

/// Longest line that is shown below a finding, in characters.
const SHOWN_MAX: usize = 160;

impl Place {
    /// The place of a byte in a text.
    #[must_use]
    pub fn at(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let line = text.get(start..).unwrap_or_default();
        let column = before.get(start..).unwrap_or_default().chars().count();
        Self {
            line: before.matches('\n').count().saturating_add(1),
            column: column.saturating_add(1),
            text: line
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(SHOWN_MAX.saturating_add(1))
                .collect(),
        }
    }

    /// The place where a word first stands that is no part of a longer one, if it does.
    #[must_use]
    pub fn of(text: &str, word: &str) -> Option<Self> {
        Some(Self::at(text, whole_word(text, word)?))
    }
}

/// What a policy file, card or entity file has wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The stable code.
    pub reason: Reason,
    /// File, from the folder of all tenants.
    pub file: String,
    /// What is wrong.
    pub message: String,
    /// Where, if it can be told.
    pub at: Option<Place>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, code) = (&self.file, self.reason.code());
        let Some(at) = &self.at else {
            return write!(f, "{file}: {code} {}", self.message);
        };
        let (line, column) = (at.line, at.column);
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        write!(f, "{file}:{line}:{column}: {code} {}", self.message)?;
        if at.text.chars().count() > SHOWN_MAX {
            return Ok(());
        }
        // A tab stays a tab, so that the caret stands below what it points at.
        let blank = |letter: char| if letter == '\t' { '\t' } else { ' ' };
        let indent: String = at
            .text
            .chars()
            .take(column.saturating_sub(1))
            .map(blank)
            .collect();
        write!(f, "\n {number} | {}\n {gap} | {indent}^", at.text)
    }
}

/// Why a set is refused: everything found, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PolicyErrors(pub Vec<Finding>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_and_shown_with_a_caret() {
        let text = "permit (\n\té, x,\n);";
        let at = Place::of(text, "x").unwrap();
        assert_eq!((at.line, at.column), (2, 5));
        let finding = Finding {
            reason: Reason::PolicyInvalid,
            file: "acme/a.cedar".into(),
            message: "x is nothing".into(),
            at: Some(at),
        };
        let shown = "acme/a.cedar:2:5: POLICY_INVALID x is nothing\n 2 | \té, x,\n   | \t   ^";
        assert_eq!(finding.to_string(), shown);
        let end = Place::at(text, 10_000);
        assert_eq!((end.line, end.text.as_str()), (3, ");"));
        assert!(Place::of(text, "nowhere").is_none());
    }
}
