//! One request, and what its answer must hold. Reads, finds, prepare steps, writing steps and
//! look-ups are all exchanges, built and judged by the same code.

pub(crate) mod answer;
pub(crate) mod look;
pub(crate) mod scopes;
pub(crate) mod settle;
pub(crate) mod text;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use toml::Value as Toml;

use super::field::{json_of, pointer};
use super::node::{NODES_MAX, Node, form, node};
use super::raw::{RawExchange, Texts};
use super::slot::{Scope, Slot, Template};
use super::{Encoding, FileError, VersionAt};

/// What stays as it is inside a segment of a path, a query or a form (RFC 3986 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Headers that belong to the client or to the credential.
const HEADERS_KEPT: [&str; 8] = [
    "authorization",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "cookie",
    "proxy-authorization",
];

/// Method, path and query of a request line.
type Line = (&'static str, Template, Vec<(String, Template)>);

/// Percent-encodes a value for one segment of a path, or for a query.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// What a request carries.
#[derive(Debug, Clone)]
enum Body {
    None,
    Json(Node),
    Form(Node),
    Graphql(String, Node),
}

/// What an answer must hold to be one: a value at a pointer, one of these if any is named.
#[derive(Debug, Clone)]
struct Expect {
    at: String,
    one_of: Vec<Json>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Exchange {
    method: &'static str,
    path: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    body: Body,
    expect: Vec<Expect>,
    created: Option<Created>,
    version: Option<VersionAt>,
}

/// Where the id of a created record stands.
#[derive(Debug, Clone)]
enum Created {
    At(String),
    Slot(Slot),
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(String),
    /// `application/x-www-form-urlencoded`.
    Form(String),
}

/// A request as it goes out, but for the credential and the headers of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PATCH` or `PUT`.
    pub method: &'static str,
    /// Path under the base URL, encoded.
    pub path: String,
    /// Query without its question mark, encoded, or nothing.
    pub query: String,
    /// Headers of this request alone.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Sent,
}

impl Request {
    /// The request as people read it; no credential is in it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut text = format!("{} {}", self.method, self.path);
        if !self.query.is_empty() {
            text.push('?');
            text.push_str(&self.query);
        }
        for (name, value) in &self.headers {
            text.push_str(&format!(" [{name}: {value}]"));
        }
        match &self.body {
            Sent::Nothing => {}
            Sent::Json(body) | Sent::Form(body) => {
                text.push(' ');
                text.push_str(body);
            }
        }
        text
    }
}

fn method(name: &str, reads: bool) -> Result<&'static str, FileError> {
    let allowed: &[&str] = if reads {
        &["GET"]
    } else {
        &["POST", "PATCH", "PUT"]
    };
    let known = ["GET", "POST", "PATCH", "PUT"]
        .into_iter()
        .find(|known| *known == name);
    match known {
        Some(method) if allowed.contains(&method) => Ok(method),
        _ => Err(FileError::new(format!(
            "`{name}` is not allowed here, only {}",
            allowed.join(", ")
        ))),
    }
}

/// A path without anything to fill, under the base URL.
pub(super) fn plain_path(path: &str) -> Result<String, FileError> {
    let (_, template, query) = request_line(&format!("POST {path}"), false)?;
    if path.contains(['?', '{']) || !query.is_empty() || template.slots().count() > 0 {
        return Err(FileError::new(format!("`{path}` is no plain path")));
    }
    Ok(path.to_owned())
}

fn request_line(line: &str, reads: bool) -> Result<Line, FileError> {
    let (name, target) = line
        .split_once(' ')
        .ok_or_else(|| FileError::new(format!("`{line}` is not like `GET /path`")))?;
    let method = method(name, reads)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let dots = path
        .split('/')
        .any(|segment| segment == "." || segment == "..");
    let clean =
        path.starts_with('/') && !path.contains("//") && !path.contains(['*', '%', '#', '\\']);
    if !clean || dots {
        return Err(FileError::new(format!(
            "`{path}` is not a plain absolute path"
        )));
    }
    let template = Template::parse(path)?;
    // Outside of braces nothing is encoded, so a space would end the line.
    let outside = template.slots().count() > 0 || !path.chars().any(char::is_whitespace);
    if !outside {
        return Err(FileError::new(format!("`{path}` holds a space")));
    }
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((name.to_owned(), Template::parse(value)?));
    }
    Ok((method, template, pairs))
}

fn expectations(raw: Option<&Toml>) -> Result<Vec<Expect>, FileError> {
    let present = |at: &str| {
        Ok(Expect {
            at: pointer(at)?,
            one_of: Vec::new(),
        })
    };
    match raw {
        None => Ok(Vec::new()),
        Some(Toml::String(at)) => Ok(vec![present(at)?]),
        Some(Toml::Array(all)) => {
            let text = |at: &Toml| {
                at.as_str()
                    .map_or_else(|| Err(FileError::new("expect = [\"/id\"]")), present)
            };
            all.iter().map(text).collect()
        }
        Some(Toml::Table(table)) => table.iter().map(expectation).collect(),
        Some(_) => Err(FileError::new(
            "expect is a pointer, a list of pointers, or { \"/status\" = [\"ok\"] }",
        )),
    }
}

