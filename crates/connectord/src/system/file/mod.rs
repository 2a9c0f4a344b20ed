//! System files: what a kind of system is, as data (docs/systems.md). A file is compiled, not
//! checked: after [`Bound::compile`] nothing of it is parsed again, and what cannot be built is
//! refused by line and reason. There is no script, no expression, no DELETE and no free URL.

mod allowed;
mod auth;
mod cards;
mod codec;
mod digest;
mod exchange;
mod field;
mod node;
mod raw;
pub mod slot;
mod table;
mod verb;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::Regex;
use writ_proto::duration;

pub use exchange::answer::{Answer, Judged, Meaning, Rules, clean};

pub use codec::{Codec, opaque};
pub use exchange::look::{Found, Look, Matches};
pub use exchange::scopes::{ScopesAt, all};
pub use exchange::settle::Settle;
pub use exchange::text::Text;
pub use exchange::{Exchange, Request, Sent, is_own_header};
pub use field::Field;
use raw::{RawObject, RawSystem};
pub use table::Table;
pub use verb::{Among, Ceiling, Currency, Guard, Once, Prepare, Step, UndoBy, Unit, Verb};

/// Longest file in bytes.
const FILE_BYTES_MAX: usize = 256 * 1_024;
/// Most fields of an object type.
const FIELDS_MAX: usize = 256;
/// Longest and usual time of one call to a system.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(8);
/// Longest time after which "not there" is believed.
const SETTLE_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// How long a system may commit late where the file says nothing.
const SETTLE_AFTER_DEFAULT: Duration = Duration::from_secs(20);
/// Most and usual calls to one system at once.
const CONCURRENT_MAX: u32 = 256;
const CONCURRENT_DEFAULT: u32 = 16;

/// Why a file is refused: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Keys from the outside in, joined with dots; items of a list by their number from 0.
    path: String,
    why: String,
    line: Option<usize>,
}

impl std::error::Error for FileError {}

impl core::fmt::Display for FileError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.why)
    }
}

impl FileError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            why: why.into(),
            line: None,
        }
    }

    /// The same, one level further in.
    pub(super) fn within(self, key: &str) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{key}.{}", self.path)
        };
        Self { path, ..self }
    }

    /// The same with its line: that of the innermost key of the path that the text has.
    fn located(self, text: &str) -> Self {
        let Ok(document) = toml::de::DeTable::parse(text) else {
            return self;
        };
        let mut at = None;
        let mut table = Some(document.get_ref());
        let mut list: Option<&toml::de::DeArray<'_>> = None;
        for key in self.path.split('.') {
            let found = match (table, list, key.parse::<usize>()) {
                (Some(table), _, _) => {
                    let entry = table.iter().find(|(name, _)| name.get_ref() == key);
                    at = entry.map(|(name, _)| name.span().start).or(at);
                    entry.map(|(_, value)| value)
                }
                (None, Some(list), Ok(index)) => list.get(index),
                _ => None,
            };
            let Some(found) = found else { break };
            if table.is_none() {
                at = Some(found.span().start);
            }
            table = found.get_ref().as_table();
            list = found.get_ref().as_array();
        }
        let line = at
            .and_then(|at| text.get(..at))
            .map(|before| before.matches('\n').count() + 1);
        Self { line, ..self }
    }
}

/// How bodies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`, nested with brackets.
    Form,
    /// GraphQL over JSON.
    Graphql,
}

/// Who performs the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// HTTP with JSON answers.
    Http,
    /// The same, behind a plug-in that translates.
    Remote,
    /// PostgreSQL.
    Postgres,
}

/// Where a version stands: a header, or a pointer into the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionAt {
    /// `header:ETag` and so on.
    Header(String),
    /// A text or a number of the answer.
    Pointer(String),
}

impl VersionAt {
    fn parse(text: &str) -> Result<Self, FileError> {
        match text.strip_prefix("header:") {
            Some(name) => Ok(Self::Header(exchange::header_name(name)?)),
            None => field::pointer(text).map(Self::Pointer),
        }
    }

