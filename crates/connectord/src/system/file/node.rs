//! Bodies: what stands in them, parsed once and filled for each call. A value never changes the shape
//! around it.

use serde_json::{Map as JsonMap, Value as Json};
use toml::Value as Toml;

use super::FileError;
use super::exchange::encoded;
use super::field::json_of;
use super::slot::{Scope, Slot, Template};

/// Most members of one body, at all levels.
pub(super) const NODES_MAX: usize = 500;

/// A part of a body.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(Json),
    /// One slot alone: the value itself, with its type.
    Slot(Slot),
    Text(Template),
    List(Vec<Node>),
    /// Members; `...` puts the members of `{fields}` among them.
    Object(Vec<(String, Node)>, bool),
}

/// Reads a part of a body.
pub(super) fn node(value: &Toml, left: &mut usize) -> Result<Node, FileError> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| FileError::new(format!("a body has at most {NODES_MAX} members")))?;
    match value {
        Toml::String(text) => {
            let template = Template::parse(text)?;
            if template.slots().any(|slot| *slot == Slot::Fields) && template.only().is_none() {
                return Err(FileError::new(
                    "{fields} stands alone: it is an object, not a text",
                ));
            }
            Ok(match (template.only(), template.literal()) {
                (Some(slot), _) => Node::Slot(slot.clone()),
                (None, Some(text)) => Node::Constant(Json::String(text.to_owned())),
                (None, None) => Node::Text(template),
            })
        }
        Toml::Array(items) => {
            let items: Result<Vec<Node>, FileError> =
                items.iter().map(|item| node(item, left)).collect();
            Ok(Node::List(items?))
        }
        Toml::Table(table) => {
            let mut members = Vec::new();
            let mut spread = false;
            for (key, value) in table {
                if key == "..." {
                    if value.as_str() != Some("{fields}") {
                        return Err(FileError::new(
                            "\"...\" = \"{fields}\" is all that can be spread",
                        ));
                    }
                    spread = true;
                } else {
                    members.push((key.clone(), node(value, left)?));
                }
            }
            Ok(Node::Object(members, spread))
        }
        other => json_of(other)
            .map(Node::Constant)
            .ok_or_else(|| FileError::new("write a decimal or a time as a text in quotes")),
    }
}

impl Node {
    pub(super) fn slots(&self, out: &mut Vec<Slot>) {
        match self {
            Self::Constant(_) => {}
            Self::Slot(slot) => out.push(slot.clone()),
            Self::Text(template) => out.extend(template.slots().cloned()),
            Self::List(items) => items.iter().for_each(|item| item.slots(out)),
            Self::Object(members, spread) => {
                members.iter().for_each(|(_, member)| member.slots(out));
                out.extend(spread.then_some(Slot::Fields));
            }
        }
    }

    /// The value; none where a slot has none, which drops the member that holds it.
    pub(super) fn fill(&self, scope: &impl Scope) -> Option<Json> {
        Some(match self {
            Self::Constant(json) => json.clone(),
            Self::Slot(slot) => scope.get(slot)?,
            Self::Text(template) => Json::String(template.plain(scope)?),
            Self::List(items) => {
                Json::Array(items.iter().filter_map(|item| item.fill(scope)).collect())
            }
            Self::Object(members, spread) => {
                let mut object = JsonMap::new();
                if *spread && let Some(Json::Object(fields)) = scope.get(&Slot::Fields) {
                    object.extend(fields);
                }
                for (name, member) in members {
                    if let Some(value) = member.fill(scope) {
                        object.insert(name.clone(), value);
                    }
                }
                Json::Object(object)
            }
        })
    }
}

/// `a[b][c]=1`, the way that forms nest.
pub(super) fn form(value: &Json, name: &str, out: &mut Vec<String>) {
    let inner = |part: &str| {
        if name.is_empty() {
            part.to_owned()
        } else {
            format!("{name}[{part}]")
        }
    };
    match value {
        Json::Object(members) => members
            .iter()
            .for_each(|(key, value)| form(value, &inner(key), out)),
        Json::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| form(item, &inner(&at.to_string()), out));
        }
        Json::Null => out.push(format!("{}=", encoded(name))),
        Json::String(text) => out.push(format!("{}={}", encoded(name), encoded(text))),
        Json::Bool(_) | Json::Number(_) => {
            out.push(format!("{}={}", encoded(name), encoded(&value.to_string())));
        }
    }
}
