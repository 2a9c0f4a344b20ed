//! A system file: how one kind of system performs each verb on each object type, as data that is
//! checked when it is loaded. There is no script, no expression, no DELETE and no free URL.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::template::check_placeholders;

/// A checked system file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemFile {
    /// Name of the kind.
    pub kind: String,
    /// Only `http_json` in this version.
    pub driver: String,
    /// How the credential is shown.
    pub auth: Auth,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON pointer to the message of an error answer.
    #[serde(default)]
    pub error_message: String,
    /// Object types.
    pub object: BTreeMap<String, ObjectFile>,
}

/// How the credential is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// `Authorization: Bearer SECRET`.
    Bearer,
    /// `Authorization: Basic`, the secret is `user:password`.
    Basic,
}

/// One object type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectFile {
    /// The whole id must match.
    pub id: String,
    /// How a record is read.
    pub read: ReadFile,
    /// Names that agents know to values the system stores, by field.
    #[serde(default)]
    pub values: BTreeMap<String, BTreeMap<String, toml::Value>>,
    /// How records are found by a signal, by the name of the argument that carries it.
    #[serde(default)]
    pub find: BTreeMap<String, FindFile>,
    /// Fields read beside the declared ones; changes there are reported.
    #[serde(default)]
    pub watch: Vec<String>,
    /// Verbs.
    #[serde(default)]
    pub verb: BTreeMap<String, VerbFile>,
}

/// How a record is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    /// `GET /path/{target.id}`.
    pub request: String,
    /// JSON pointer to the object of fields.
    pub fields: String,
    /// `header:ETag`, or a JSON pointer.
    pub version: String,
    /// Pointer inside a field, for systems that answer `{"id": .., "name": ..}`.
    #[serde(default)]
    pub inside: BTreeMap<String, String>,
}

/// How records are found by one signal, exactly.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindFile {
    /// `GET /path?field={args.NAME}`.
    pub request: String,
    /// JSON pointer to the list.
    #[serde(default)]
    pub found: String,
    /// JSON pointer to the id in an item of the list.
    pub id: String,
}

/// How a verb is performed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerbFile {
    /// The calls, in order; only the last may change the target.
    pub step: Vec<StepFile>,
    /// Header of the idempotency key, if the system honours one.
    #[serde(default)]
    pub idempotency: Option<String>,
    /// How to look whether a write of unknown outcome has happened.
    #[serde(default)]
    pub reconcile: Option<Reconcile>,
    /// Pointer to the list in the answer of a search.
    #[serde(default)]
    pub found: String,
    /// Id of a created record: a pointer into the answer of the last step, or `{step.N/pointer}`.
    #[serde(default)]
    pub created: Option<String>,
}

/// `after_image`, or searches that all find something if the write has happened: the first lists
/// what the key made, such as `GET /path?key={decision.key}`; a later one may name answers of the
/// ones before.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Reconcile {
    /// One line.
    One(String),
    /// Several.
    All(Vec<String>),
}

/// The word for a look at the fields of the target instead of a search.
const AFTER_IMAGE: &str = "after_image";

impl Reconcile {
    /// The searches.
    #[must_use]
    pub const fn searches(&self) -> &[String] {
        match self {
            Self::One(line) => std::slice::from_ref(line),
            Self::All(lines) => lines.as_slice(),
        }
    }

    /// Whether the fields of the target tell it, without a search.
    #[must_use]
    pub fn is_after_image(&self) -> bool {
        matches!(self, Self::One(line) if line == AFTER_IMAGE)
    }

    fn check(&self) -> Result<(), FileError> {
        let lines = self.searches();
        if lines.is_empty() || lines.len() > STEPS_MAX {
            return Err(FileError(format!("reconcile has 1 to {STEPS_MAX} lines")));
        }
        if !self.is_after_image() {
            for line in lines {
                request_line(line, &METHODS_READ)?;
            }
        }
        Ok(())
    }
}

/// One call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFile {
    /// `POST /path` or `PATCH /path`.
    pub request: String,
    /// The body, with placeholders.
    pub body: toml::Value,
    /// Send `If-Match` with the version; refused without one.
    #[serde(default)]
    pub if_match: bool,
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(pub String);

const METHODS_READ: [&str; 1] = ["GET"];
const METHODS_WRITE: [&str; 3] = ["POST", "PATCH", "PUT"];
const STEPS_MAX: usize = 4;

impl SystemFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let file: Self = toml::from_str(text).map_err(|error| FileError(error.to_string()))?;
        if file.driver != "http_json" {
            return Err(FileError(format!(
                "there is no driver `{}`; use http_json",
                file.driver
            )));
        }
        for (name, object) in &file.object {
            object
                .check()
                .map_err(|error| FileError(format!("object.{name}: {}", error.0)))?;
        }
        Ok(file)
    }
}

