//! Slots: what may stand in braces, and texts that hold them. Everything is parsed once, when the
//! file is compiled; a brace that is no slot is refused there, so none is ever sent as it stands.

use serde_json::Value as Json;

use super::FileError;

/// Most pieces of one text.
const PIECES_MAX: usize = 32;

/// What stands in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// `{id}`: the id of the target.
    Id,
    /// `{part.NAME}`: a named group of the id.
    Part(String),
    /// `{args.NAME}` and its parts.
    Arg(String, ArgPart),
    /// `{fields}`: the fields to write, as members of an object.
    Fields,
    /// `{before.NAME}`: a field as it stood.
    Before(String),
    /// `{version}`: the version that was read.
    Version,
    /// `{version as http_date}`: a version that is a moment, as HTTP writes it (RFC 9110 5.6.7), in seconds.
    VersionDate,
    /// `{now}`: this moment, RFC 3339 in UTC.
    Now,
    /// `{decision.key}`: the key of this one call.
    Key,
    /// `{prepare.N/pointer}`: part of the answer of a prepare step, counted from one.
    Prepare(usize, String),
    /// `{step.N/pointer}`: part of the answer of a step, counted from one.
    Step(usize, String),
    /// `{base_url}`: scheme, host and port of the connection.
    BaseUrl,
    /// `{q}`: the search of a find, built apart.
    Query,
}

/// Which part of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgPart {
    /// All of it.
    Whole,
    /// `.currency` of an amount.
    Currency,
    /// `.value` of an amount, in the units that people write.
    Value,
    /// `.minor` or ` as minor` of an amount: whole minor units by ISO 4217.
    Minor,
    /// ` as html`: a text in which nothing is markup.
    Html,
    /// ` as decimal` of an amount: a text with as many decimals as its currency has.
    Text,
}

/// A text with slots in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Slot(Slot),
}

/// What slots are filled from.
pub trait Scope {
    /// The value of a slot; none if there is none, which drops the member that holds it.
    fn get(&self, slot: &Slot) -> Option<Json>;
}

fn numbered(rest: &str) -> Option<(usize, String)> {
    let (number, pointer) = rest.split_once('/')?;
    let number = number.parse::<usize>().ok().filter(|number| *number > 0)?;
    Some((number, format!("/{pointer}")))
}

impl Slot {
    fn parse(name: &str) -> Option<Self> {
        let word = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (!text.is_empty() && text.chars().all(plain)).then(|| text.to_owned())
        };
        match name {
            "id" => return Some(Self::Id),
            "fields" => return Some(Self::Fields),
            "version" => return Some(Self::Version),
            "version as http_date" => return Some(Self::VersionDate),
            "now" => return Some(Self::Now),
            "decision.key" => return Some(Self::Key),
            "base_url" => return Some(Self::BaseUrl),
            "q" => return Some(Self::Query),
            _ => {}
        }
        if let Some(rest) = name.strip_prefix("args.") {
            let (argument, part) = match rest.split_once(" as ") {
                Some((argument, "minor")) => (argument, ArgPart::Minor),
                Some((argument, "decimal")) => (argument, ArgPart::Text),
                Some((argument, "html")) => (argument, ArgPart::Html),
                Some(_) => return None,
                None => match rest.split_once('.') {
                    None => (rest, ArgPart::Whole),
                    Some((argument, "currency")) => (argument, ArgPart::Currency),
                    Some((argument, "value")) => (argument, ArgPart::Value),
                    Some((argument, "minor")) => (argument, ArgPart::Minor),
                    Some(_) => return None,
                },
            };
            return Some(Self::Arg(word(argument)?, part));
        }
        if let Some(rest) = name.strip_prefix("part.") {
            return word(rest).map(Self::Part);
        }
        if let Some(rest) = name.strip_prefix("before.") {
            return word(rest).map(Self::Before);
        }
        if let Some(rest) = name.strip_prefix("prepare.") {
            return numbered(rest).map(|(number, at)| Self::Prepare(number, at));
        }
        let (number, at) = numbered(name.strip_prefix("step.")?)?;
        Some(Self::Step(number, at))
    }
}

/// The text of a value where only text can stand.
fn text(value: Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

impl Template {
    /// Reads a text; `{{` and `}}` are braces that mean themselves.
    ///
    /// # Errors
    /// When a brace is open, or what it holds is no slot.
    pub(super) fn parse(source: &str) -> Result<Self, FileError> {
        let mut pieces = Vec::new();
        let (mut plain, mut rest) = (String::new(), source);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let inner = from.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let Some((name, after)) = inner else {
                    let why =
                        format!("`{source}`: a brace is open; write {{{{ for a brace as such");
                    return Err(FileError::new(why));
                };
                let slot = Slot::parse(name).ok_or_else(|| unknown(name))?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Slot(slot));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if pieces.len() > PIECES_MAX {
            return Err(FileError::new(format!(
                "a text has at most {PIECES_MAX} parts"
            )));
        }
        Ok(Self(pieces))
    }

    /// The slots, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Slot(slot) => Some(slot),
            Piece::Text(_) => None,
        })
    }

    /// The one slot that a text is, if it is nothing else.
    pub(super) fn only(&self) -> Option<&Slot> {
        match self.0.as_slice() {
            [Piece::Slot(slot)] => Some(slot),
            _ => None,
        }
    }

    /// The text as it is, where it has no slots.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with its slots filled, each by `encode`; none if one has no value here.
    pub(super) fn fill(
        &self,
        scope: &impl Scope,
        encode: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => out.push_str(plain),
                Piece::Slot(slot) => out.push_str(&encode(&text(scope.get(slot)?)?)?),
            }
        }
        Some(out)
    }

    /// The text with its slots filled as they are.
    pub(in crate::system) fn plain(&self, scope: &impl Scope) -> Option<String> {
        self.fill(scope, |value| Some(value.to_owned()))
    }
}

/// Refuses what is no slot, with what is.
fn unknown(name: &str) -> FileError {
    let shown: String = name.chars().take(40).collect();
    let hint = match name {
        "target.id" => "; it is {id} now",
        "target.type" => "; write the word itself",
        _ => "",
    };
    FileError::new(format!(
        "unknown placeholder `{{{shown}}}`{hint}. Known: {{id}}, {{part.NAME}}, {{args.NAME}} (of an \
         amount .currency, .value, .minor), {{fields}}, {{before.NAME}}, {{version}}, {{now}}, \
         {{decision.key}}, {{prepare.N/pointer}}, {{step.N/pointer}}, {{base_url}}"
    ))
}
