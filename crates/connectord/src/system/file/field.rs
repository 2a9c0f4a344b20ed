//! One field of a record: where it stands in an answer, how it is written, and what "nothing" is.

use serde_json::{Map as JsonMap, Value as Json};
use toml::Value as Toml;
use writ_proto::money::minor_digits;
use writ_proto::value::Value;

use super::raw::RawField;
use super::{Codec, FileError};

/// What a field means that an answer does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// The pointer, or the credential, is wrong: nothing is believed of it.
    Error,
    /// The system leaves out what is empty.
    Empty,
}

/// What is sent to make a field empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clear {
    Null,
    EmptyText,
    Omit,
}

/// One field.
#[derive(Debug, Clone)]
pub struct Field {
    name: String,
    at: String,
    /// Members that single out one item of a list, and the place of the value in it.
    key: Option<(JsonMap<String, Json>, String)>,
    codec: Codec,
    absent: Absent,
    clear: Clear,
    /// The member of `{fields}` that carries it.
    member: String,
}

/// A value of TOML as JSON.
pub(super) fn json_of(value: &Toml) -> Option<Json> {
    Some(match value {
        Toml::String(text) => Json::String(text.clone()),
        Toml::Integer(number) => Json::from(*number),
        Toml::Boolean(truth) => Json::Bool(*truth),
        Toml::Array(items) => Json::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        Toml::Table(table) => {
            let members = table
                .iter()
                .map(|(key, value)| Some((key.clone(), json_of(value)?)));
            Json::Object(members.collect::<Option<_>>()?)
        }
        Toml::Float(_) | Toml::Datetime(_) => return None,
    })
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(text: &str) -> Result<String, FileError> {
    if text.is_empty() || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err(FileError::new(format!(
        "`{text}` is no JSON pointer; one begins with /"
    )))
}

fn codec(raw: &RawField) -> Result<Codec, FileError> {
    let named = Codec::named(&raw.codec).ok_or_else(|| {
        FileError::new(format!(
            "there is no codec `{}`; known: {}",
            raw.codec,
            Codec::NAMES
        ))
    })?;
    let json = |value: &Toml| {
        json_of(value)
            .ok_or_else(|| FileError::new("a stored value is a text, a number or a truth"))
    };
    let codec = match named {
        Codec::Text { .. } => Codec::Text { trim: raw.trim },
        Codec::Choice(_) => {
            let mut names = std::collections::BTreeMap::new();
            for (name, stored) in raw.values.iter().flatten() {
                let stored = json(stored)?;
                if names.values().any(|other| *other == stored) {
                    return Err(FileError::new(format!("values: two names for {stored}")));
                }
                names.insert(name.clone(), stored);
            }
            Codec::Choice(names)
        }
        Codec::DecimalText(_) => Codec::DecimalText(raw.decimals),
        Codec::Minor(_) => {
            let currency = raw.currency.clone().unwrap_or_default();
            if minor_digits(&currency).is_none() {
                return Err(FileError::new(
                    "`minor` needs currency = \"EUR\" or another of ISO 4217",
                ));
            }
            Codec::Minor(currency)
        }
        Codec::Boolean(_) => match raw.words.as_deref() {
            None => Codec::Boolean(None),
            Some([yes, no]) if yes != no => Codec::Boolean(Some((json(yes)?, json(no)?))),
            Some(_) => {
                return Err(FileError::new(
                    "words = [what means true, what means false]",
                ));
            }
        },
        other => other,
    };
    check_keys(raw, &codec)?;
    Ok(codec)
}

/// Refuses keys that mean nothing for a codec.
fn check_keys(raw: &RawField, codec: &Codec) -> Result<(), FileError> {
    let used = [
        (
            "values",
            raw.values.is_some(),
            matches!(codec, Codec::Choice(_)),
        ),
        (
            "words",
            raw.words.is_some(),
            matches!(codec, Codec::Boolean(_)),
        ),
        (
            "currency",
            raw.currency.is_some(),
            matches!(codec, Codec::Minor(_)),
        ),
        (
            "decimals",
            raw.decimals.is_some(),
            matches!(codec, Codec::DecimalText(_)),
        ),
        ("trim", raw.trim, matches!(codec, Codec::Text { .. })),
    ];
    match used.into_iter().find(|(_, given, fits)| *given && !fits) {
        Some((key, _, _)) => Err(FileError::new(format!(
            "`{key}` means nothing for `{}`",
            raw.codec
        ))),
        None => Ok(()),
    }
}

impl Field {
    pub(super) fn compile(name: &str, raw: &RawField) -> Result<Self, FileError> {
        let key = match (&raw.key, &raw.value) {
            (None, None) => None,
            (Some(key), Some(value)) => {
                let members = json_of(&Toml::Table(key.clone()));
                let Some(Json::Object(members)) = members else {
                    return Err(FileError::new("key = { id = 42 }"));
                };
                Some((members, pointer(value)?))
            }
            _ => return Err(FileError::new("`key` and `value` belong together")),
        };
        let at = pointer(&raw.at)?;
        let last = at.rsplit('/').next().unwrap_or_default();
        let member = raw.name.clone().unwrap_or_else(|| last.to_owned());
        if member.is_empty() {
            return Err(FileError::new(
                "`at` points at a member, such as /deal/stage",
            ));
        }
        let absent = match raw.absent.as_deref() {
            None | Some("error") => Absent::Error,
            Some("empty") => Absent::Empty,
            Some(_) => return Err(FileError::new("absent is \"error\" or \"empty\"")),
        };
        let clear = match raw.clear.as_deref() {
            None | Some("null") => Clear::Null,
            Some("") => Clear::EmptyText,
            Some("omit") => Clear::Omit,
            Some(_) => return Err(FileError::new("clear is \"null\", \"\" or \"omit\"")),
        };
        Ok(Self {
            name: name.to_owned(),
            at,
            key,
            codec: codec(raw)?,
            absent,
            clear,
            member,
        })
    }

    /// Its name on cards.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stands in an answer: a JSON pointer, or a column after a slash.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Whether an answer without it is an error.
    #[must_use]
    pub const fn must_be_there(&self) -> bool {
        matches!(self.absent, Absent::Error) && self.key.is_none()
    }

    /// How it is written.
    #[must_use]
    pub const fn codec(&self) -> &Codec {
        &self.codec
    }

    fn find<'a>(&self, body: &'a Json) -> Option<&'a Json> {
        let found = body.pointer(&self.at)?;
        let Some((key, value)) = &self.key else {
            return Some(found);
        };
        let fits = |item: &&Json| {
            key.iter()
                .all(|(name, wanted)| item.get(name) == Some(wanted))
        };
        found.as_array()?.iter().find(fits)?.pointer(value)
    }

    /// The value in an answer; null where nothing is.
    ///
    /// # Errors
    /// When the answer does not hold the field, or holds what its codec has no meaning for. The
    /// error names the field and shows what was found.
    pub fn read(&self, body: &Json) -> Result<Value, String> {
        match self.find(body) {
            Some(Json::Null) => Ok(Value::Null),
            Some(Json::String(text)) if text.is_empty() && self.clear == Clear::EmptyText => {
                Ok(Value::Null)
            }
            Some(found) => {
                let read = self.codec.decode(found);
                read.map_err(|why| format!("field {}: {why}", self.name))
            }
            None if self.absent == Absent::Empty => Ok(Value::Null),
            None => Err(format!(
                "field {}: the answer has nothing at {}; if the system leaves out what is empty, \
                 say absent = \"empty\"",
                self.name, self.at
            )),
        }
    }

    /// The value exactly as the system wrote it, whatever the codec makes of it; none where the
    /// answer does not hold the field.
    #[must_use]
    pub fn as_it_is(&self, body: &Json) -> Option<Value> {
        self.find(body).map(super::opaque)
    }

    /// The spelling of a value that a read will show.
    ///
    /// # Errors
    /// When it cannot be written here.
    pub fn canonical(&self, value: &Value) -> Result<Value, String> {
        if *value == Value::Null {
            return Ok(Value::Null);
        }
        let read = self.codec.canonical(value);
        let read = read.map_err(|why| format!("field {}: {why}", self.name))?;
        let empty = self.clear == Clear::EmptyText && read == Value::Text(String::new());
        Ok(if empty { Value::Null } else { read })
    }

    /// Puts a value into `{fields}`.
    ///
    /// # Errors
    /// When it cannot be written here.
    pub(in crate::system) fn write(
        &self,
        value: &Value,
        out: &mut JsonMap<String, Json>,
    ) -> Result<(), String> {
        let sent = match (value, self.clear) {
            (Value::Null, Clear::Null) => Json::Null,
            (Value::Null, Clear::EmptyText) => Json::String(String::new()),
            (Value::Null, Clear::Omit) => return Ok(()),
            (value, _) => {
                let sent = self.codec.encode(value);
                sent.map_err(|why| format!("field {}: {why}", self.name))?
            }
        };
        let Some((key, at)) = &self.key else {
            out.insert(self.member.clone(), sent);
            return Ok(());
        };
        let mut item = key.clone();
        item.insert(at.trim_start_matches('/').to_owned(), sent);
        let list = out
            .entry(self.member.clone())
            .or_insert_with(|| Json::Array(Vec::new()));
        if let Json::Array(items) = list {
            items.push(Json::Object(item));
        }
        Ok(())
    }
}
