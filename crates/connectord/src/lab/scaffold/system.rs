//! The draft of a system file.

use serde_json::Value as Json;

use super::openapi::{Document, Found, Place, escaped};
use super::page::{Page, key, quoted, snake};
use super::shape::{self, Said};

/// What is drafted, by the words of whoever asks.
pub(super) struct Wanted<'a> {
    /// The name of the system file.
    pub(super) kind: &'a str,
    /// What a record is called.
    pub(super) object: &'a str,
    /// The fields by the names of the vendor.
    pub(super) fields: &'a [String],
    /// Where the description is from.
    pub(super) source: &'a str,
}

/// One field.
pub(super) struct Field {
    /// As cards name it.
    pub(super) name: String,
    pub(super) said: Said,
    /// Whether the description says what it is.
    pub(super) is_described: bool,
    at: String,
    /// Where it is sent.
    within: String,
    /// The same, where it is read in another place.
    elsewhere: Option<String>,
    /// Whether it is read as something else than it is sent.
    is_other: bool,
}

/// A draft and its fields.
pub(super) struct Draft {
    pub(super) page: Page,
    pub(super) fields: Vec<Field>,
}

/// Ids that are no path.
const ANY_ID: &str = "[A-Za-z0-9_-]{1,64}";
const UUID: &str = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const NUMBER: &str = "[1-9][0-9]{0,17}";

/// The pattern of an id, and whether the description says it.
fn id_of(document: &Document, parameter: Option<&Json>) -> (String, bool) {
    let schema = parameter.and_then(|parameter| parameter.get("schema"));
    let parts = schema
        .map(|schema| document.parts(schema))
        .unwrap_or_default();
    let find = |key: &str| parts.iter().find_map(|part| part.get(key)?.as_str());
    if find("type") == Some("integer") {
        return (NUMBER.to_owned(), true);
    }
    if find("format") == Some("uuid") {
        return (UUID.to_owned(), true);
    }
    // Patterns of JSON Schema are anchored nowhere unless they say so; only one that is spelled out in letters, digits and
    // their ranges takes no path.
    let whole = |pattern: &'_ str| {
        let own = pattern.strip_prefix('^')?.strip_suffix('$')?;
        let ranges = ["a-z", "A-Z", "0-9", "a-f", "A-F"];
        let rest = ranges
            .iter()
            .fold(own.to_owned(), |rest, range| rest.replace(range, ""));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_[]{},()+*?".contains(c);
        let is_tight = !own.is_empty() && rest.chars().all(is_plain) && !own.contains("(?");
        let is_pattern = regex::Regex::new(&format!("^(?:{own})$")).is_ok();
        (is_tight && is_pattern).then(|| own.to_owned())
    };
    match find("pattern").and_then(whole) {
        Some(pattern) => (pattern, true),
        None => (ANY_ID.to_owned(), false),
    }
}

/// How calls are signed: what `auth` and `secret` say, and what is to be decided.
fn auth(document: &Document) -> (String, String, Option<&'static str>) {
    let schemes = document.schemes();
    let text = |one: &Json, key: &str| {
        one.get(key)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_lowercase()
    };
    let bearer = |decide| {
        (
            "{ bearer = \"{secret.token}\" }".to_owned(),
            "[\"token\"]".to_owned(),
            decide,
        )
    };
    if schemes.iter().any(|one| text(one, "scheme") == "bearer") {
        let others = (schemes.len() > 1)
            .then_some("the description names other ways of proving who calls, too");
        return bearer(others);
    }
    if let Some(own) = schemes.iter().find(|one| {
        let named = text(one, "name");
        text(one, "type") == "apikey" && text(one, "in") == "header" && named != "authorization"
    }) {
        let name = own
            .get("name")
            .and_then(Json::as_str)
            .unwrap_or("Authorization");
        let auth = format!(
            "{{ header = {{ name = {}, value = \"{{secret.key}}\" }} }}",
            quoted(name)
        );
        return (auth, "[\"key\"]".to_owned(), None);
    }
    if schemes.iter().any(|one| text(one, "scheme") == "basic") {
        let auth = "{ basic = \"{secret.user}:{secret.password}\" }".to_owned();
        return (auth, "[\"user\", \"password\"]".to_owned(), None);
    }
    bearer(Some(
        "how calls are signed: the description says it in a way that is not drafted; docs/systems.md has the ways",
    ))
}

