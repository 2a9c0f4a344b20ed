//! What policyd remembers outside its database: how far each log has come. A database that was put back
//! would continue the log under the same places with other records; the head that was signed before
//! and the one that is signed after would contradict each other, and nobody could tell which is true.

mod compare;

pub use compare::{check, compared, restored};

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use writ_proto::Reason;
use writ_proto::host::postgres::without_password;
use writ_proto::ids::TenantId;
use writ_proto::keyset::{KeyEntry, KeySet};

use crate::app::AppError;
use crate::config::Config;
use crate::domain::merkle::Hash;

/// How far a log has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMark {
    /// Number of its records.
    pub size: u64,
    /// Hash of the last leaf, hex.
    pub last: String,
}

/// Size and last hash of logs by tenant.
pub type Heads = BTreeMap<TenantId, (u64, Hash)>;

/// What the file holds; logs by their name and by tenant. The address of a database says nothing: a copy
/// of yesterday may stand at another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Marks {
    /// When a log last went on, Unix milliseconds.
    pub clock_ms: i64,
    /// The logs.
    pub logs: BTreeMap<String, BTreeMap<String, LogMark>>,
    /// The trust document.
    pub trust: Option<TrustMark>,
    /// What was decided and signed by: path and digest of each value of the configuration.
    pub deciding: BTreeMap<String, String>,
    /// How often that changed.
    pub changes: u64,
}

/// The newest trust document that was in force here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustMark {
    /// Its version.
    pub version: u64,
    /// Digest of its content, hex.
    pub digest: String,
    /// Status of each key, by its id.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
}

/// The file, and the logs that this process remembers.
#[derive(Debug)]
pub struct MarkFile {
    path: PathBuf,
    /// Prefix of the origins of the logs.
    log: String,
    held: Mutex<Marks>,
}

fn wrong(path: &Path, why: impl core::fmt::Display) -> AppError {
    let message = format!("{}: {why}", path.display());
    AppError::new(Reason::StoreUnavailable, message)
}

fn read(path: &Path) -> Result<Marks, AppError> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| wrong(path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Marks::default()),
        Err(error) => Err(wrong(path, error)),
    }
}

/// Replaces a file in one step; what is half written is never read.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn mark_of(keys: &KeySet) -> TrustMark {
    let status = |entry: &KeyEntry| (hex::encode(entry.kid), entry.status.name().to_owned());
    TrustMark {
        version: keys.version,
        digest: hex::encode(keys.digest()),
        keys: keys.entries().iter().map(status).collect(),
    }
}

/// Puts a trust document in the place of the one that is remembered.
fn supersede(marks: &mut Marks, fresh: &TrustMark) -> Result<(), AppError> {
    if let Some(known) = &marks.trust {
        let (was, is) = (known.version, fresh.version);
        if is < was || is == was && known.digest != fresh.digest {
            let what = if is < was {
                "is older"
            } else {
                "is another one"
            };
            let message = format!(
                "the trust document of version {is} {what} than the one of version {was} that was in force here: \
                 put the newest one back"
            );
            return Err(AppError::new(Reason::TrustInvalid, message));
        }
    }
    // Which keys the logs tell of changes only when they tell it.
    let keys = marks
        .trust
        .take()
        .map(|known| known.keys)
        .unwrap_or_default();
    marks.trust = Some(TrustMark {
        keys,
        ..fresh.clone()
    });
    Ok(())
}