fn expectation((at, wanted): (&String, &Toml)) -> Result<Expect, FileError> {
    let all = match wanted {
        Toml::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    let one_of: Option<Vec<Json>> = all.iter().map(json_of).collect();
    let one_of = one_of.filter(|all| !all.is_empty());
    let one_of =
        one_of.ok_or_else(|| FileError::new("an expected value is a text, a number or a truth"))?;
    Ok(Expect {
        at: pointer(at)?,
        one_of,
    })
}

fn body(raw: &RawExchange, encoding: Encoding) -> Result<Body, FileError> {
    let left = &mut { NODES_MAX };
    match (encoding, &raw.body, &raw.document) {
        (Encoding::Graphql, None, Some(document)) => {
            let variables = Toml::Table(raw.variables.clone().unwrap_or_default());
            Ok(Body::Graphql(document.clone(), node(&variables, left)?))
        }
        (Encoding::Graphql, _, _) => Err(FileError::new(
            "a GraphQL request has `document` and `variables`, and no `body`",
        )),
        (_, _, Some(_)) => Err(FileError::new("`document` is for encode = \"graphql\"")),
        (_, None, None) if raw.variables.is_some() => {
            Err(FileError::new("`variables` are for encode = \"graphql\""))
        }
        (_, None, None) => Ok(Body::None),
        (Encoding::Json, Some(body), None) => Ok(Body::Json(node(body, left)?)),
        (Encoding::Form, Some(body @ Toml::Table(_)), None) => Ok(Body::Form(node(body, left)?)),
        (Encoding::Form, Some(_), None) => Err(FileError::new("the body of a form is a table")),
    }
}

/// What an earlier answer was to hold is there: left out, it would make another request.
pub(in crate::system) fn answered<'a>(
    mut slots: impl Iterator<Item = &'a Slot>,
    scope: &impl Scope,
) -> Result<(), String> {
    let missing = slots.find_map(|slot| {
        let (of, number, at) = match slot {
            Slot::Prepare(number, at) => ("prepare", number, at),
            Slot::Step(number, at) => ("step", number, at),
            _ => return None,
        };
        let is_there = scope.get(slot).is_some();
        (!is_there).then(|| format!("the answer to {of} {number} has nothing at {at}"))
    });
    missing.map_or(Ok(()), Err)
}

impl Exchange {
    /// Compiles a request that only reads, or one that writes. A read by POST says so itself
    /// (`reads = true`), where the system offers no other.
    pub(super) fn compile(
        raw: &RawExchange,
        encoding: Encoding,
        writes: bool,
    ) -> Result<Self, FileError> {
        // What such a system answers beside GraphQL is asked by a plain GET.
        let plain = !writes && raw.document.is_none() && raw.request.starts_with("GET ");
        let encoding = if plain { Encoding::Json } else { encoding };
        let by_post = encoding == Encoding::Graphql || raw.reads == Some(true);
        let (method, path, query) = request_line(&raw.request, !writes && !by_post)?;
        if (by_post && !writes || encoding == Encoding::Graphql) && method != "POST" {
            return Err(FileError::new(
                "a read by POST, and what is GraphQL, is a POST",
            ));
        }
        if encoding == Encoding::Graphql && !writes {
            let document = raw.document.as_deref().unwrap_or_default().trim_start();
            if !document.starts_with("query") {
                return Err(FileError::new(
                    "a document that only reads begins with `query`",
                ));
            }
        }
        let mut headers = Vec::new();
        for (name, value) in &raw.headers {
            headers.push((header_name(name)?, Template::parse(value)?));
        }
        let created = raw.created.as_deref().map(created).transpose()?;
        let exchange = Self {
            method,
            path,
            query,
            headers,
            body: body(raw, encoding)?,
            expect: expectations(raw.expect.as_ref())?,
            created,
            version: raw.version.as_deref().map(VersionAt::parse).transpose()?,
        };
        if !writes && matches!(exchange.method, "GET") && !matches!(exchange.body, Body::None) {
            return Err(FileError::new("a GET has no body"));
        }
        Ok(exchange)
    }

    /// Whether its answer can prove that it was done.
    pub(super) const fn proves(&self) -> bool {
        !self.expect.is_empty() || matches!(self.created, Some(Created::At(_)))
    }

    /// Where the answer tells the version of the record.
    pub(in crate::system) const fn version(&self) -> Option<&VersionAt> {
        self.version.as_ref()
    }