/// Where a field stands in the answer and in what is sent.
fn field(
    document: &Document,
    (answer, body): (&Json, &Json),
    vendor: &str,
) -> Result<Field, String> {
    let (read, anywhere) = document.places(answer, (vendor, false));
    let (sent, accepted) = document.places(body, (vendor, true));
    let free = |within: &String| Place {
        at: format!("{within}/{}", escaped(vendor)),
        schema: None,
    };
    let shared = || {
        anywhere
            .iter()
            .find(|within| accepted.contains(within))
            .map(free)
    };
    let unknown = |schema, what: &str| {
        let names = document.members(schema).join(", ");
        format!("`{vendor}` stands nowhere in {what}; there is {names}")
    };
    let read = read
        .or_else(shared)
        .ok_or_else(|| unknown(answer, "the answer"))?;
    let same = |place: &&Place<'_>| place.within() == read.within();
    let sent = sent.or_else(|| accepted.iter().map(free).find(|place| same(&place)));
    let sent = sent.ok_or_else(|| unknown(body, "what is sent"))?;
    let schema = sent.schema.or(read.schema);
    let text = Said {
        shape: shape::Shape::Text(None),
        is_empty: true,
        dropped: Vec::new(),
    };
    let drafted = schema.map_or(Ok(text), |schema| shape::said(document, schema));
    // A field that only the answer holds is read, and may be said to be only that.
    let shown = read.schema.map(|schema| shape::types_of(document, schema));
    let sent_as = sent.schema.map(|schema| shape::types_of(document, schema));
    let shows_nothing = read
        .schema
        .is_some_and(|schema| shape::may_be_empty(document, schema));
    let is_other = shown.is_some() && sent_as.is_some() && shown != sent_as;
    let name = snake(vendor);
    if name.is_empty() {
        return Err(format!(
            "`{vendor}`: a field has a letter or a digit in its name"
        ));
    }
    let mut said = drafted.map_err(|why| format!("`{vendor}`: {why}"))?;
    said.is_empty |= shows_nothing;
    Ok(Field {
        name,
        said,
        is_other,
        is_described: schema.is_some(),
        elsewhere: (sent.at != read.at).then(|| sent.at.clone()),
        within: sent.within().to_owned(),
        at: read.at,
    })
}

/// `{fields}` where they stand in what is sent.
fn nested(within: &str, encode: &str) -> String {
    let members: Vec<&str> = within.split('/').skip(1).collect();
    // A form is a table.
    if members.is_empty() && encode == "form" {
        return "{ \"...\" = \"{fields}\" }".to_owned();
    }
    members
        .iter()
        .rev()
        .fold("\"{fields}\"".to_owned(), |inner, member| {
            let member = member.replace("~1", "/").replace("~0", "~");
            format!("{{ {} = {inner} }}", key(&member))
        })
}

fn fields(
    document: &Document,
    schemas: (&Json, &Json),
    wanted: &Wanted<'_>,
) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    for vendor in wanted.fields {
        let own = field(document, schemas, vendor)?;
        if fields.iter().any(|other| other.name == own.name) {
            return Err(format!("two fields are named `{}` on cards", own.name));
        }
        if let Some(other) = fields.iter().find(|other| other.within != own.within) {
            return Err(format!(
                "`{}` and `{}` stand in different places of what is sent; ask for them one by one",
                other.name, own.name
            ));
        }
        fields.push(own);
    }
    Ok(fields)
}

