//! Placeholders: `{target.id}`, `{fields}`, `{args.NAME}`, `{args.NAME.currency}`, `{decision.key}`
//! and `{step.N/pointer}`. Nothing else can be said, and a value never changes the shape around
//! it: in a path it is percent-encoded, in a body it stays a JSON value.

use serde_json::Value as Json;
use writ_proto::value::Value;

use super::file::FileError;
use crate::domain::plan::Plan;

/// What placeholders can name.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) plan: &'a Plan,
    /// Fields to write, mapped to the values of the system.
    pub(super) fields: &'a Json,
    /// Answers of the steps before.
    pub(super) answers: &'a [Json],
}

fn is_known(name: &str) -> bool {
    let argument = |rest: &str| {
        let parts: Vec<&str> = rest.split('.').collect();
        parts.len() <= 2 && parts.iter().all(|part| !part.is_empty())
    };
    matches!(
        name,
        "target.id" | "target.type" | "fields" | "decision.key"
    ) || name.strip_prefix("args.").is_some_and(argument)
        || name.strip_prefix("step.").is_some_and(|rest| {
            rest.split_once('/')
                .is_some_and(|(number, _)| number.parse::<usize>().is_ok())
        })
}

/// Refuses text with a placeholder that is not known or not closed.
pub(super) fn check_placeholders(text: &str) -> Result<(), FileError> {
    // TOML prints inline tables with braces and spaces; placeholders have no spaces.
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("\"{").or_else(|| split_path(rest)) {
        let name = after.split_once('}').map(|(name, _)| name);
        match name {
            Some(name) if is_known(name) => {}
            _ => {
                let shown: String = after.chars().take(40).collect();
                return Err(FileError(format!(
                    "unknown or open placeholder `{{{shown}`"
                )));
            }
        }
        rest = after;
    }
    Ok(())
}

/// Placeholders of paths stand anywhere, those of bodies are whole strings.
fn split_path(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('/') || text.contains("/{") || text.contains("={") {
        text.split_once("/{").or_else(|| text.split_once("={"))
    } else {
        None
    }
}

fn json(value: &Value) -> Json {
    serde_json::from_str(&value.to_json()).unwrap_or(Json::Null)
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Option<Json> {
        match name {
            "target.id" => return Some(Json::String(self.plan.id.clone())),
            "target.type" => return Some(Json::String(self.plan.object.clone())),
            "decision.key" => return Some(Json::String(self.plan.key.clone())),
            "fields" => return Some(self.fields.clone()),
            _ => {}
        }
        if let Some(argument) = name.strip_prefix("args.") {
            let (argument, inner) = argument.split_once('.').unwrap_or((argument, ""));
            let value = self.plan.args.get(argument)?;
            if inner.is_empty() {
                return Some(json(value));
            }
            return value.as_map().and_then(|map| map.get(inner)).map(json);
        }
        let (number, pointer) = name.strip_prefix("step.")?.split_once('/')?;
        let number = number.parse::<usize>().ok()?.checked_sub(1)?;
        self.answers
            .get(number)?
            .pointer(&format!("/{pointer}"))
            .cloned()
    }

    /// Part of an answer: a placeholder that names its step, or a pointer into the last one.
    pub(super) fn answer(&self, from: &str) -> Option<Json> {
        let name = from
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) => self.get(name),
            None => self.answers.last()?.pointer(from).cloned(),
        }
    }

    /// A path with its placeholders percent-encoded.
    pub(super) fn path(&self, template: &str) -> Option<String> {
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, tail) = after.split_once('}')?;
            let value = match self.get(name)? {
                Json::String(text) => text,
                Json::Number(number) => number.to_string(),
                _ => return None,
            };
            out.push_str(&percent_encoded(&value));
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }

    /// A body: a string that is one placeholder becomes the value itself.
    pub(super) fn body(&self, template: &toml::Value) -> Option<Json> {
        match template {
            toml::Value::String(text) => {
                let name = text
                    .strip_prefix('{')
                    .and_then(|rest| rest.strip_suffix('}'));
                name.map_or_else(|| Some(Json::String(text.clone())), |name| self.get(name))
            }
            toml::Value::Integer(number) => Some(Json::from(*number)),
            toml::Value::Boolean(truth) => Some(Json::Bool(*truth)),
            toml::Value::Array(items) => items
                .iter()
                .map(|item| self.body(item))
                .collect::<Option<_>>()
                .map(Json::Array),
            toml::Value::Table(table) => {
                let members = table
                    .iter()
                    .map(|(key, value)| Some((key.clone(), self.body(value)?)));
                members.collect::<Option<_>>().map(Json::Object)
            }
            toml::Value::Float(_) | toml::Value::Datetime(_) => None,
        }
    }
}

/// Everything but unreserved characters (RFC 3986 2.3) as `%XX`.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    // A segment of dots alone would climb.
    if out.bytes().all(|byte| byte == b'.') {
        out.replace('.', "%2E")
    } else {
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_inside_its_path_segment() {
        for (hostile, want) in [
            ("../admin", "..%2Fadmin"),
            ("..", "%2E%2E"),
            ("a?b#c", "a%3Fb%23c"),
            ("a\r\nHost: evil", "a%0D%0AHost%3A%20evil"),
            ("%2e%2e", "%252e%252e"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(percent_encoded(hostile), want);
        }
    }
}
