//! How deep and how long a rule may be. Cedar's parser, its validator and the release of what they
//! made go down once for every level, on whatever stack the thread has; a text that is deeper than
//! a stack ends the process. So depth is bounded here, before any of them sees the text.

/// Brackets, and `if`s, within each other.
pub const NESTING_MAX: usize = 32;
/// Operators, brackets and clauses of one rule: each may be one more level of its expression.
pub const OPERATORS_MAX: usize = 1_000;
/// Bytes of one `.cedar` file.
pub const RULE_FILE_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// What is too deep or too long, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooDeep {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// Where the scanner is.
#[derive(Default)]
struct Scan {
    depth: usize,
    ifs: usize,
    operators: usize,
}

impl Scan {
    fn end_of_rule(&mut self) {
        *self = Self::default();
    }

    fn check(&self, at: usize) -> Result<(), TooDeep> {
        let refuse = |message: String| Err(TooDeep { at, message });
        if self.depth > NESTING_MAX {
            return refuse(format!(
                "more than {NESTING_MAX} brackets within each other"
            ));
        }
        if self.ifs > NESTING_MAX {
            return refuse(format!("more than {NESTING_MAX} `if`s in one rule"));
        }
        if self.operators > OPERATORS_MAX {
            return refuse(format!("more than {OPERATORS_MAX} operators in one rule"));
        }
        Ok(())
    }
}

/// Whether a text of rules may be given to a parser.
///
/// # Errors
/// What is too deep or too long.
pub fn fits(text: &str) -> Result<(), String> {
    check(text).map_err(|deep| deep.message)
}

/// The byte at which a text begins that is not closed in its line, if there is one: the quote is most likely
/// forgotten, and Cedar complains of whatever comes later.
pub(crate) fn open_text(text: &str) -> Option<usize> {
    let mut start = 0_usize;
    for line in text.split_inclusive('\n') {
        let (mut open, mut escaped) = (None, false);
        for (at, letter) in line.char_indices() {
            let rest = line.get(at..).unwrap_or_default();
            match letter {
                '/' if open.is_none() && rest.starts_with("//") => break,
                '"' if !escaped => open = if open.is_some() { None } else { Some(at) },
                _ => {}
            }
            escaped = letter == '\\' && !escaped;
        }
        if let Some(at) = open {
            return Some(start.saturating_add(at));
        }
        start = start.saturating_add(line.len());
    }
    None
}

/// The byte at which each rule begins.
pub(crate) fn starts(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    drop(scanned(text, &mut ends));
    let from = std::iter::once(0).chain(ends.iter().map(|end| end.saturating_add(1)));
    from.map(|from| {
        let mut at = from;
        // Behind blanks and comments.
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let blank = rest.len().saturating_sub(rest.trim_start().len());
            at = at.saturating_add(blank);
            let rest = rest.trim_start();
            if !rest.starts_with("//") {
                return at;
            }
            at = at.saturating_add(rest.find(['\n', '\r']).unwrap_or(rest.len()));
        }
    })
    .collect()
}

/// Looks at a text of rules without recursion.
pub(crate) fn check(text: &str) -> Result<(), TooDeep> {
    scanned(text, &mut Vec::new())
}

