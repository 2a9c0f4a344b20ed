//! Filling a template: from text and values to text. Pure; the files are in `shelf.rs`.
//!
//! `{{name}}` is the only thing that can be said: no condition, no loop, no include. A template is
//! taken apart once, so that a value which looks like a placeholder stays what it is.

use std::collections::{BTreeMap, BTreeSet};

use writ_proto::limits::CARD_ARGS_MAX;
use writ_proto::money::Money;
use writ_proto::value::{Map, Value};

/// Longest filled text in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 512 * 1_024;
/// Most different placeholders of a template; no card can name more arguments.
const PLACEHOLDERS_MAX: usize = CARD_ARGS_MAX;
/// Longest name of a placeholder in characters.
const NAME_CHARS_MAX: usize = 64;

/// How a template is written; the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `.md`. Values are not escaped: an agent can write a heading or a link, and whatever else
    /// the program that shows it makes of Markdown.
    Markdown,
    /// `.txt`. There is nothing to escape.
    Text,
    /// `.html`. Values are escaped, for text and for attributes in quotes.
    Html,
}

impl Format {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Markdown, Self::Text, Self::Html];

    /// The ending of the file, without its dot.
    #[must_use]
    pub(super) const fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Text => "txt",
            Self::Html => "html",
        }
    }
}

/// Why a template cannot be used, or not with these values. Values are never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct TemplateError(String);

fn refuse<T>(why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(why.into()))
}

#[derive(Debug)]
enum Part<'a> {
    Literal(&'a str),
    Placeholder(&'a str),
}

/// A template, taken apart.
#[derive(Debug)]
pub(super) struct Template<'a> {
    format: Format,
    parts: Vec<Part<'a>>,
}

impl<'a> Template<'a> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// When `{{` or `}}` stands anywhere but around the name of a placeholder, or there are more
    /// placeholders than a card can have arguments.
    pub(super) fn parse(format: Format, text: &'a str) -> Result<Self, TemplateError> {
        let (mut parts, mut rest, mut line) = (Vec::new(), text, 1_usize);
        loop {
            let opened = rest.split_once("{{");
            let literal = opened.map_or(rest, |(before, _)| before);
            if let Some((before, _)) = literal.split_once("}}") {
                let line = line.saturating_add(newlines(before));
                return refuse(format!("line {line} of the template: a stray `}}}}`"));
            }
            line = line.saturating_add(newlines(literal));
            parts.push(Part::Literal(literal));
            let Some((_, after)) = opened else {
                break;
            };
            let Some((name, tail)) = after.split_once("}}").filter(|(name, _)| is_name(name))
            else {
                let why = "`{{` that does not begin a placeholder like `{{name}}`";
                return refuse(format!("line {line} of the template: {why}"));
            };
            parts.push(Part::Placeholder(name));
            rest = tail;
        }
        let template = Self { format, parts };
        if template.placeholders().len() > PLACEHOLDERS_MAX {
            return refuse(format!(
                "the template has more than {PLACEHOLDERS_MAX} placeholders"
            ));
        }
        Ok(template)
    }

    /// Names of the placeholders, sorted, each once.
    #[must_use]
    pub(super) fn placeholders(&self) -> BTreeSet<&'a str> {
        let name = |part: &Part<'a>| match part {
            Part::Literal(_) => None,
            Part::Placeholder(name) => Some(*name),
        };
        self.parts.iter().filter_map(name).collect()
    }

    /// The text with every placeholder replaced by the value of its name.
    ///
    /// # Errors
    /// When a value is missing, has no place or cannot be shown, or the text becomes too long.
    pub(super) fn fill(&self, values: &Map) -> Result<String, TemplateError> {
        self.check_names(values)?;
        let mut shown = BTreeMap::new();
        for (name, value) in values.iter() {
            let text = show(value).or_else(|why| refuse(format!("`{name}`: {why}")))?;
            let text = match self.format {
                Format::Markdown | Format::Text => text,
                Format::Html => escaped(&text),
            };
            shown.insert(name, text);
        }
        let mut out = String::new();
        for part in &self.parts {
            let piece = match part {
                Part::Literal(text) => text,
                Part::Placeholder(name) => shown.get(name).map_or("", String::as_str),
            };
            // Before it is copied: a long value in many places never takes more memory than this.
            if out.len().saturating_add(piece.len()) > DOCUMENT_BYTES_MAX {
                return refuse(format!(
                    "the filled text is longer than {DOCUMENT_BYTES_MAX} bytes"
                ));
            }
            out.push_str(piece);
        }
        Ok(out)
    }

    /// Placeholders and values must be the same names: a value without a place would be lost
    /// unseen, a place without a value would show.
    fn check_names(&self, values: &Map) -> Result<(), TemplateError> {
        let places = self.placeholders();
        let given: BTreeSet<&str> = values.iter().map(|(name, _)| name).collect();
        let mut flaws = Vec::new();
        for (what, names) in [
            ("no value for", places.difference(&given)),
            ("no place for", given.difference(&places)),
        ] {
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            if !names.is_empty() {
                flaws.push(format!("{what} {}", names.join(", ")));
            }
        }
        if flaws.is_empty() {
            Ok(())
        } else {
            refuse(flaws.join("; "))
        }
    }
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// A value as people read it, or why it cannot be shown.
fn show(value: &Value) -> Result<String, String> {
    match value {
        Value::List(items) => {
            let shown: Result<Vec<String>, String> = items.iter().map(show_one).collect();
            shown.map(|items| items.join(", "))
        }
        one => show_one(one),
    }
}

