//! A file of TOML that a person goes on with: what nobody but a person can know is marked.

/// How a line is marked that a person decides.
pub(super) const MARK: &str = "# DECIDE: ";

/// Its lines.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<String>);

impl Page {
    /// One line.
    pub(super) fn line(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    /// What a person decides about the next line.
    pub(super) fn decide(&mut self, what: impl core::fmt::Display) {
        self.0.push(format!("{MARK}{what}"));
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut text = self.0.join("\n");
        text.push('\n');
        text
    }

    /// Each line that is marked, by its number, and what is to be decided.
    pub(super) fn marked(&self) -> Vec<(usize, &str)> {
        let numbered = (1..).zip(&self.0);
        let marked = numbered.filter_map(|(at, line)| Some((at, line.strip_prefix(MARK)?)));
        marked.collect()
    }
}

/// A text as a basic string of TOML 1.0, in one line whatever it holds.
pub(super) fn quoted(text: &str) -> String {
    let mut own = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => own.push_str("\\\""),
            '\\' => own.push_str("\\\\"),
            c if c.is_control() => own.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => own.push(c),
        }
    }
    own.push('"');
    own
}

/// A list of texts as TOML writes it.
pub(super) fn listed<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let all: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", all.join(", "))
}

/// A key as TOML writes it.
pub(super) fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    quoted(text)
}

/// A name as cards and system files write it: small letters, digits and `_`.
pub(super) fn snake(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let small = c.to_ascii_lowercase();
        let known = small.is_ascii_alphanumeric();
        let begins = c.is_ascii_uppercase() && !name.ends_with('_') && !name.is_empty();
        if (begins || !known) && !name.ends_with('_') {
            name.push('_');
        }
        if known {
            name.push(small);
        }
    }
    name.trim_matches('_').to_owned()
}