impl MarkFile {
    /// Reads the file of a configuration; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(config: &Config) -> Result<Self, AppError> {
        let path = config.store.mark_file.clone();
        let (mut marks, log) = (read(&path)?, config.records.log.clone());
        // Earlier versions wrote the logs down by the address of the database.
        if !marks.logs.contains_key(&log)
            && let Some(own) = marks.logs.remove(&without_password(&config.store.url))
        {
            marks.logs.insert(log.clone(), own);
        }
        Ok(Self {
            held: Mutex::new(marks),
            path,
            log,
        })
    }

    fn held(&self) -> Marks {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }

    /// What is remembered of our logs, by tenant.
    #[must_use]
    pub fn logs(&self) -> BTreeMap<String, LogMark> {
        self.held().logs.remove(&self.log).unwrap_or_default()
    }

    /// When a log last went on, as far as is remembered, Unix milliseconds.
    #[must_use]
    pub fn clock_ms(&self) -> i64 {
        self.held().clock_ms
    }

    /// Changes what is remembered, durably; other processes may write the same file.
    fn write(&self, change: impl Fn(&mut Marks)) -> Result<(), AppError> {
        self.write_if(|marks| {
            change(marks);
            Ok(())
        })
    }

    /// The same, where the change may be refused in view of what others have written.
    fn write_if(
        &self,
        change: impl Fn(&mut Marks) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        let mut known = self.held();
        let before = known.clone();
        change(&mut known)?;
        if (&known.logs, &known.trust, &known.deciding)
            == (&before.logs, &before.trust, &before.deciding)
        {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
        }
        let lock = self.path.with_extension("lock");
        let lock = File::create(&lock).map_err(|error| wrong(&lock, error))?;
        lock.lock().map_err(|error| wrong(&self.path, error))?;
        let mut marks = read(&self.path)?;
        change(&mut marks)?;
        let text = serde_json::to_vec(&marks).map_err(|error| wrong(&self.path, error))?;
        replace(&self.path, &text).map_err(|error| wrong(&self.path, error))?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = marks;
        Ok(())
    }

    /// What is remembered of keys and configuration: status by key id, digest by path, number of changes.
    #[must_use]
    pub fn changes(&self) -> (BTreeMap<String, String>, BTreeMap<String, String>, u64) {
        let held = self.held();
        let keys = held.trust.map(|trust| trust.keys).unwrap_or_default();
        (keys, held.deciding, held.changes)
    }

    /// Remembers what is decided and signed by.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn deciding(&self, values: &BTreeMap<String, String>) -> Result<(), AppError> {
        self.write(|marks| {
            if marks.deciding != *values {
                marks.deciding.clone_from(values);
                marks.changes = marks.changes.saturating_add(1);
            }
        })
    }

    /// Remembers that the logs tell of these keys.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn told(&self, keys: &KeySet) -> Result<(), AppError> {
        let fresh = mark_of(keys);
        self.write(|marks| {
            if let Some(known) = &mut marks.trust {
                known.keys.clone_from(&fresh.keys);
            }
        })
    }

    /// Whether a trust document may be in force here; nothing is remembered of it yet.
    ///
    /// # Errors
    /// As `trust`.
    pub fn check_trust(&self, keys: &KeySet) -> Result<(), AppError> {
        let mut known = self.held();
        supersede(&mut known, &mark_of(keys))
    }

    /// Remembers a trust document.
    ///
    /// # Errors
    /// `TRUST_INVALID` for one that is older than what is remembered, or another one of the same version:
    /// a key that was revoked since would be believed again. And when the file cannot be written.
    pub fn trust(&self, keys: &KeySet) -> Result<(), AppError> {
        let fresh = mark_of(keys);
        self.write_if(|marks| supersede(marks, &fresh))
    }

    /// Raises the marks of logs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn raise(&self, heads: &Heads, now_ms: i64) -> Result<(), AppError> {
        self.write(|marks| {
            marks.clock_ms = marks.clock_ms.max(now_ms);
            let own = marks.logs.entry(self.log.clone()).or_default();
            for (tenant, (size, last)) in heads {
                let known = own.get(tenant.as_str()).map_or(0, |mark| mark.size);
                if *size > known {
                    let last = hex::encode(last);
                    own.insert(tenant.as_str().to_owned(), LogMark { size: *size, last });
                }
            }
        })
    }

    /// Takes the logs for right as they stand.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn accept(&self, heads: &Heads) -> Result<(), AppError> {
        self.write(|marks| {
            let mark = |(tenant, (size, last)): (&TenantId, &(u64, Hash))| {
                let last = hex::encode(last);
                (tenant.as_str().to_owned(), LogMark { size: *size, last })
            };
            let logs = heads.iter().map(mark).collect();
            marks.logs.insert(self.log.clone(), logs);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path) -> MarkFile {
        let path = folder.join("state/marks.json");
        MarkFile {
            held: Mutex::new(read(&path).unwrap()),
            path,
            log: "writ.test".into(),
        }
    }

    fn heads(size: u64) -> Heads {
        let tenant = TenantId::parse("acme").unwrap();
        BTreeMap::from([(tenant, (size, [u8::try_from(size).unwrap(); 32]))])
    }

    #[test]
    fn marks_only_rise_until_somebody_accepts_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (file(folder.path()), file(folder.path()));
        one.raise(&heads(5), 10).unwrap();
        other.raise(&heads(3), 20).unwrap();
        assert_eq!(file(folder.path()).logs()["acme"].size, 5);
        other.raise(&heads(7), 20).unwrap();
        let held = file(folder.path());
        assert_eq!((held.logs()["acme"].size, held.clock_ms()), (7, 20));
        assert_eq!(held.logs()["acme"].last, "07".repeat(32));
        held.accept(&heads(2)).unwrap();
        assert_eq!(file(folder.path()).logs()["acme"].size, 2);
        std::fs::write(folder.path().join("state/marks.json"), "{").unwrap();
        assert!(read(&folder.path().join("state/marks.json")).is_err());
    }
}
