//! The halt state: a directory of flag files, read afresh at each check. It imports nothing of
//! this crate, needs no database and no policyd, and `touch state/halt/global` is enough.
//!
//! A file is named after its scope, other characters as `%XX`. What cannot be read is halted.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FLAGS_MAX: usize = 10_000;
const EPOCH: &str = "epoch";

/// One halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Flag {
    /// `global`, `tenant:T`, `connection:C`, `action:A`, `agent:G`, `customer:N`.
    #[serde(default)]
    pub scope: String,
    /// Who; empty for a file made by hand.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Unix seconds; 0 where it is not known.
    #[serde(default)]
    pub since: i64,
}

/// What is halted right now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HaltState {
    /// Raised by every global halt; a writ of another epoch is refused.
    pub epoch: u64,
    /// All flags, sorted by scope.
    pub flags: Vec<Flag>,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct HaltStore {
    folder: PathBuf,
}

/// Why the state is not known, or could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HaltError(pub String);

fn failed(path: &Path, why: impl core::fmt::Display) -> HaltError {
    HaltError(format!("{}: {why}", path.display()))
}

const KINDS: [&str; 5] = ["tenant", "connection", "action", "agent", "customer"];

/// Whether a text is a scope.
#[must_use]
pub fn is_scope(scope: &str) -> bool {
    let of_kind =
        |(kind, name): (&str, &str)| KINDS.contains(&kind) && !name.is_empty() && name.len() <= 128;
    scope == "global" || scope.split_once(':').is_some_and(of_kind)
}

fn file_name(scope: &str) -> String {
    let mut name = String::with_capacity(scope.len());
    for byte in scope.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

fn scope_of(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let text = core::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(text, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl HaltState {
    /// The first of some scopes that is halted.
    #[must_use]
    pub fn covers<'a>(&self, scopes: &'a [String]) -> Option<&'a str> {
        let halted = |scope: &&String| self.flags.iter().any(|flag| flag.scope == **scope);
        scopes.iter().find(halted).map(String::as_str)
    }
}

/// The scopes that halt a call.
#[must_use]
pub fn scopes_of(tenant: &str, connection: &str, action: &str, agent: &str) -> Vec<String> {
    vec![
        "global".to_owned(),
        format!("tenant:{tenant}"),
        format!("connection:{connection}"),
        format!("action:{action}"),
        format!("agent:{agent}"),
    ]
}

impl HaltStore {
    /// The store in a folder; it must exist, or everything is halted.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Reads the state.
    ///
    /// # Errors
    /// When any part of it cannot be read: callers treat that as halted.
    pub fn read(&self) -> Result<HaltState, HaltError> {
        let mut state = HaltState::default();
        let entries = std::fs::read_dir(&self.folder).map_err(|e| failed(&self.folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(&self.folder, error))?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| failed(&self.folder, "a strange name"))?;
            if name.starts_with('.') {
                continue;
            }
            if name == EPOCH {
                let text = std::fs::read_to_string(entry.path());
                let text = text.map_err(|error| failed(&entry.path(), error))?;
                state.epoch = text.trim().parse().map_err(|e| failed(&entry.path(), e))?;
                continue;
            }
            state.flags.push(Self::flag(&entry.path(), name));
            if state.flags.len() > FLAGS_MAX {
                return Err(failed(&self.folder, "too many flags"));
            }
        }
        state.flags.sort_by(|a, b| a.scope.cmp(&b.scope));
        Ok(state)
    }

    /// A flag counts whatever is in its file.
    fn flag(path: &Path, name: &str) -> Flag {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut flag: Flag = serde_json::from_str(&text).unwrap_or_default();
        // The name decides; an unreadable one halts everything rather than nothing.
        flag.scope = scope_of(name)
            .filter(|scope| is_scope(scope))
            .unwrap_or_else(|| "global".to_owned());
        flag
    }

    /// Sets a halt; a global one raises the epoch, so that no outstanding writ survives it.
    ///
    /// # Errors
    /// When the flag could not be made durable.
    pub fn set(&self, flag: &Flag) -> Result<HaltState, HaltError> {
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let text = serde_json::to_string(flag).unwrap_or_default();
        self.write(&file_name(&flag.scope), &text)?;
        if flag.scope == "global" {
            let epoch = self.read()?.epoch.saturating_add(1);
            self.write(EPOCH, &epoch.to_string())?;
        }
        self.read()
    }

    /// Clears a halt; the epoch stays.
    ///
    /// # Errors
    /// When the flag could not be removed.
    pub fn clear(&self, scope: &str) -> Result<HaltState, HaltError> {
        let path = self.folder.join(file_name(scope));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&path, error)),
            _ => self.read(),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), HaltError> {
        use std::io::Write as _;
        let (path, fresh) = (
            self.folder.join(name),
            self.folder.join(format!(".{name}.new")),
        );
        let written = std::fs::File::create(&fresh)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
            })
            .and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|error| failed(&path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_file_halts_and_removing_it_resumes() {
        let folder = tempfile::tempdir().unwrap();
        let store = HaltStore::new(folder.path().to_owned());
        assert_eq!(store.read().unwrap(), HaltState::default());
        std::fs::write(folder.path().join("tenant:acme"), "").unwrap();
        let scopes = scopes_of("acme", "crm/main", "refund", "triage");
        assert_eq!(store.read().unwrap().covers(&scopes), Some("tenant:acme"));
        let others = scopes_of("globex", "crm/main", "refund", "triage");
        assert_eq!(store.read().unwrap().covers(&others), None);
        store.clear("tenant:acme").unwrap();
        assert_eq!(store.read().unwrap().covers(&scopes), None);
    }

    #[test]
    fn every_scope_round_trips_through_its_file_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = HaltStore::new(folder.path().to_owned());
        for scope in [
            "tenant:a",
            "connection:crm/main",
            "action:x",
            "agent:a/b c",
            "customer:Ä",
        ] {
            let flag = Flag {
                scope: scope.into(),
                by: "ada".into(),
                ..Flag::default()
            };
            assert!(store.set(&flag).unwrap().flags.contains(&flag), "{scope}");
            assert!(store.clear(scope).unwrap().flags.is_empty(), "{scope}");
        }
        assert!(!is_scope("everything") && !is_scope("tenant:") && !is_scope("planet:earth"));
    }

    #[test]
    fn a_global_halt_raises_the_epoch_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let store = HaltStore::new(folder.path().to_owned());
        let flag = Flag {
            scope: "global".into(),
            ..Flag::default()
        };
        assert_eq!(store.set(&flag).unwrap().epoch, 1);
        assert_eq!(store.clear("global").unwrap().epoch, 1);
        assert_eq!(store.set(&flag).unwrap().epoch, 2);
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let store = HaltStore::new(folder.path().join("absent"));
        assert!(store.read().is_err());
        let store = HaltStore::new(folder.path().to_owned());
        std::fs::write(folder.path().join(EPOCH), "nonsense").unwrap();
        assert!(store.read().is_err());
        std::fs::remove_file(folder.path().join(EPOCH)).unwrap();
        std::fs::write(folder.path().join("misspelt"), "").unwrap();
        assert_eq!(store.read().unwrap().flags[0].scope, "global");
    }
}
