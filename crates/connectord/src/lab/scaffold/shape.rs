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
    /// What else is said of it, which no argument carries.
    pub(super) dropped: Vec<&'static str>,
}

/// Keywords that narrow a value.
const NARROWING: [&str; 12] = [
    "pattern",
    "minLength",
    "maxLength",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "enum",
    "const",
    "not",
];
const NARROWING_LISTS: [&str; 5] = [
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "prefixItems",
];

fn types(part: &Json) -> Vec<&str> {
    match part.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value may be null.
pub(super) fn may_be_empty(document: &Document, schema: &Json) -> bool {
    let parts = document.parts(schema);
    parts.iter().any(|part| {
        types(part).contains(&"null") || part.get("nullable") == Some(&Json::Bool(true))
    })
}

/// The types of a value, whatever else is said of it, and whether it may be empty.
pub(super) fn types_of(document: &Document, schema: &Json) -> Vec<String> {
    let parts = document.parts(schema);
    let mut all: Vec<String> = parts
        .iter()
        .flat_map(|part| types(part))
        .map(str::to_owned)
        .collect();
    all.sort_unstable();
    all.dedup();
    all.retain(|one| one != "null");
    all
}

/// The bounds of whole numbers that are said: OpenAPI 3.1 has exclusive ones beside them, 3.0 says of them that they are.
fn bounds(parts: &[&Json], (key, exclusive): (&str, &str), step: i64) -> Vec<i64> {
    let mut all = Vec::new();
    for part in parts {
        let own = part.get(key).and_then(Json::as_i64);
        match part.get(exclusive) {
            Some(Json::Bool(true)) => all.extend(own.map(|own| own.saturating_add(step))),
            Some(other) => {
                all.extend(other.as_i64().map(|own| own.saturating_add(step)));
                all.extend(own);
            }
            None => all.extend(own),
        }
    }
    all
}

/// The words that a text is one of; none where it may be anything, or one of a few words as well.
fn words(document: &Document, schema: &Json, parts: &[&Json]) -> Vec<String> {
    let is_free = |own: &Vec<&Json>| {
        let is_text = own.iter().any(|part| types(part).contains(&"string"));
        is_text && own.iter().all(|part| part.get("enum").is_none())
    };
    if document.alternatives(schema).iter().any(is_free) {
        return Vec::new();
    }
    let listed = parts.iter().find_map(|part| part.get("enum")?.as_array());
    let words = listed.into_iter().flatten().filter_map(Json::as_str);
    words.map(str::to_owned).collect()
}

/// What narrows a value and is carried by no argument of that shape.
fn dropped(shape: &Shape, parts: &[&Json]) -> Vec<&'static str> {
    let carried: &[&str] = match shape {
        Shape::Text(_) => &["maxLength"],
        Shape::Choice(_) => &["enum"],
        Shape::Integer(..) => &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
        Shape::Date | Shape::Timestamp => &["format"],
        Shape::Decimal | Shape::Boolean | Shape::List(_) => &[],
    };
    let of_lists = matches!(shape, Shape::List(_));
    let lists = NARROWING_LISTS.into_iter().filter(|_| of_lists);
    let all = NARROWING.into_iter().chain(lists);
    let is_said = |key: &&str| parts.iter().any(|part| part.get(key).is_some());
    all.filter(|key| !carried.contains(key) && is_said(key))
        .collect()
}

/// What a schema says of a value.
///
/// # Errors
/// Why no argument can carry it.
pub(super) fn said(document: &Document, schema: &Json) -> Result<Said, String> {
    let parts = document.parts(schema);
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
    let words = words(document, schema, &parts);
    let shape = match kind {
        Some("string") | None if !words.is_empty() => Shape::Choice(words),
        Some("string") => match find("format").and_then(Json::as_str) {
            Some("date") => Shape::Date,
            Some("date-time") => Shape::Timestamp,
            _ => Shape::Text(find("maxLength").and_then(Json::as_u64)),
        },
        Some("integer") => Shape::Integer(
            bounds(&parts, ("minimum", "exclusiveMinimum"), 1)
                .into_iter()
                .max(),
            bounds(&parts, ("maximum", "exclusiveMaximum"), -1)
                .into_iter()
                .min(),
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
    Ok(Said {
        dropped: dropped(&shape, &parts),
        shape,
        is_empty: may_be_empty(document, schema),
    })
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
