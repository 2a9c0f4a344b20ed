//! One configuration out of several layers, and where each value came from.
//!
//! Precedence: flag and `--set`, then environment, then file, then default. A key that does not
//! exist is an error with the nearest key that does.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::host::store::postgres::without_password;

/// Why a configuration is refused: what was found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("{0}")]
    UnknownKey(String),
    /// A value that cannot be accepted.
    #[error("{0}")]
    Invalid(String),
}

impl ConfigError {
    /// A value that cannot be accepted.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(detail.into())
    }

    /// From what serde says about a table.
    fn of_serde(message: &str) -> Self {
        let Some(rest) = message.split("unknown field `").nth(1) else {
            return Self::invalid(message.trim().to_owned());
        };
        let found = rest.split('`').next().unwrap_or_default();
        let listed = rest.split("expected").nth(1).unwrap_or_default();
        let known: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        let near = known
            .iter()
            .min_by_key(|known| strsim::levenshtein(known, found));
        let hint = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        Self::UnknownKey(format!("there is no key `{found}`{hint}"))
    }
}

/// The TOML of a configuration file.
///
/// # Errors
/// With file, line and caret where it is none.
pub fn table_of(file: &Path, text: &str) -> Result<Table, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let hint = error.span().and_then(|span| unquoted(text, span.start));
        let hint = hint.unwrap_or_default();
        ConfigError::invalid(format!("{}: {error}{hint}", file.display()))
    })
}

/// An address or a path without quotes reads as a broken number or word.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let mut end = 0_usize;
    let line = text.split_inclusive('\n').find(|line| {
        end = end.saturating_add(line.len());
        at < end
    })?;
    let (key, value) = line.split_once('=')?;
    let value = value.split('#').next()?.trim();
    let bare = value.starts_with(|first: char| first.is_alphanumeric() || first == '/');
    // A slip in `true` or `false` is no text without quotes: both are words of a few letters that are nearly it.
    let is_near = |word: &&str| strsim::osa_distance(word, &value.to_lowercase()) <= 1;
    let others = ["yes", "no", "on", "off"];
    if others.iter().any(|word| value.eq_ignore_ascii_case(word))
        || ["true", "false"].iter().any(is_near)
    {
        return Some(format!("write {} = true, or false", key.trim()));
    }
    let is_text = bare && !value.contains('"') && value.contains(|c: char| !c.is_ascii_digit());
    is_text.then(|| {
        format!(
            "a text stands in double quotes: {} = \"{value}\"",
            key.trim()
        )
    })
}

/// Values and their origins, before they are checked.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    table: Table,
    origins: BTreeMap<String, String>,
}