fn head(page: &mut Page, document: &Document, wanted: &Wanted<'_>, encode: &str) {
    let (kind, source) = (wanted.kind, wanted.source);
    page.line(format!("# A draft from {source}: a description is no proof. Decide what is marked, then lint and conform."));
    page.line(format!("kind = {}", quoted(kind)));
    page.line("driver = \"http\"");
    page.line(format!("encode = \"{encode}\""));
    let (auth, secret, decide) = auth(document);
    if let Some(decide) = decide {
        page.decide(decide);
    }
    page.line(format!("auth = {auth}"));
    page.line(format!("secret = {secret}"));
    page.line("timeout = \"8s\"");
    page.decide("how late a call can come into force, or a search show it");
    page.line("settle_after = \"20s\"");
    page.decide(
        "refusals = \"plain\", if 400, 404 and 422 of this system mean that nothing happened",
    );
    page.decide("say = \"/message\", or wherever its errors say why");
    page.decide("probe = { request = \"GET /..\", expect = \"/..\" }: a read that shows that the credential is taken");
}

/// Where the answer shows the id of the record, and whether the description says so.
fn id_at(document: &Document, answer: &Json, within: &str) -> (String, bool) {
    let (own, _) = document.places(answer, ("id", false));
    let near = [format!("{within}/id"), "/id".to_owned()];
    let above = within
        .rsplit_once('/')
        .map(|(above, _)| format!("{above}/id"));
    match own {
        Some(own) if near.contains(&own.at) || above.as_ref() == Some(&own.at) => (own.at, true),
        _ => ("/id".to_owned(), false),
    }
}

/// What is said of the two calls.
struct Calls<'a> {
    /// The path, with what every path begins with.
    request: String,
    reading: &'a Json,
    method: &'static str,
    writing: &'a Json,
    /// What a read answers, and whether with a version.
    answer: &'a Json,
    has_version: bool,
    /// What is sent, and how.
    encode: &'static str,
    kind: &'a str,
    body: &'a Json,
}

fn calls<'a>(document: &'a Document, found: &Found<'a>) -> Result<Calls<'a>, String> {
    let path = &found.path;
    let reading = found.reading();
    let reading =
        reading.ok_or_else(|| format!("{path} has no GET, so nothing of it can be seen"))?;
    let writing = found.writing();
    let (method, writing) = writing.ok_or_else(|| format!("{path} has no PATCH, PUT or POST"))?;
    let answer = document.answer(reading);
    let (answer, headers) =
        answer.ok_or_else(|| format!("GET {path}: no answer in JSON is described"))?;
    let body = document.body(writing);
    let (encode, kind, body) =
        body.ok_or_else(|| format!("{method} {path}: no body in JSON or of a form is described"))?;
    let (_, base) = document.server()?;
    Ok(Calls {
        request: format!("{base}{path}"),
        reading,
        method,
        writing,
        answer,
        has_version: headers.iter().any(|name| name == "etag"),
        encode,
        kind,
        body,
    })
}