    /// Every slot, with whether its place can do without it.
    pub(super) fn slots(&self) -> Vec<(Slot, bool)> {
        let mut fixed: Vec<Slot> = self.path.slots().cloned().collect();
        for (_, template) in self.query.iter().chain(&self.headers) {
            fixed.extend(template.slots().cloned());
        }
        if let Some(Created::Slot(slot)) = &self.created {
            fixed.push(slot.clone());
        }
        let mut free = Vec::new();
        match &self.body {
            Body::None => {}
            Body::Json(node) | Body::Form(node) | Body::Graphql(_, node) => node.slots(&mut free),
        }
        let fixed = fixed.into_iter().map(|slot| (slot, false));
        fixed
            .chain(free.into_iter().map(|slot| (slot, true)))
            .collect()
    }

    /// Builds the request. What a slot holds never changes the shape around it: it is encoded for
    /// its place, and one that would climb out of its segment is refused.
    ///
    /// # Errors
    /// Which part cannot be filled.
    pub fn build(&self, scope: &impl Scope) -> Result<Request, String> {
        answered(self.slots().iter().map(|(slot, _)| slot), scope)?;
        let empty = "a value in the path is missing, empty, `.` or `..`";
        let segment = |value: &str| (!value.is_empty()).then(|| encoded(value));
        let path = self.path.fill(scope, segment).ok_or(empty)?;
        if path.split('/').any(|part| part == "." || part == "..") {
            return Err(empty.to_owned());
        }
        let mut pairs = Vec::new();
        for (name, template) in &self.query {
            let value = template.fill(scope, |value| Some(encoded(value)));
            pairs.push(format!(
                "{name}={}",
                value.ok_or_else(|| format!("`{name}` of the query has no value"))?
            ));
        }
        let mut headers = Vec::new();
        for (name, template) in &self.headers {
            let value = template
                .plain(scope)
                .ok_or_else(|| format!("header {name} has no value"))?;
            if value.chars().any(char::is_control) {
                return Err(format!("header {name}: a control character"));
            }
            headers.push((name.clone(), value));
        }
        let nothing = || "the body has no value".to_owned();
        let body = match &self.body {
            Body::None => Sent::Nothing,
            Body::Json(node) => Sent::Json(node.fill(scope).ok_or_else(nothing)?.to_string()),
            Body::Form(node) => {
                let mut out = Vec::new();
                form(&node.fill(scope).ok_or_else(nothing)?, "", &mut out);
                Sent::Form(out.join("&"))
            }
            Body::Graphql(document, node) => {
                let variables = node.fill(scope).ok_or_else(nothing)?;
                Sent::Json(
                    serde_json::json!({"query": document, "variables": variables}).to_string(),
                )
            }
        };
        Ok(Request {
            method: self.method,
            path,
            query: pairs.join("&"),
            headers,
            body,
        })
    }

    /// What an answer lacks of what the file expects of it.
    ///
    /// # Errors
    /// The first thing that is not there, for people.
    pub fn proof(&self, answer: &Json, scope: &impl Scope) -> Result<(), String> {
        for Expect { at, one_of } in &self.expect {
            match answer.pointer(at) {
                None | Some(Json::Null) => return Err(format!("the answer has nothing at {at}")),
                Some(found) if !one_of.is_empty() && !one_of.contains(found) => {
                    let shown: String = found.to_string().chars().take(60).collect();
                    return Err(format!("the answer has {shown} at {at}"));
                }
                Some(_) => {}
            }
        }
        match &self.created {
            Some(_) if self.created_id(answer, scope).is_none() => {
                Err("the answer names no record that was created".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The id of what was created, if the file says where it stands and it is there.
    pub fn created_id(&self, answer: &Json, scope: &impl Scope) -> Option<String> {
        let found = match self.created.as_ref()? {
            Created::At(at) => answer.pointer(at).cloned(),
            Created::Slot(slot) => scope.get(slot),
        };
        match found? {
            Json::String(id) if !id.is_empty() => Some(id),
            Json::Number(id) => Some(id.to_string()),
            _ => None,
        }
    }
}

fn created(text: &str) -> Result<Created, FileError> {
    if text.starts_with('/') {
        return Ok(Created::At(text.to_owned()));
    }
    match Template::parse(text)?.only() {
        Some(slot @ (Slot::Step(..) | Slot::Key)) => Ok(Created::Slot(slot.clone())),
        _ => Err(FileError::new(
            "created is a pointer into the answer, {step.N/pointer} or {decision.key}",
        )),
    }
}

/// A header that a file may set.
pub(super) fn header_name(name: &str) -> Result<String, FileError> {
    let token = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || !name.chars().all(token) {
        return Err(FileError::new(format!("`{name}` is no header")));
    }
    if HEADERS_KEPT.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(FileError::new(format!(
            "header `{name}` is not the file's to set"
        )));
    }
    Ok(name.to_owned())
}

/// Whether a header is none that a file, or a plug-in, may set.
#[must_use]
pub fn is_own_header(name: &str) -> bool {
    header_name(name).is_err()
}

/// Pointers, one or several.
pub(super) fn pointers(texts: &Texts) -> Result<Vec<String>, FileError> {
    texts.all().iter().map(|text| pointer(text)).collect()
}