impl Layers {
    /// Reads the file, then the environment, then `--set`.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or a setting is not `a.b=value`.
    pub fn read(
        file: &Path,
        env: impl Iterator<Item = (String, String)>,
        prefix: &str,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            ConfigError::invalid(format!("cannot read {}: {error}; run this in the folder that `init` made, or name the file with --config", file.display()))
        })?;
        let table = table_of(file, &text)?;
        let mut layers = Self::default();
        layers.merge("", table, &file.display().to_string());
        for (name, value) in env {
            let Some(path) = name.strip_prefix(prefix) else {
                continue;
            };
            if path.contains("__") {
                let path = path.to_lowercase().replace("__", ".");
                layers.set(&path, &value, &format!("env {name}"));
            }
        }
        for setting in sets {
            let (path, value) = setting
                .split_once('=')
                .ok_or_else(|| ConfigError::invalid(format!("--set {setting} is not a.b=value")))?;
            layers.set(path, value, "--set");
        }
        Ok(layers)
    }

    fn merge(&mut self, path: &str, table: Table, origin: &str) {
        for (key, value) in table {
            let path = if path.is_empty() {
                key
            } else {
                format!("{path}.{key}")
            };
            match value {
                Value::Table(inner) if !inner.is_empty() => self.merge(&path, inner, origin),
                value => self.put(&path, value, origin),
            }
        }
    }

    fn put(&mut self, path: &str, value: Value, origin: &str) {
        let mut table = &mut self.table;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value);
                break;
            }
            let next = table
                .entry(part)
                .or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = next else { return };
            table = inner;
        }
        self.origins.insert(path.to_owned(), origin.to_owned());
    }

    /// Text that reads as a TOML value is one; everything else is a string.
    fn set(&mut self, path: &str, text: &str, origin: &str) {
        let parsed: Option<Table> = toml::from_str(&format!("v = {text}")).ok();
        let value = parsed.and_then(|mut table| table.remove("v"));
        self.put(
            path,
            value.unwrap_or_else(|| Value::String(text.to_owned())),
            origin,
        );
    }

    /// Whether anything is set under a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.value_at(path).is_some()
    }

    /// A text by its path, such as `tls.ca`.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.value_at(path)?.as_str()
    }

    fn value_at(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = parts.next().and_then(|part| self.table.get(part));
        parts.fold(first, |value, part| value?.get(part))
    }

    /// The checked shape.
    ///
    /// # Errors
    /// `CONFIG_UNKNOWN_KEY` with the nearest key, or `CONFIG_INVALID`.
    pub fn shape<T: serde::de::DeserializeOwned>(&self) -> Result<T, ConfigError> {
        T::deserialize(self.table.clone()).map_err(|error| {
            match ConfigError::of_serde(&error.to_string()) {
                ConfigError::UnknownKey(detail) => ConfigError::UnknownKey(self.placed(detail)),
                invalid @ ConfigError::Invalid(_) => invalid,
            }
        })
    }

    /// A complaint about a value, with where that value comes from and what it is.
    #[must_use]
    pub fn located(&self, error: ConfigError) -> ConfigError {
        let ConfigError::Invalid(detail) = error else {
            return error;
        };
        // serde names the place on a line of its own.
        let detail = match detail.split_once("\nin `") {
            Some((why, place)) => format!("{}: {why}", place.trim().trim_end_matches('`')),
            None => detail,
        };
        let detail = detail.replace(
            "invalid socket address syntax",
            "an IP address and a port, such as 127.0.0.1:7350",
        );
        // One table where several may stand.
        let detail = match detail.strip_suffix(": invalid type: map, expected a sequence") {
            Some(key) => format!("{key}: it is written in double brackets, [[{key}]]"),
            None => detail,
        };
        let named = self.origins().into_iter();
        let named = named.filter(|(path, ..)| detail.contains(path.as_str()));
        let Some((path, value, origin)) = named.max_by_key(|(path, ..)| path.len()) else {
            return ConfigError::Invalid(detail);
        };
        let is_list = matches!(self.value_at(&path), Some(Value::Array(_)));
        let given = if is_list {
            String::new()
        } else {
            format!("; it is {value}")
        };
        ConfigError::Invalid(format!("{origin}: {detail}{given}"))
    }

    /// With where the key that is quoted first comes from.
    fn placed(&self, detail: String) -> String {
        let key = detail.split('`').nth(1).unwrap_or_default();
        // Tables in double brackets are one value here.
        let is_inside = |path: &str| match self.value_at(path) {
            Some(Value::Array(all)) => {
                let mut tables = all.iter().filter_map(Value::as_table);
                tables.any(|table| table.contains_key(key))
            }
            _ => false,
        };
        let has = |path: &str| path.split('.').any(|part| part == key);
        let of = |is_one: &dyn Fn(&str) -> bool| -> Vec<(&String, &String)> {
            let all = self.origins.iter();
            all.filter(|(path, _)| is_one(path)).collect()
        };
        let mut found = of(&has);
        if found.is_empty() {
            found = of(&is_inside);
        }
        match found.as_slice() {
            [(path, origin)] => format!("{origin}: {path}: {detail}"),
            [(_, first), rest @ ..] if rest.iter().all(|(_, origin)| origin == first) => {
                format!("{first}: {detail}")
            }
            _ => detail,
        }
    }

    /// Every set value with its origin, by path.
    #[must_use]
    pub fn origins(&self) -> Vec<(String, String, String)> {
        let shown = |path: &String| match self.value_at(path) {
            Some(Value::String(text)) if path.ends_with("url") => {
                Value::String(without_password(text)).to_string()
            }
            Some(value) => value.to_string(),
            None => String::new(),
        };
        self.origins
            .iter()
            .map(|(path, origin)| (path.clone(), shown(path), origin.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        server: Server,
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Server {
        grpc_addr: String,
        workers: u8,
    }

    fn read(text: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<Layers, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Layers::read(file.path(), env, "POLICYD_", &sets)
    }

    const FILE: &str = "[server]\ngrpc_addr = \"127.0.0.1:1\"\nworkers = 1\n";

    #[test]
    fn a_later_layer_wins_and_is_named() {
        let env = [
            ("POLICYD_SERVER__WORKERS", "2"),
            ("POLICYD_CONFIG", "x"),
            ("OTHER__A", "y"),
        ];
        let layers = read(FILE, &env, &["server.grpc_addr=127.0.0.1:0"]).unwrap();
        let shape: Shape = layers.shape().unwrap();
        assert_eq!(
            shape.server,
            Server {
                grpc_addr: "127.0.0.1:0".into(),
                workers: 2
            }
        );
        let origins = layers.origins();
        assert!(origins.iter().any(|(path, value, origin)| {
            path == "server.workers" && value == "2" && origin == "env POLICYD_SERVER__WORKERS"
        }));
        assert!(
            origins
                .iter()
                .any(|(path, _, origin)| path == "server.grpc_addr" && origin == "--set")
        );
    }

    #[test]
    fn a_value_is_told_with_where_it_stands() {
        let layers = read(FILE, &[], &["server.workers=300"]).unwrap();
        let error = layers.shape::<Shape>().unwrap_err();
        let told = layers.located(error).to_string();
        assert!(told.starts_with("--set: server.workers: "), "{told}");
        assert!(told.ends_with("; it is 300"), "{told}");
        let own = ConfigError::invalid("server.grpc_addr is an address");
        let told = layers.located(own).to_string();
        assert!(
            told.ends_with(": server.grpc_addr is an address; it is \"127.0.0.1:1\""),
            "{told}"
        );
        let unnamed = ConfigError::invalid("two things do not fit");
        assert_eq!(layers.located(unnamed.clone()), unnamed);
    }

    #[test]
    fn the_password_of_a_database_is_not_told() {
        let text = "[store]\nurl = \"postgres://writ:s3cret@db/writ\"\n";
        let layers = read(text, &[], &[]).unwrap();
        let wrong = ConfigError::invalid("store.url cannot be used");
        let told = format!("{:?} {}", layers.origins(), layers.located(wrong));
        assert_eq!(told.matches("postgres://writ@db/writ").count(), 2, "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }

    #[test]
    fn a_text_without_quotes_is_told_as_such() {
        for (text, hint) in [
            (
                "[server]\ngrpc_addr = 127.0.0.1:1   # ours\n",
                Some("a text stands in double quotes: grpc_addr = \"127.0.0.1:1\""),
            ),
            (
                "ca = certs/ca.pem",
                Some("a text stands in double quotes: ca = \"certs/ca.pem\""),
            ),
            ("a = \"x", None),
            ("watch = yes", None),
            ("watch = ture", None),
            (
                "workers = 1 2",
                Some("a text stands in double quotes: workers = \"1 2\""),
            ),
            ("[server\n", None),
        ] {
            let told = read(text, &[], &[]).unwrap_err().to_string();
            let said = told.contains("double quotes").then_some(());
            assert_eq!(said.is_some(), hint.is_some(), "{told}");
            assert!(told.ends_with(hint.unwrap_or_default()), "{told}");
        }
    }

    #[test]
    fn an_unknown_key_is_placed_where_it_stands_once_or_more_in_one_file() {
        let detail = "unknown field `nme`";
        for (text, starts) in [
            ("[b]\nnme = 1\n", ": b.nme: unknown"),
            ("[[a]]\nname = 1\n[[a]]\nnme = 1\n", ": a: unknown"),
            ("[b]\nnme = 1\n[c]\nnme = 1\n", ": unknown"),
        ] {
            let told = read(text, &[], &[]).unwrap().placed(detail.to_owned());
            assert!(told.starts_with('/') && told.contains(starts), "{told}");
        }
        let elsewhere = read("[b]\nc = 1\n", &[], &[]).unwrap();
        assert_eq!(elsewhere.placed(detail.to_owned()), detail);
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_one() {
        for (text, found, near) in [
            ("[sever]\n", "sever", "server"),
            (
                "[server]\ngrpc_adr = \"x\"\nworkers = 1\n",
                "grpc_adr",
                "grpc_addr",
            ),
        ] {
            let error = read(text, &[], &[]).unwrap().shape::<Shape>().unwrap_err();
            assert!(
                matches!(&error, ConfigError::UnknownKey(detail)
                    if detail.contains(found) && detail.contains(near)),
                "{error}"
            );
        }
    }
}
