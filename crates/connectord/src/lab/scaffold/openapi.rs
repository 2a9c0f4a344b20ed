//! A description in OpenAPI 3 (OpenAPI Specification 3.1, sections 4.8.8 to 4.8.24), as far as one record needs it: its path, how it is
//! read and written, and where in both a field stands.

use std::collections::VecDeque;

use serde_json::Value as Json;
use writ_proto::toml_flaw::near;

/// References that are followed one after the other.
const REFS_MAX: usize = 16;
/// Schemas that one is made of, by `allOf`, `anyOf` and `oneOf`.
const PARTS_MAX: usize = 64;
/// How deep below the answer a field is looked for.
const DEPTH_MAX: usize = 4;
/// Schemas that are looked at for one field, and members of them.
const NODES_MAX: usize = 4_096;
const MEMBERS_MAX: usize = 100_000;
const METHODS: [&str; 3] = ["patch", "put", "post"];

/// A whole description.
pub(super) struct Document(Json);

/// The path of a record.
pub(super) struct Found<'a> {
    /// As it is asked for, with `{id}` for the record.
    pub(super) path: String,
    /// What is said of the id.
    pub(super) id: Option<&'a Json>,
    item: &'a Json,
}

/// Where a field stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place<'a> {
    /// A JSON pointer (RFC 6901).
    pub(super) at: String,
    /// What is said of it; nothing where any member may stand there.
    pub(super) schema: Option<&'a Json>,
}

impl Place<'_> {
    /// The pointer of what it stands in.
    pub(super) fn within(&self) -> &str {
        self.at.rsplit_once('/').map_or("", |(within, _)| within)
    }
}

/// One member of a pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether a media type is one of a kind.
type Fits<'a> = &'a dyn Fn(&str) -> bool;

/// A media type without its parameters.
fn essence(kind: &str) -> String {
    let own = kind.split(';').next().unwrap_or_default();
    own.trim().to_ascii_lowercase()
}

/// Whether a body of that type holds the fields as they are: a JSON Patch (RFC 6902) lists operations instead.
fn is_json(kind: &str) -> bool {
    let own = essence(kind);
    (own == "application/json" || own.ends_with("+json")) && own != "application/json-patch+json"
}