/// The same, with the byte at which each rule ends.
fn scanned(text: &str, ends: &mut Vec<usize>) -> Result<(), TooDeep> {
    if text.len() > RULE_FILE_BYTES_MAX {
        let message = format!("{} bytes, at most {RULE_FILE_BYTES_MAX}", text.len());
        return Err(TooDeep { at: 0, message });
    }
    let mut scan = Scan::default();
    let mut rest = text.char_indices().peekable();
    while let Some((at, letter)) = rest.next() {
        match letter {
            '"' => {
                while let Some((_, inner)) = rest.next() {
                    match inner {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                // Cedar ends a comment at either.
                while rest
                    .next_if(|(_, next)| !matches!(next, '\n' | '\r'))
                    .is_some()
                {}
            }
            // A call, an index and a clause are each one more level of the expression.
            '(' | '[' | '{' => {
                scan.depth = scan.depth.saturating_add(1);
                scan.operators = scan.operators.saturating_add(1);
            }
            ')' | ']' | '}' => scan.depth = scan.depth.saturating_sub(1),
            ';' if scan.depth == 0 => {
                ends.push(at);
                scan.end_of_rule();
            }
            '!' | '&' | '|' | '+' | '-' | '*' | '<' | '>' | '=' | '.' => {
                // `&&` and `<=` are one operator.
                while rest
                    .next_if(|(_, next)| *next == letter || *next == '=')
                    .is_some()
                {}
                scan.operators = scan.operators.saturating_add(1);
            }
            letter if letter.is_alphabetic() || letter == '_' => {
                let mut end = at.saturating_add(letter.len_utf8());
                while let Some((place, next)) =
                    rest.next_if(|(_, next)| next.is_alphanumeric() || *next == '_')
                {
                    end = place.saturating_add(next.len_utf8());
                }
                match text.get(at..end) {
                    Some("if") => scan.ifs = scan.ifs.saturating_add(1),
                    Some("in" | "has" | "like" | "is" | "when" | "unless") => {
                        scan.operators = scan.operators.saturating_add(1);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        scan.check(at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!(
            "@id(\"a\")\n@reason(\"a\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\npermit (principal, action, resource) when {{ {condition} }};\n"
        )
    }

    #[test]
    fn a_rule_begins_behind_blanks_and_comments() {
        let text = "// a; b\n@id(\"x;y\")\npermit (a);\n\n// c\n  forbid (b);\n";
        let starts = starts(text);
        let begins = |index: usize| text.get(starts[index]..).unwrap();
        assert!(begins(0).starts_with("@id") && begins(1).starts_with("forbid"));
        assert_eq!(open_text("@a(\"b\")\nx == \"y\n"), Some(13));
        assert_eq!(open_text("// \"\n@a(\"b\\\"c\")"), None);
    }

    #[test]
    fn depth_and_length_are_bounded_outside_of_texts_and_comments() {
        let parens = |n: usize| rule(&format!("{}true{}", "(".repeat(n), ")".repeat(n)));
        let ors = |n: usize| rule(&vec!["true"; n].join(" || "));
        let nots = |n: usize| rule(&format!("{}true", "! ".repeat(n)));
        let ifs = |n: usize| rule(&format!("{}true", "if true then true else ".repeat(n)));
        let table = [
            (parens(NESTING_MAX - 1), true),
            (parens(NESTING_MAX), false),
            (parens(150), false),
            (parens(100_000), false),
            (ors(OPERATORS_MAX - 10), true),
            (ors(OPERATORS_MAX + 2), false),
            (format!("//\r{}", rule(&"(".repeat(5_000))), false),
            (
                rule(&format!("context{}", "[\"a\"]".repeat(OPERATORS_MAX))),
                false,
            ),
            (
                rule("true").replace(';', &"when{true}".repeat(OPERATORS_MAX)),
                false,
            ),
            (
                rule("true").replace(';', &"unless{true}".repeat(OPERATORS_MAX)),
                false,
            ),
            (rule(&format!("[{}]", "[1],".repeat(OPERATORS_MAX))), false),
            (nots(OPERATORS_MAX + 1), false),
            (ifs(NESTING_MAX), true),
            (ifs(NESTING_MAX + 1), false),
            (rule(&format!("\"{}\\\"\" == \"\"", "(".repeat(500))), true),
            (format!("// {}\n{}", "(".repeat(500), rule("true")), true),
            (rule("true").repeat(2_000), true),
            (" ".repeat(RULE_FILE_BYTES_MAX + 1), false),
        ];
        for (text, fits) in table {
            let shown: String = text.chars().take(150).collect();
            assert_eq!(check(&text).is_ok(), fits, "{shown}");
        }
    }
}