/// The record: its ids, how it is read, and its fields. Gives where the answer shows the id.
fn record(
    page: &mut Page,
    (document, found): (&Document, &Found<'_>),
    (calls, wanted): (&Calls<'_>, &Wanted<'_>),
    fields: &[Field],
) -> String {
    page.line(format!("[object.{}]", key(wanted.object)));
    let (id, is_known) = id_of(document, found.id);
    if !is_known {
        page.decide("which ids there are: one that fits no record is refused before it is sent");
    }
    page.line(format!("id = {}", quoted(&id)));
    let within = fields.first().map_or("", |field| field.within.as_str());
    let (id_at, is_known) = id_at(document, calls.answer, within);
    if !is_known {
        page.decide("id_at, where the answer shows the id of the record");
    }
    let version = match calls.has_version {
        true => ", version = \"header:ETag\"",
        false => "",
    };
    let query = document.naming_query(found, calls.reading);
    if let Some(name) = query {
        page.decide(format_args!(
            "`{name}` in the query names what is answered: the id, and what a person should see beside the fields, too"
        ));
    }
    let query = query.map(|name| format!("?{name}={}", wanted.fields.join(",")));
    let request = format!("GET {}{}", calls.request, query.unwrap_or_default());
    page.line(format!(
        "read = {{ request = {}{version}, id_at = {} }}",
        quoted(&request),
        quoted(&id_at)
    ));
    page.line("");
    page.line(format!("[object.{}.field]", key(wanted.object)));
    for field in fields {
        let name = &field.name;
        if !field.is_described {
            page.decide(format_args!("`{name}` is in no description: is it a text?"));
        }
        if let Some(sent) = &field.elsewhere {
            page.decide(format_args!(
                "`{name}` is read here and sent as {sent:?}: is it the same value of the same record?"
            ));
        }
        if field.is_other {
            page.decide(format_args!(
                "`{name}` is described otherwise in the answer than in what is sent"
            ));
        }
        let empty = match field.said.is_empty {
            true => ", absent = \"empty\"",
            false => "",
        };
        let (at, codec) = (quoted(&field.at), field.said.shape.codec());
        page.line(format!("{name} = {{ at = {at}, as = \"{codec}\"{empty} }}"));
    }
    id_at
}

/// How it is changed: the four choices, and the call.
fn verb(
    page: &mut Page,
    (document, found): (&Document, &Found<'_>),
    calls: &Calls<'_>,
    (within, id_at): (&str, &str),
) {
    if calls.has_version {
        page.decide("whether a stale If-Match is refused with 412; conform shows it");
        page.line("guard = { header = \"If-Match\" }");
    } else {
        page.decide(
            "no version is described: an edit of others right before the write is replaced unseen",
        );
        page.line("guard = \"compare\"");
    }
    match document.header_of(found, calls.writing, "idempotency") {
        Some(header) => page.line(format!("once = {{ header = {} }}", quoted(header))),
        None => page.line("once = \"none\""),
    }
    page.decide("whether the earlier value can be written back: \"none\" if not");
    page.line("undo = \"restore\"");
    page.decide(
        "a member that names the call settles doubts: { after_image = { \"/..\" = \"{decision.key}\" } }",
    );
    page.line("settle = \"after_image\"");
    let method = calls.method.to_uppercase();
    if calls.encode == "json" && calls.kind != "application/json" {
        let kind = calls.kind.escape_debug();
        page.decide(format_args!(
            "the description takes {kind}; application/json is sent"
        ));
    }
    if !within.is_empty() {
        page.decide(format_args!(
            "whether {method} leaves what else stands in {within:?} as it is"
        ));
    }
    if method != "PATCH" {
        page.decide(format_args!(
            "whether {method} leaves what it does not name as it is"
        ));
    }
    let answer = document.answer(calls.writing);
    let proof = answer.map(|(schema, _)| self::id_at(document, schema, within));
    let (proof, is_known) = proof.unwrap_or_else(|| (id_at.to_owned(), false));
    if !is_known {
        page.decide("expect, what of the answer proves the write");
    }
    let request = quoted(&format!("{method} {}", calls.request));
    let (body, proof) = (nested(within, calls.encode), quoted(&proof));
    page.line(format!(
        "step = [{{ request = {request}, body = {body}, expect = {proof} }}]"
    ));
}

/// Drafts the system file of one record.
///
/// # Errors
/// What the description does not say, or says otherwise than it is asked for.
pub(super) fn draft(
    document: &Document,
    found: &Found<'_>,
    wanted: &Wanted<'_>,
) -> Result<Draft, String> {
    let calls = calls(document, found)?;
    let fields = fields(document, (calls.answer, calls.body), wanted)?;
    let mut page = Page::default();
    head(&mut page, document, wanted, calls.encode);
    if let (Some(address), _) = document.server()? {
        page.line(format!("# base_url of the connection: {address}"));
    }
    page.line("");
    let both = (document, found);
    let id_at = record(&mut page, both, (&calls, wanted), &fields);
    page.line("");
    page.line(format!(
        "[object.{}.verb.update_fields]",
        key(wanted.object)
    ));
    let within = fields.first().map_or("", |field| field.within.as_str());
    verb(&mut page, both, &calls, (within, &id_at));
    Ok(Draft { page, fields })
}