    /// The version in an answer.
    #[must_use]
    pub fn read(&self, answer: &Answer) -> Option<String> {
        match self {
            Self::Header(name) => answer.header(name).map(str::to_owned),
            Self::Pointer(at) => match answer.body.as_ref()?.pointer(at)? {
                serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
                serde_json::Value::Number(number) => Some(number.to_string()),
                _ => None,
            },
        }
    }
}

/// One object type, ready.
#[derive(Debug, Clone)]
pub struct Object {
    id: Regex,
    /// How a record is read; none of an object that is never read.
    pub read: Option<Exchange>,
    /// Where its version stands, if the system has versions.
    pub version: Option<VersionAt>,
    /// Where the answer shows the record's own id.
    pub id_at: Option<String>,
    /// What stands before the id there, and after it.
    pub id_as: (String, String),
    /// The table, where the system is a database.
    pub table: Option<Table>,
    /// Every field that cards may name.
    pub fields: BTreeMap<String, Field>,
    /// Fields read beside those of the card; changes there are reported.
    pub watch: Vec<String>,
    /// Searches by a signal.
    pub find: BTreeMap<String, Look>,
    /// Texts beside its fields that support what agents ask for.
    pub texts: BTreeMap<String, Text>,
    /// Scopes of a credential that may read it.
    pub scopes: BTreeSet<String>,
    /// What can be done.
    pub verbs: BTreeMap<String, Verb>,
}

impl Object {
    /// The parts of an id, by the names of the groups of its pattern; none if it is no id.
    #[must_use]
    pub fn parts(&self, id: &str) -> Option<BTreeMap<String, String>> {
        let found = self
            .id
            .captures(id)
            .filter(|found| found.get(0).is_some_and(|all| all.as_str() == id))?;
        if matches!(id, "." | "..") {
            return None;
        }
        let part = |name: &str| Some((name.to_owned(), found.name(name)?.as_str().to_owned()));
        Some(self.id.capture_names().flatten().filter_map(part).collect())
    }
}

/// A system file, compiled.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Name of the kind.
    pub kind: String,
    /// Who performs the calls.
    pub driver: Driver,
    /// Name and version of the plug-in that translates.
    pub plugin: Option<String>,
    /// The role that rows of a database are read as, quoted.
    pub read_as: Option<String>,
    /// How the credential is shown.
    pub auth: crate::credentials::auth::Auth,
    /// Headers of every request, with `{base_url}` in them.
    pub headers: Vec<(String, slot::Template)>,
    /// How bodies are written.
    pub encoding: Encoding,
    /// Longest time of one call.
    pub timeout: Duration,
    /// Longest late commit or search lag: before that, "not there" proves nothing.
    pub settle_after: Duration,
    /// Most calls at once.
    pub concurrent: usize,
    /// Where the system says how long to wait, beside `Retry-After`.
    pub retry_after: Vec<VersionAt>,
    /// What answers mean.
    pub rules: Rules,
    /// A read that shows that the credential works.
    pub probe: Option<Exchange>,
    /// Where its answer says what the credential may do.
    pub scopes: Option<ScopesAt>,
    /// Object types.
    pub objects: BTreeMap<String, Object>,
}

fn span(
    text: Option<&String>,
    key: &str,
    usual: Duration,
    most: Duration,
) -> Result<Duration, FileError> {
    let Some(text) = text else { return Ok(usual) };
    let seconds = duration::seconds_of(text).map_err(|error| FileError::new(error).within(key))?;
    let span = Duration::from_secs(seconds.into());
    if span > most {
        return Err(FileError::new(format!("at most {}s", most.as_secs())).within(key));
    }
    Ok(span)
}

/// A pattern of a whole text. By itself first: one that closes the brackets would take what it matches in part.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

