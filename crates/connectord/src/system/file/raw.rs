//! A system file as it is written: the shapes of TOML, before anything of it is understood.

pub(crate) mod replaced;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value as Toml};

use super::{Driver, Encoding, Exchange, FileError};

/// A whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSystem {
    pub(super) kind: String,
    pub(super) driver: String,
    pub(super) encode: Option<String>,
    /// Of the driver `remote`: name and version of the plug-in, `tryton/1`.
    pub(super) plugin: Option<String>,
    /// Of the driver `postgres`: the role that rows are read as.
    pub(super) read_as: Option<String>,
    pub(super) auth: Option<Toml>,
    #[serde(default)]
    pub(super) secret: Vec<String>,
    pub(super) timeout: Option<String>,
    pub(super) settle_after: Option<String>,
    pub(super) rate: Option<RawRate>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) answers: Vec<RawRule>,
    pub(super) refusals: Option<String>,
    #[serde(default)]
    pub(super) say: Texts,
    pub(super) probe: Option<RawExchange>,
    #[serde(default)]
    pub(super) object: BTreeMap<String, RawObject>,
}

/// Longest name and version of a plug-in, in bytes.
const PLUGIN_BYTES_MAX: usize = 64;

impl RawSystem {
    /// Who performs the calls, and how bodies are written.
    pub(super) fn driven(&self) -> Result<(Driver, Encoding), FileError> {
        let driver = match self.driver.as_str() {
            "http" => Driver::Http,
            "postgres" => Driver::Postgres,
            "remote" => Driver::Remote,
            other => {
                let why = format!(
                    "there is no driver `{other}`; known: http, postgres, remote (and `document`, which needs no file)"
                );
                return Err(FileError::new(why).within("driver"));
            }
        };
        let encoding = match (driver, self.encode.as_deref()) {
            (Driver::Http, Some("json")) | (Driver::Postgres | Driver::Remote, None) => {
                Encoding::Json
            }
            (Driver::Http, Some("form")) => Encoding::Form,
            (Driver::Http, Some("graphql")) => Encoding::Graphql,
            (Driver::Http, _) => {
                let why = "encode = \"json\", \"form\" or \"graphql\"";
                return Err(FileError::new(why).within("encode"));
            }
            (Driver::Postgres, Some(_)) => {
                return Err(FileError::new("a database has no `encode`").within("encode"));
            }
            (Driver::Remote, Some(_)) => {
                let why = "a plug-in is asked in JSON: leave `encode` out";
                return Err(FileError::new(why).within("encode"));
            }
        };
        let plugin = self.plugin.as_deref();
        let is_plain = |name: &str| {
            let mut letters = name.bytes();
            let plain = letters.all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
            plain && !name.is_empty() && name.len() <= PLUGIN_BYTES_MAX
        };
        if plugin.is_some_and(is_plain) != (driver == Driver::Remote)
            || plugin.is_some_and(|name| !is_plain(name))
        {
            let why = "the driver remote, and no other, names its plug-in and the version of it: plugin = \"tryton/1\"";
            return Err(FileError::new(why).within("plugin"));
        }
        Ok((driver, encoding))
    }
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Texts {
    pub(super) const fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts.as_slice(),
        }
    }
}

/// How fast a system may be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRate {
    pub(super) concurrent: u32,
    #[serde(default)]
    pub(super) retry_after: Texts,
}

/// One answer rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) status: Option<u16>,
    pub(super) at: Option<String>,
    pub(super) is: Option<Toml>,
    pub(super) has: Option<String>,
    pub(super) present: Option<bool>,
    pub(super) unless: Option<String>,
    pub(super) means: String,
    pub(super) say: Option<String>,
}

/// One object type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObject {
    pub(super) id: String,
    pub(super) read: Option<RawExchange>,
    /// Of the driver `postgres`: `schema.table`, and the columns of its key by the parts of the id.
    pub(super) table: Option<String>,
    #[serde(default)]
    pub(super) key: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) field: BTreeMap<String, RawField>,
    #[serde(default)]
    pub(super) watch: Vec<String>,
    #[serde(default)]
    pub(super) find: BTreeMap<String, RawFind>,
    /// Texts that support what agents ask for.
    #[serde(default)]
    pub(super) text: BTreeMap<String, RawText>,
    /// What a credential is named that may read this.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) verb: BTreeMap<String, RawVerb>,
}