fn is_slot(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

impl Document {
    /// Takes a description apart.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let root: Json = serde_json::from_str(text).map_err(|error| {
            format!("it is no JSON ({error}); a description in YAML is converted first")
        })?;
        match root.get("openapi").and_then(Json::as_str) {
            Some(version) if version.starts_with("3.") => Ok(Self(root)),
            Some(version) => Err(format!("OpenAPI {version}; 3.0 and 3.1 are read")),
            None if root.get("swagger").is_some() => {
                Err("Swagger 2; convert it to OpenAPI 3 first".to_owned())
            }
            None => Err("it has no member `openapi`".to_owned()),
        }
    }

    /// What a node means: that which it refers to, within the document.
    fn resolved<'a>(&'a self, node: &'a Json) -> Option<&'a Json> {
        let mut node = node;
        for _ in 0..REFS_MAX {
            let Some(to) = node.get("$ref").and_then(Json::as_str) else {
                return Some(node);
            };
            node = self.0.pointer(to.strip_prefix('#')?)?;
        }
        None
    }

    /// The schemas that a schema is made of, itself first. Of alternatives that are no null each counts, and what stands beside
    /// a reference counts as well as what it refers to.
    pub(super) fn parts<'a>(&'a self, schema: &'a Json) -> Vec<&'a Json> {
        self.made_of(schema, &["allOf", "anyOf", "oneOf"])
    }

    /// The schemas all of which a value must satisfy.
    pub(super) fn conjuncts<'a>(&'a self, schema: &'a Json) -> Vec<&'a Json> {
        self.made_of(schema, &["allOf"])
    }

    fn made_of<'a>(&'a self, schema: &'a Json, keys: &[&str]) -> Vec<&'a Json> {
        let (mut open, mut parts) = (VecDeque::from([schema]), Vec::new());
        while let Some(next) = open.pop_front().filter(|_| parts.len() < PARTS_MAX) {
            if next.get("$ref").is_some() {
                parts.push(next);
            }
            let Some(own) = self.resolved(next) else {
                continue;
            };
            parts.push(own);
            for key in keys {
                let all = own.get(*key).and_then(Json::as_array).into_iter().flatten();
                let room = PARTS_MAX.saturating_sub(open.len());
                open.extend(all.take(room));
            }
        }
        parts
    }

    /// The alternatives of a schema, each with the schemas that it is made of.
    pub(super) fn alternatives<'a>(&'a self, schema: &'a Json) -> Vec<Vec<&'a Json>> {
        let parts = self.parts(schema).into_iter();
        let lists = parts.flat_map(|part| ["anyOf", "oneOf"].map(|key| part.get(key)));
        let members = lists.flatten().filter_map(Json::as_array).flatten();
        members.take(PARTS_MAX).map(|own| self.parts(own)).collect()
    }

    /// The path that somebody asked for: parameters may be filled, but for the one that is the record.
    pub(super) fn find(&self, asked: &str) -> Result<Found<'_>, String> {
        let paths = self.0.get("paths").and_then(Json::as_object);
        let paths = paths.ok_or("it has no `paths`")?;
        let segments: Vec<&str> = asked.split('/').collect();
        if segments.iter().filter(|one| is_slot(one)).count() != 1 {
            return Err(format!(
                "--path {asked}: one part in braces is the record, such as /deals/{{id}}; give others their value"
            ));
        }
        let fits = |path: &str| {
            let own: Vec<&str> = path.split('/').collect();
            let same = |(own, asked): (&&str, &&str)| match is_slot(asked) {
                true => is_slot(own),
                false => own == asked || is_slot(own) && !asked.is_empty(),
            };
            own.len() == segments.len() && own.iter().zip(&segments).all(same)
        };
        let filled = |path: &&String| path.split('/').filter(|one| is_slot(one)).count();
        let hits = paths.keys().filter(|path| fits(path));
        let Some(path) = hits.min_by_key(filled) else {
            let near = near(asked, paths.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; there is {near}"));
            return Err(format!("it has no path {asked}{hint}"));
        };
        let item = paths.get(path).and_then(|item| self.resolved(item));
        let item = item.ok_or_else(|| format!("{path} refers to nothing"))?;
        let at = segments.iter().position(|one| is_slot(one)).unwrap_or(0);
        let name = path.split('/').nth(at).unwrap_or_default();
        let name = name.trim_matches(['{', '}']);
        let mut own = segments;
        own.iter_mut()
            .filter(|one| is_slot(one))
            .for_each(|one| *one = "{id}");
        let mut found = Found {
            path: own.join("/"),
            id: None,
            item,
        };
        let read = found.item.get("get");
        found.id = self.parameter(&found, read, ("path", name));
        Ok(found)
    }

    /// What is said of a parameter of an operation, or of its path.
    fn parameter<'a>(
        &'a self,
        found: &Found<'a>,
        operation: Option<&'a Json>,
        (place, name): (&str, &str),
    ) -> Option<&'a Json> {
        let lists = [
            operation.and_then(|own| own.get("parameters")),
            found.item.get("parameters"),
        ];
        let all = lists
            .into_iter()
            .flatten()
            .filter_map(Json::as_array)
            .flatten();
        let mut all = all.filter_map(|one| self.resolved(one));
        let text =
            |one: &Json, key: &str| one.get(key).and_then(Json::as_str).map(str::to_lowercase);
        all.find(|one| {
            let wanted = name.to_lowercase();
            // A header is looked for by a part of its name.
            let is_it = |own: String| own == wanted || place == "header" && own.contains(&wanted);
            let named = text(one, "name").is_some_and(is_it);
            text(one, "in").as_deref() == Some(place) && named
        })
    }

    /// The name of a header that an operation takes, by a part of it.
    pub(super) fn header_of<'a>(
        &'a self,
        found: &Found<'a>,
        operation: &'a Json,
        part: &str,
    ) -> Option<&'a str> {
        let own = self.parameter(found, Some(operation), ("header", part))?;
        own.get("name").and_then(Json::as_str)
    }

    /// The query that names what is to be answered, where there is one.
    pub(super) fn naming_query<'a>(
        &'a self,
        found: &Found<'a>,
        operation: &'a Json,
    ) -> Option<&'a str> {
        let mut names = ["properties", "fields"].into_iter();
        names.find(|name| {
            let own = self.parameter(found, Some(operation), ("query", name));
            own.is_some_and(|own| own.get("name").and_then(Json::as_str) == Some(name))
        })
    }

    /// The answer to a call that went well: what its body is, and its headers in lower case.
    pub(super) fn answer<'a>(&'a self, operation: &'a Json) -> Option<(&'a Json, Vec<String>)> {
        let all = operation.get("responses")?;
        let codes = ["200", "201", "2XX", "default"];
        let own = codes.iter().find_map(|code| all.get(code))?;
        let own = self.resolved(own)?;
        let names = own.get("headers").and_then(Json::as_object);
        let names = names.into_iter().flat_map(|all| all.keys());
        let schema = own.get("content")?.as_object()?;
        let schema = schema
            .iter()
            .find(|(kind, _)| is_json(kind))?
            .1
            .get("schema")?;
        Some((schema, names.map(|name| name.to_lowercase()).collect()))
    }

    /// What a call is sent with: `json` or `form`, its media type, and what it says.
    pub(super) fn body<'a>(
        &'a self,
        operation: &'a Json,
    ) -> Option<(&'static str, &'a str, &'a Json)> {
        let own = self.resolved(operation.get("requestBody")?)?;
        let all = own.get("content")?.as_object()?;
        let plain = |kind: &str| essence(kind) == "application/json";
        let form = |kind: &str| essence(kind) == "application/x-www-form-urlencoded";
        let kinds: [(&str, Fits<'_>); 3] = [("json", &plain), ("json", &is_json), ("form", &form)];
        kinds.into_iter().find_map(|(word, fits)| {
            let (kind, own) = all.iter().find(|(kind, _)| fits(kind))?;
            Some((word, kind.as_str(), own.get("schema")?))
        })
    }

    /// Where a field stands, the least deep one; and every place in which any member may stand. Nothing is sent below
    /// what is only read.
    pub(super) fn places<'a>(
        &'a self,
        schema: &'a Json,
        (name, is_sent): (&str, bool),
    ) -> (Option<Place<'a>>, Vec<String>) {
        let (mut open, mut anything) = (
            VecDeque::from([(String::new(), schema, 0_usize)]),
            Vec::new(),
        );
        let (mut looked_at, mut members_seen) = (0_usize, 0_usize);
        while let Some((at, own, depth)) = open.pop_front() {
            looked_at = looked_at.saturating_add(1);
            if looked_at > NODES_MAX {
                break;
            }
            let parts = self.parts(own);
            let only_read = |part: &&Json| part.get("readOnly") == Some(&Json::Bool(true));
            if is_sent && parts.iter().any(only_read) {
                continue;
            }
            for part in parts {
                let open_ended = part.get("additionalProperties");
                if open_ended.is_some_and(|more| more.is_object() || more == &Json::Bool(true)) {
                    anything.push(at.clone());
                }
                let members = part.get("properties").and_then(Json::as_object);
                for (member, schema) in members.into_iter().flatten() {
                    members_seen = members_seen.saturating_add(1);
                    if members_seen > MEMBERS_MAX {
                        return (None, anything);
                    }
                    let place = format!("{at}/{}", escaped(member));
                    if member == name {
                        return (
                            Some(Place {
                                at: place,
                                schema: Some(schema),
                            }),
                            anything,
                        );
                    }
                    if depth < DEPTH_MAX && open.len() < NODES_MAX {
                        open.push_back((place, schema, depth.saturating_add(1)));
                    }
                }
            }
        }
        (None, anything)
    }

    /// The names of what stands in a schema, for whoever named something else.
    pub(super) fn members<'a>(&'a self, schema: &'a Json) -> Vec<&'a str> {
        let parts = self.parts(schema);
        let tables = parts
            .into_iter()
            .filter_map(|part| part.get("properties")?.as_object());
        let mut names: Vec<&str> = tables
            .flat_map(|table| table.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The address of the first server, scheme and host, which may be absent; and the path that every path begins with.
    ///
    /// # Errors
    /// Where the description says it in a way that is no address.
    pub(super) fn server(&self) -> Result<(Option<String>, String), String> {
        let Some(own) = self.0.pointer("/servers/0") else {
            return Ok((None, String::new()));
        };
        let mut text = own
            .get("url")
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned();
        let variables = own.get("variables").and_then(Json::as_object);
        for (name, own) in variables.into_iter().flatten() {
            let usual = own
                .get("default")
                .and_then(Json::as_str)
                .unwrap_or_default();
            text = text.replace(&format!("{{{name}}}"), usual);
        }
        let wrong = || format!("its server `{text}` is no address");
        if text.contains(['{', '}', '?', '#']) {
            return Err(wrong());
        }
        if text.is_empty() || text.starts_with('/') {
            return Ok((None, text.trim_end_matches('/').to_owned()));
        }
        let url = reqwest::Url::parse(&text).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        let port = url
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        let path = url.path().trim_end_matches('/').to_owned();
        Ok((Some(format!("{}://{host}{port}", url.scheme())), path))
    }

    /// Every way of proving who calls.
    pub(super) fn schemes(&self) -> Vec<&Json> {
        let all = self
            .0
            .pointer("/components/securitySchemes")
            .and_then(Json::as_object);
        let all = all.into_iter().flat_map(|all| all.values());
        all.filter_map(|one| self.resolved(one)).collect()
    }
}

impl<'a> Found<'a> {
    /// How the record is read.
    pub(super) fn reading(&self) -> Option<&'a Json> {
        self.item.get("get")
    }

    /// How it is changed, and by which method: the one that leaves most as it is.
    pub(super) fn writing(&self) -> Option<(&'static str, &'a Json)> {
        METHODS
            .into_iter()
            .find_map(|method| Some((method, self.item.get(method)?)))
    }
}