/// How a system writes an id in its answers, such as `gid://shopify/Order/{id}`.
fn id_as(read: Option<&raw::RawExchange>) -> Result<(String, String), FileError> {
    let Some(text) = read.and_then(|read| read.id_as.as_deref()) else {
        return Ok((String::new(), String::new()));
    };
    match text.split("{id}").collect::<Vec<_>>().as_slice() {
        [before, after] => Ok(((*before).to_owned(), (*after).to_owned())),
        _ => Err(FileError::new("it holds {id} once").within("read.id_as")),
    }
}

/// Where the answer to a read shows the record's own id.
fn id_at(read: Option<&raw::RawExchange>) -> Result<Option<String>, FileError> {
    let Some(read) = read else { return Ok(None) };
    let Some(at) = &read.id_at else {
        let why = "id_at says where the answer shows the record's own id";
        return Err(FileError::new(why).within("read"));
    };
    let at = field::pointer(at).map_err(|error| error.within("read.id_at"))?;
    Ok(Some(at))
}

impl Bound {
    /// Compiles a file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn compile(text: &str) -> Result<Self, FileError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(FileError::new(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let table: toml::Table =
            toml::from_str(text).map_err(|error| FileError::new(error.to_string()))?;
        raw::replaced::check(&table).map_err(|error| error.located(text))?;
        let raw: RawSystem =
            toml::from_str(text).map_err(|error| FileError::new(error.to_string()))?;
        Self::of(&raw, &table).map_err(|error| error.located(text))
    }

    fn of(raw: &RawSystem, table: &toml::Table) -> Result<Self, FileError> {
        let (driver, encoding) = raw.driven()?;
        let auth = auth::compile(raw.auth.as_ref(), &raw.secret, driver)
            .map_err(|error| error.within("auth"))?;
        let mut headers = Vec::new();
        for (name, value) in &raw.headers {
            let compiled =
                header(name, value).map_err(|error| error.within(name).within("headers"))?;
            headers.push(compiled);
        }
        let rules = Rules::compile(
            &raw.answers,
            raw.refusals.as_deref(),
            exchange::pointers(&raw.say)?,
        )?;
        let concurrent = raw
            .rate
            .as_ref()
            .map_or(CONCURRENT_DEFAULT, |rate| rate.concurrent);
        if !(1..=CONCURRENT_MAX).contains(&concurrent) {
            return Err(FileError::new(format!("1 to {CONCURRENT_MAX}")).within("rate.concurrent"));
        }
        let retry_after = raw.rate.iter().flat_map(|rate| rate.retry_after.all());
        let retry_after: Result<Vec<VersionAt>, FileError> =
            retry_after.map(|text| VersionAt::parse(text)).collect();
        let probe = raw.probe.as_ref().map(|probe| probe.as_probe(encoding));
        let probe = probe.transpose().map_err(|error| error.within("probe"))?;
        let scopes = exchange::scopes::declared(raw)?;
        if raw.object.is_empty() {
            return Err(FileError::new("a system file names at least one object").within("object"));
        }
        let objects = Self::objects(raw, (driver, encoding), table)?;
        Ok(Self {
            kind: raw.kind.clone(),
            driver,
            plugin: raw.plugin.clone(),
            read_as: table::reader(raw, driver)?,
            auth,
            headers,
            encoding,
            timeout: span(
                raw.timeout.as_ref(),
                "timeout",
                TIMEOUT_DEFAULT,
                TIMEOUT_MAX,
            )?,
            settle_after: span(
                raw.settle_after.as_ref(),
                "settle_after",
                SETTLE_AFTER_DEFAULT,
                SETTLE_AFTER_MAX,
            )?,
            concurrent: usize::try_from(concurrent).unwrap_or(1),
            retry_after: retry_after.map_err(|error| error.within("rate.retry_after"))?,
            rules,
            probe,
            scopes,
            objects,
        })
    }

    fn objects(
        raw: &RawSystem,
        (driver, encoding): (Driver, Encoding),
        table: &toml::Table,
    ) -> Result<BTreeMap<String, Object>, FileError> {
        let mut objects = BTreeMap::new();
        for (name, object) in &raw.object {
            let compiled = Self::object(object, driver, encoding);
            objects.insert(
                name.clone(),
                compiled.map_err(|error| error.within(name).within("object"))?,
            );
        }
        let digests = objects.iter_mut().flat_map(|(name, object)| {
            object
                .verbs
                .iter_mut()
                .map(move |(verb, compiled)| (name.clone(), verb.clone(), compiled))
        });
        for (object, verb, compiled) in digests {
            compiled.digest = digest::of_verb(table, &object, &verb);
            if driver == Driver::Remote && compiled.steps.len() > 1 {
                let why = "behind a plug-in a verb has one step: what a later one sends cannot be rehearsed";
                let error = FileError::new(why)
                    .within("step")
                    .within(&verb)
                    .within("verb");
                return Err(error.within(&object).within("object"));
            }
        }
        Ok(objects)
    }

    fn object(raw: &RawObject, driver: Driver, encoding: Encoding) -> Result<Object, FileError> {
        let id = whole(&raw.id).map_err(|error| FileError::new(error.to_string()).within("id"))?;
        if raw.field.len() > FIELDS_MAX {
            return Err(FileError::new(format!("at most {FIELDS_MAX}")).within("field"));
        }
        let mut fields = BTreeMap::new();
        for (name, field) in &raw.field {
            let compiled =
                Field::compile(name, field).map_err(|error| error.within(name).within("field"))?;
            fields.insert(name.clone(), compiled);
        }
        if let Some(unknown) = raw.watch.iter().find(|name| !fields.contains_key(*name)) {
            return Err(
                FileError::new(format!("`{unknown}` is no field of this object")).within("watch"),
            );
        }
        let table = Table::compile(raw, driver, &id)?;
        let read = raw
            .read
            .as_ref()
            .map(|read| read.as_read(encoding))
            .transpose()
            .map_err(|error| error.within("read"))?;
        if driver == Driver::Postgres && (read.is_some() || !raw.find.is_empty()) {
            return Err(FileError::new(
                "a table is read by its `key`; it has no `read` and no `find`",
            ));
        }
        if let Some(read) = &read {
            allowed::check_slots(read, &allowed::Allowed::of_read(&id))
                .map_err(|error| error.within("read"))?;
        }
        let version = read.as_ref().and_then(|read| read.version().cloned());
        let id_at = id_at(raw.read.as_ref())?;
        let mut find = BTreeMap::new();
        for (name, one) in &raw.find {
            let compiled = exchange::settle::find(one, encoding)
                .map_err(|error| error.within(name).within("find"))?;
            find.insert(name.clone(), compiled);
        }
        let texts = exchange::text::declared(raw, &id, driver, encoding)?;
        let mut object = Object {
            id,
            read,
            version,
            id_at,
            id_as: id_as(raw.read.as_ref())?,
            table,
            fields,
            watch: raw.watch.clone(),
            find,
            texts,
            scopes: raw.scopes.iter().cloned().collect(),
            verbs: BTreeMap::new(),
        };
        for (name, one) in &raw.verb {
            let compiled = Verb::compile(name, one, &object, encoding)
                .and_then(|verb| table::check_key(&verb, &object).map(|()| verb))
                .map_err(|error| error.within(name).within("verb"))?;
            object.verbs.insert(name.clone(), compiled);
        }
        Ok(object)
    }
}

fn header(name: &str, value: &str) -> Result<(String, slot::Template), FileError> {
    let (name, template) = (exchange::header_name(name)?, slot::Template::parse(value)?);
    let other = template.slots().find(|slot| **slot != slot::Slot::BaseUrl);
    match other {
        Some(_) => Err(FileError::new("only {base_url} is known for every request")),
        None => Ok((name, template)),
    }
}

#[cfg(test)]
mod tests;