fn show_one(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if text.chars().any(is_hidden) => {
            Err("a control character other than a new line".to_owned())
        }
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Decimal(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Map(_) => Money::from_value(value)
            .map(|money| money.to_string())
            .map_err(|why| why.to_string()),
        Value::List(_) => Err("a list in a list".to_owned()),
        Value::Null => Err("null is not a value that can be shown".to_owned()),
        Value::Bytes(_) => Err("bytes cannot be shown".to_owned()),
    }
}

/// Control characters, and those that change the direction of what follows: with them a value
/// could make the locked words after it read otherwise (CVE-2021-42574).
fn is_hidden(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n')
}

/// For the text of an element and for an attribute in quotes, nowhere else.
pub(in crate::system) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_proto::value::args_from_json;

    fn filled(format: Format, text: &str, json: &str) -> Result<String, String> {
        let values = args_from_json(json).unwrap();
        let template = Template::parse(format, text).map_err(|error| error.to_string())?;
        template.fill(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_shown_as_people_read_them() {
        for (json, want) in [
            (r#""two\nlines, <b>""#, "two\nlines, <b>"),
            ("-7", "-7"),
            ("12.50", "12.5"),
            ("true", "true"),
            (r#"{"currency":"EUR","value":12.5}"#, "12.50 EUR"),
            (r#"{"currency":"JPY","value":490}"#, "490 JPY"),
            (
                r#"["a", 2, {"currency":"EUR","value":3}]"#,
                "a, 2, 3.00 EUR",
            ),
            (r#""""#, ""),
            // One pass: what a value says is never looked at again.
            (r#""{{b}} }} {{""#, "{{b}} }} {{"),
        ] {
            let got = filled(Format::Markdown, "-{{a}}-", &format!("{{\"a\":{json}}}"));
            assert_eq!(got, Ok(format!("-{want}-")), "{json}");
        }
    }

    #[test]
    fn values_that_cannot_be_shown_are_refused() {
        for (json, want) in [
            ("null", "`a`: null"),
            ("[[1]]", "`a`: a list in a list"),
            ("[null]", "`a`: null"),
            (r#"{"x":1}"#, "`a`: money is"),
            (r#"{"currency":"EUR","value":1.234}"#, "`a`: the value has"),
            (r#""a\tb""#, "`a`: a control character"),
            (r#""a\rb""#, "`a`: a control character"),
            (r#""a\u001bb""#, "`a`: a control character"),
            (r#""a\u0085b""#, "`a`: a control character"),
            (r#""a\u202eb""#, "`a`: a control character"),
            (r#"["a\u007f"]"#, "`a`: a control character"),
        ] {
            let got = filled(Format::Text, "{{a}}", &format!("{{\"a\":{json}}}")).unwrap_err();
            assert!(got.starts_with(want), "{json}: {got}");
        }
    }

    #[test]
    fn html_is_escaped_and_nothing_else_is() {
        let json = r#"{"a":"<a href=\"x\">&'</a>"}"#;
        let plain = "<p><a href=\"x\">&'</a></p>";
        let html = "<p>&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;</p>";
        for (format, want) in [
            (Format::Markdown, plain),
            (Format::Text, plain),
            (Format::Html, html),
        ] {
            assert_eq!(
                filled(format, "<p>{{a}}</p>", json).as_deref(),
                Ok(want),
                "{format:?}"
            );
        }
    }

    #[test]
    fn names_must_be_the_same_both_ways() {
        for (text, json, want) in [
            ("{{a}} {{b}}", r#"{"a":1}"#, "no value for `b`"),
            ("{{a}}", r#"{"a":1,"b":2}"#, "no place for `b`"),
            (
                "{{a}}{{c}}",
                r#"{"b":2}"#,
                "no value for `a`, `c`; no place for `b`",
            ),
        ] {
            assert_eq!(filled(Format::Text, text, json), Err(want.to_owned()));
        }
        let twice = filled(Format::Text, "{{a}}{{a}}{ {b}", r#"{"a":1}"#);
        assert_eq!(twice.as_deref(), Ok("11{ {b}"));
        assert_eq!(filled(Format::Text, "plain", "{}").as_deref(), Ok("plain"));
    }

    #[test]
    fn stray_braces_make_a_template_useless() {
        let long = format!("{{{{{}}}}}", "a".repeat(NAME_CHARS_MAX + 1));
        for (text, line) in [
            ("{{", 1),
            ("a\n}}", 2),
            ("{{a}}\n{{a", 2),
            ("{{}}", 1),
            ("{{ a }}", 1),
            ("{{A}}", 1),
            ("{{{a}}}", 1),
            ("{{a}}\n\n x }} y {{a}}", 3),
            ("{{a}}}}", 1),
            ("{{a\n}}", 1),
            ("{{a{{b}}", 1),
            (long.as_str(), 1),
        ] {
            let got = filled(Format::Text, text, r#"{"a":1}"#).unwrap_err();
            assert!(got.starts_with(&format!("line {line} ")), "{text}: {got}");
        }
    }

    #[test]
    fn what_is_filled_is_bounded() {
        let many = "{{a}}".repeat(20);
        let json = format!("{{\"a\":\"{}\"}}", "x".repeat(32_000));
        let got = filled(Format::Text, &many, &json).unwrap_err();
        assert!(got.contains("longer than 524288 bytes"), "{got}");
        let names: String = (0..=PLACEHOLDERS_MAX)
            .map(|n| format!("{{{{n{n}}}}}"))
            .collect();
        let got = Template::parse(Format::Text, &names).unwrap_err();
        assert!(got.to_string().contains("more than 64"), "{got}");
    }
}
