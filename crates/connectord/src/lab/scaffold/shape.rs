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

/// The types that a value may have, but for null; of a list those of its items too.
pub(super) fn types_of(document: &Document, schema: &Json) -> Vec<String> {
    let named = |schema: &Json, before: &str| -> Vec<String> {
        let parts = document.parts(schema).into_iter();
        let own = parts.flat_map(types).filter(|one| *one != "null");
        own.map(|one| format!("{before}{one}")).collect()
    };
    let mut all = named(schema, "");
    for part in document.parts(schema) {
        let items = part.get("items").map(|items| named(items, "list of "));
        all.extend(items.into_iter().flatten());
    }
    all.sort_unstable();
    all.dedup();
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

/// The least and the most that a whole number may be: within all that holds at once, and within what its alternatives span.
fn range(document: &Document, schema: &Json) -> (Option<i64>, Option<i64>) {
    let low = |parts: &[&Json]| {
        bounds(parts, ("minimum", "exclusiveMinimum"), 1)
            .into_iter()
            .max()
    };
    let high = |parts: &[&Json]| {
        bounds(parts, ("maximum", "exclusiveMaximum"), -1)
            .into_iter()
            .min()
    };
    let all = document.conjuncts(schema);
    let numbers = document.alternatives(schema).into_iter();
    let numbers: Vec<Vec<&Json>> = numbers
        .filter(|own| !own.iter().any(|part| types(part).contains(&"null")))
        .collect();
    // One alternative without a bound leaves none.
    let span = |each: Vec<Option<i64>>| each.into_iter().collect::<Option<Vec<i64>>>();
    let least = span(numbers.iter().map(|own| low(own)).collect());
    let most = span(numbers.iter().map(|own| high(own)).collect());
    let least = least.and_then(|all| all.into_iter().min());
    let most = most.and_then(|all| all.into_iter().max());
    let lows = [low(&all), least].into_iter().flatten();
    let highs = [high(&all), most].into_iter().flatten();
    (lows.max(), highs.min())
}

/// Whether a text may be anything, by one of its alternatives.
fn is_free(document: &Document, schema: &Json) -> bool {
    let outer = document.conjuncts(schema);
    let outer = outer.iter().any(|part| types(part).contains(&"string"));
    let free = |own: &Vec<&Json>| {
        let mut kinds = own.iter().flat_map(|part| types(part)).peekable();
        let is_text = match kinds.peek() {
            None => outer,
            Some(_) => kinds.any(|kind| kind == "string"),
        };
        is_text
            && own
                .iter()
                .all(|part| part.get("enum").is_none() && part.get("const").is_none())
    };
    document.alternatives(schema).iter().any(free)
}

/// The words that a text is one of: those that all lists have that hold at once, or those of its alternatives.
fn words(document: &Document, schema: &Json, parts: &[&Json]) -> Vec<String> {
    let listed = |parts: &[&Json]| -> Vec<Vec<String>> {
        let lists = parts.iter().filter_map(|part| part.get("enum")?.as_array());
        let texts = lists.map(|list| {
            list.iter()
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect()
        });
        texts.collect()
    };
    let all = listed(&document.conjuncts(schema));
    if let Some((first, others)) = all.split_first() {
        let common = first
            .iter()
            .filter(|word| others.iter().all(|other| other.contains(word)));
        return common.cloned().collect();
    }
    if is_free(document, schema) {
        return Vec::new();
    }
    let mut words = listed(parts).concat();
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// Formats that only say how wide a number is.
const WIDTHS: [&str; 4] = ["int32", "int64", "float", "double"];

/// What narrows a value and is carried by no argument of that shape.
fn dropped(shape: &Shape, parts: &[&Json], free: bool) -> Vec<&'static str> {
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
    let is_said = |key: &&str| {
        let values = parts.iter().filter_map(|part| part.get(key));
        let narrows = |value: &Json| match *key {
            // A list of words beside an alternative that may be anything narrows nothing.
            "enum" | "const" => !free,
            "format" => !value.as_str().is_some_and(|width| WIDTHS.contains(&width)),
            _ => true,
        };
        values.into_iter().any(narrows)
    };
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
    let mut more = Vec::new();
    let shape = match kind {
        Some("string") | None if !words.is_empty() => Shape::Choice(words),
        Some("string") => match find("format").and_then(Json::as_str) {
            Some("date") => Shape::Date,
            Some("date-time") => Shape::Timestamp,
            _ => {
                let lengths = parts
                    .iter()
                    .filter_map(|part| part.get("maxLength")?.as_u64());
                Shape::Text(lengths.min())
            }
        },
        Some("integer") => {
            let (least, most) = range(document, schema);
            Shape::Integer(least, most)
        }
        Some("number") => Shape::Decimal,
        Some("boolean") => Shape::Boolean,
        Some("array") => {
            let items = find("items").ok_or("a list of something that is not described")?;
            let is_list = |part: &Json| types(part).contains(&"array");
            let item = match document.parts(items).iter().any(|part| is_list(part)) {
                true => None,
                false => Some(said(document, items)?),
            };
            let item = item.map(|item| {
                more.extend(item.dropped);
                item.shape
            });
            match item {
                Some(item @ (Shape::Text(_) | Shape::Choice(_))) => Shape::List(Box::new(item)),
                _ => return Err("a list of something else than texts".to_owned()),
            }
        }
        Some(other) => return Err(format!("it is of type {other}, which no argument carries")),
        None => return Err("the description does not say what it is".to_owned()),
    };
    let free = is_free(document, schema);
    let mut dropped = dropped(&shape, &parts, free);
    dropped.extend(
        more.into_iter()
            .filter(|key| !dropped.contains(key))
            .collect::<Vec<_>>(),
    );
    Ok(Said {
        dropped,
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

#[cfg(test)]
mod tests;