/// One request and what its answer must hold. Reads, finds, steps, look-ups and probes are this.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExchange {
    pub(super) request: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Toml>,
    pub(super) document: Option<String>,
    pub(super) variables: Option<Table>,
    pub(super) expect: Option<Toml>,
    pub(super) created: Option<String>,
    pub(super) version: Option<String>,
    pub(super) id_at: Option<String>,
    pub(super) id_as: Option<String>,
    pub(super) guard: Option<Toml>,
    pub(super) reads: Option<bool>,
    pub(super) ceiling: Option<RawCeiling>,
    pub(super) among: Option<RawAmong>,
    #[serde(default)]
    pub(super) unchanged: Vec<String>,
    pub(super) scopes: Option<String>,
}

impl RawExchange {
    /// The read of an object.
    pub(super) fn as_read(&self, encoding: Encoding) -> Result<Exchange, FileError> {
        self.only(&["reads", "version", "id_at", "id_as"])?;
        Exchange::compile(self, encoding, false)
    }

    /// The read that shows that the credential works.
    pub(super) fn as_probe(&self, encoding: Encoding) -> Result<Exchange, FileError> {
        self.only(&["reads", "expect", "scopes"])?;
        let probe = Exchange::compile(self, encoding, false)?;
        super::allowed::check_slots(&probe, &super::allowed::Allowed::default())?;
        Ok(probe)
    }

    /// Refuses what means nothing at this place: whoever wrote it relies on it.
    pub(super) fn only(&self, here: &[&str]) -> Result<(), FileError> {
        let places = [
            ("reads", self.reads.is_some(), "requests that only read"),
            ("expect", self.expect.is_some(), "steps and the probe"),
            ("created", self.created.is_some(), "steps"),
            ("version", self.version.is_some(), "`read` and steps"),
            ("guard", self.guard.is_some(), "steps"),
            ("id_at", self.id_at.is_some(), "`read`"),
            ("id_as", self.id_as.is_some(), "`read`"),
            ("ceiling", self.ceiling.is_some(), "prepare"),
            ("among", self.among.is_some(), "prepare"),
            ("unchanged", !self.unchanged.is_empty(), "prepare"),
            ("scopes", self.scopes.is_some(), "the probe"),
        ];
        let strange = places
            .iter()
            .find(|(key, is_there, _)| *is_there && !here.contains(key));
        strange.map_or(Ok(()), |(key, _, of)| {
            Err(FileError::new(format!("`{key}` belongs to {of}")).within(key))
        })
    }
}

/// What an amount may not exceed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCeiling {
    pub(super) arg: String,
    pub(super) at: String,
    pub(super) less: Option<String>,
    #[serde(rename = "as")]
    pub(super) unit: String,
    pub(super) currency: Option<String>,
    #[serde(default)]
    pub(super) except: Vec<String>,
}

/// What a field must be one of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAmong {
    pub(super) field: String,
    pub(super) at: String,
}

/// One field of a record.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawField {
    pub(super) at: String,
    #[serde(rename = "as")]
    pub(super) codec: String,
    pub(super) key: Option<Table>,
    pub(super) value: Option<String>,
    pub(super) name: Option<String>,
    pub(super) absent: Option<String>,
    pub(super) clear: Option<String>,
    pub(super) values: Option<Table>,
    pub(super) words: Option<Vec<Toml>>,
    pub(super) currency: Option<String>,
    pub(super) decimals: Option<u32>,
    #[serde(default)]
    pub(super) trim: bool,
}

/// How records are found by one signal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFind {
    pub(super) request: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Toml>,
    pub(super) document: Option<String>,
    pub(super) variables: Option<Table>,
    pub(super) q: Option<String>,
    #[serde(default)]
    pub(super) items: String,
    #[serde(rename = "match", default)]
    pub(super) matching: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) without: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) counts: BTreeMap<String, Vec<String>>,
    pub(super) id: Option<String>,
    pub(super) more: Option<String>,
}

/// A text beside the fields, such as the comments of a ticket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawText {
    pub(super) request: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Toml>,
    pub(super) document: Option<String>,
    pub(super) variables: Option<Table>,
    pub(super) reads: Option<bool>,
    pub(super) items: Option<String>,
    pub(super) at: String,
    #[serde(rename = "match", default)]
    pub(super) matching: BTreeMap<String, String>,
    pub(super) more: Option<String>,
}

/// How a verb is performed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVerb {
    pub(super) guard: Option<Toml>,
    pub(super) once: Option<Toml>,
    pub(super) undo: Option<Toml>,
    pub(super) settle: Option<Toml>,
    #[serde(default)]
    pub(super) prepare: Vec<RawExchange>,
    #[serde(default)]
    pub(super) step: Vec<RawExchange>,
    /// What a credential is named that may do this, beside what reads the object.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
}