/// Method and path of a request line.
///
/// # Errors
/// When the method is not allowed here or the path is not absolute.
pub fn request_line<'a>(line: &'a str, methods: &[&str]) -> Result<(&'a str, &'a str), FileError> {
    let (method, path) = line
        .split_once(' ')
        .ok_or_else(|| FileError(format!("`{line}` is not like `GET /path`")))?;
    if !methods.contains(&method) {
        let allowed = methods.join(", ");
        return Err(FileError(format!(
            "`{method}` is not allowed here, only {allowed}"
        )));
    }
    let clean = path.starts_with('/') && !path.contains("//") && !path.contains('*');
    if !clean || path.contains("..") || path.chars().any(char::is_whitespace) {
        return Err(FileError(format!(
            "`{path}` is not an absolute path without wildcards"
        )));
    }
    check_placeholders(path)?;
    Ok((method, path))
}

impl ObjectFile {
    fn check(&self) -> Result<(), FileError> {
        self.id_pattern()?;
        request_line(&self.read.request, &METHODS_READ)?;
        for (name, find) in &self.find {
            let wrong = |error: FileError| FileError(format!("find.{name}: {}", error.0));
            request_line(&find.request, &METHODS_READ).map_err(wrong)?;
        }
        for (name, verb) in &self.verb {
            let wrong = |error: FileError| FileError(format!("verb.{name}: {}", error.0));
            if verb.step.is_empty() || verb.step.len() > STEPS_MAX {
                return Err(wrong(FileError(format!(
                    "a verb has 1 to {STEPS_MAX} steps"
                ))));
            }
            for step in &verb.step {
                request_line(&step.request, &METHODS_WRITE).map_err(wrong)?;
                check_placeholders(&step.body.to_string()).map_err(wrong)?;
            }
            if let Some(reconcile) = &verb.reconcile {
                reconcile.check().map_err(wrong)?;
            }
            if let Some(created) = &verb.created {
                // In quotes, as in the text of a body, where placeholders are whole strings.
                check_placeholders(&format!("\"{created}\"")).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// The pattern that a whole id must match.
    ///
    /// # Errors
    /// When it is no pattern.
    pub fn id_pattern(&self) -> Result<Regex, FileError> {
        Regex::new(&format!("^(?:{})$", self.id)).map_err(|error| FileError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
kind = "x"
driver = "http_json"
auth = "bearer"
[object.deal]
id = "[0-9]+"
read = { request = "GET /deals/{target.id}", fields = "", version = "header:ETag" }
[object.deal.verb.update_fields]
step = [{ request = "PATCH /deals/{target.id}", body = "{fields}", if_match = true }]
"#;

    #[test]
    fn a_file_that_could_do_more_than_it_should_is_refused() {
        assert!(SystemFile::parse(FILE).is_ok());
        for (from, to, expected) in [
            ("PATCH /deals", "DELETE /deals", "not allowed here"),
            ("GET /deals", "POST /deals", "not allowed here"),
            (
                "/deals/{target.id}\", fields",
                "/deals/*\", fields",
                "wildcards",
            ),
            ("GET /deals/", "GET https://evil/", "absolute path"),
            ("GET /deals/", "GET //evil/", "absolute path"),
            ("{fields}", "{env.SECRET}", "placeholder"),
            ("{fields}", "{fields", "placeholder"),
            ("if_match", "if_mach", "if_mach"),
            ("\"http_json\"", "\"shell\"", "no driver"),
            ("\"[0-9]+\"", "\"[0-9\"", "regex"),
        ] {
            assert!(FILE.contains(from), "{from}");
            let error = SystemFile::parse(&FILE.replacen(from, to, 1)).expect_err(expected);
            assert!(error.0.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn a_doubt_is_settled_by_the_record_or_by_searches_that_only_read() {
        let with = |line: &str| SystemFile::parse(&format!("{FILE}{line}\n"));
        for good in [
            "reconcile = \"after_image\"",
            "reconcile = \"GET /notes?key={decision.key}\"",
            "reconcile = [\"GET /n?key={decision.key}\", \"GET /d?n={step.1/found/0/id}\"]",
            "created = \"/id\"",
            "created = \"{step.1/id}\"",
        ] {
            assert!(with(good).is_ok(), "{good}: {:?}", with(good));
        }
        for (bad, expected) in [
            ("reconcile = []", "1 to 4"),
            ("reconcile = [\"after_image\", \"GET /n\"]", "not like"),
            ("reconcile = [\"GET /n\", \"POST /n\"]", "not allowed here"),
            ("reconcile = \"GET /n?key={env.SECRET}\"", "placeholder"),
            ("created = \"{env.SECRET}\"", "placeholder"),
        ] {
            let error = with(bad).expect_err(bad);
            assert!(error.0.contains(expected), "{bad}: {error}");
        }
    }

    #[test]
    fn the_system_files_that_are_shipped_are_sound() {
        for text in [
            include_str!("../../../../deploy/systems/sandbox.toml"),
            include_str!("../../../../deploy/systems/roundup.toml"),
        ] {
            assert_eq!(SystemFile::parse(text).map(|_| ()), Ok(()));
        }
    }
}
