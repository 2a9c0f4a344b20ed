//! What a value is, by its schema (JSON Schema 2020-12, as OpenAPI uses it).

use serde_json::Value as Json;

use super::openapi::Document;

/// What one value may be, as far as an argument of a card can say it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Of at most so many characters, where that is said.
    Text(Option<u64>),
    Choice(Vec<String>),
    Integer(Option<i64>, Option<i64>),
    Decimal,
    Boolean,
    Date,
    Timestamp,
    /// Of texts, or of a few of them.
    List(Box<Shape>),
}

/// What is said of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) shape: Shape,
    /// Whether it may be empty.
    pub(super) is_empty: bool,
}

fn types(part: &Json) -> Vec<&str> {
    match part.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A bound of whole numbers: OpenAPI 3.1 has an exclusive one beside it, 3.0 says of it that it is exclusive.
fn bound<'a>(
    find: &impl Fn(&str) -> Option<&'a Json>,
    (key, exclusive): (&str, &str),
    step: i64,
) -> Option<i64> {
    let own = find(key).and_then(Json::as_i64);
    match find(exclusive) {
        Some(Json::Bool(true)) => own.map(|own| own.saturating_add(step)),
        Some(other) => other.as_i64().map(|own| own.saturating_add(step)).or(own),
        None => own,
    }
}

/// What a schema says of a value.
///
/// # Errors
/// Why no argument can carry it.
pub(super) fn said(document: &Document, schema: &Json) -> Result<Said, String> {
    let parts = document.parts(schema);
    let is_null = |part: &&Json| {
        types(part).contains(&"null") || part.get("nullable") == Some(&Json::Bool(true))
    };
    let is_empty = parts.iter().any(is_null);
    let truth = |key: &str| {
        parts
            .iter()
            .any(|part| part.get(key) == Some(&Json::Bool(true)))
    };
    if truth("readOnly") {
        return Err("the description says that it is only read".to_owned());
    }
    let kinds = parts.iter().flat_map(|part| types(part));
    let kind = kinds.into_iter().find(|kind| *kind != "null");
    let find = |key: &str| parts.iter().find_map(|part| part.get(key));
    // A text that may be anything, or one of a few words, may be anything.
    let is_free = |part: &Json| types(part).contains(&"string") && part.get("enum").is_none();
    let listed = find("enum").and_then(Json::as_array);
    let listed = listed.filter(|_| !parts.iter().any(|part| is_free(part)) || parts.len() == 1);
    let words: Vec<String> = listed
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect();
    let shape = match kind {
        Some("string") | None if !words.is_empty() => Shape::Choice(words),
        Some("string") => match find("format").and_then(Json::as_str) {
            Some("date") => Shape::Date,
            Some("date-time") => Shape::Timestamp,
            _ => Shape::Text(find("maxLength").and_then(Json::as_u64)),
        },
        Some("integer") => Shape::Integer(
            bound(&find, ("minimum", "exclusiveMinimum"), 1),
            bound(&find, ("maximum", "exclusiveMaximum"), -1),
        ),
        Some("number") => Shape::Decimal,
        Some("boolean") => Shape::Boolean,
        Some("array") => {
            let items = find("items").ok_or("a list of something that is not described")?;
            let is_list = |part: &Json| types(part).contains(&"array");
            let item = match document.parts(items).iter().any(|part| is_list(part)) {
                true => None,
                false => Some(said(document, items)?.shape),
            };
            match item {
                Some(item @ (Shape::Text(_) | Shape::Choice(_))) => Shape::List(Box::new(item)),
                _ => return Err("a list of something else than texts".to_owned()),
            }
        }
        Some(other) => return Err(format!("it is of type {other}, which no argument carries")),
        None => return Err("the description does not say what it is".to_owned()),
    };
    Ok(Said { shape, is_empty })
}

impl Shape {
    /// The codec of a system file.
    pub(super) const fn codec(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Choice(_) => "choice",
            Self::Integer(..) => "integer",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "datetime",
            Self::List(_) => "list",
        }
    }
}
