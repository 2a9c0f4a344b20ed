//! What policyd remembers outside its database: how far each log has come. A database that was put back
//! would continue the log under the same places with other records; the head that was signed before
//! and the one that is signed after would contradict each other, and nobody could tell which is true.

mod compare;

pub use compare::{check, compared, restored};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use writ_proto::Reason;
use writ_proto::host::store::durable;
use writ_proto::host::store::owner::{folder_of, lock_in_turn};
use writ_proto::host::store::postgres::without_password;
use writ_proto::ids::TenantId;
use writ_proto::keyset::KeySet;

use crate::config::Config;
use crate::domain::log::merkle::Hash;
use crate::error::AppError;

/// How long another process is waited for that has the file.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

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
    /// The trust documents, by the name of the logs.
    pub trust: BTreeMap<String, TrustMark>,
    /// What each log tells of, by its origin.
    pub told: BTreeMap<String, Told>,
}

impl Marks {
    /// A file that was put back or removed beside a running process takes nothing from what that process knows: an older
    /// trust document would be in force again, and a change of keys in no log.
    fn not_behind(&mut self, held: &Self, log: &str) {
        if let Some(known) = held.trust.get(log) {
            let found = self.trust.get(log).map_or(0, |found| found.version);
            if found < known.version {
                self.trust.insert(log.to_owned(), known.clone());
            }
        }
        for (origin, told) in &held.told {
            let absent = !self.told.contains_key(origin);
            if absent {
                self.told.insert(origin.clone(), told.clone());
            }
        }
    }
}

/// What a log tells of those who decide and sign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Status of each key, by its id.
    pub keys: BTreeMap<String, String>,
    /// Digest of each value that is decided and signed by.
    pub deciding: BTreeMap<String, String>,
}

/// The newest trust document that was in force here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustMark {
    /// Its version.
    pub version: u64,
    /// Digest of its content, hex.
    pub digest: String,
}

/// The file, and the logs that this process remembers.
#[derive(Debug)]
pub struct MarkFile {
    path: PathBuf,
    /// Prefix of the origins of the logs.
    log: String,
    /// The address of the database, by which earlier versions wrote the logs down.
    address: String,
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

fn mark_of(keys: &KeySet) -> TrustMark {
    TrustMark {
        version: keys.version,
        digest: hex::encode(keys.digest()),
    }
}

/// Puts a trust document in the place of the one that is remembered.
fn supersede(marks: &mut Marks, log: &str, fresh: &TrustMark) -> Result<(), AppError> {
    if let Some(known) = marks.trust.get(log) {
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
    marks.trust.insert(log.to_owned(), fresh.clone());
    Ok(())
}

impl MarkFile {
    /// Reads the file of a configuration; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(config: &Config) -> Result<Self, AppError> {
        let own = Self {
            held: Mutex::default(),
            path: config.store.mark_file.clone(),
            log: config.records.log.clone(),
            address: without_password(&config.store.url),
        };
        *own.held.lock().unwrap_or_else(PoisonError::into_inner) = own.load()?;
        Ok(own)
    }

    /// What the file holds; what an earlier version wrote down under the address is that of the log.
    fn load(&self) -> Result<Marks, AppError> {
        let mut marks = read(&self.path)?;
        if let Some(earlier) = marks.logs.remove(&self.address) {
            let own = marks.logs.entry(self.log.clone()).or_default();
            for (tenant, mark) in earlier {
                let known = own.get(&tenant).map_or(0, |known| known.size);
                if mark.size > known {
                    own.insert(tenant, mark);
                }
            }
        }
        Ok(marks)
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
        if (&known.logs, &known.trust, &known.told) == (&before.logs, &before.trust, &before.told) {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
        }
        let lock = self.path.with_extension("lock");
        let _turn = lock_in_turn(&lock, folder_of(&lock), LOCK_WAIT_MAX)
            .map_err(|error| wrong(&lock, error))?;
        let mut marks = self.load()?;
        marks.not_behind(&before, &self.log);
        change(&mut marks)?;
        let text = serde_json::to_vec(&marks).map_err(|error| wrong(&self.path, error))?;
        durable::replace(&self.path, &text).map_err(|error| wrong(&self.path, error))?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = marks;
        Ok(())
    }

    /// What a log tells of, by its origin; none where nothing is remembered.
    #[must_use]
    pub fn told(&self, origin: &str) -> Option<Told> {
        self.held().told.remove(origin)
    }

    /// Remembers what a log tells of.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tell(&self, origin: &str, told: &Told) -> Result<(), AppError> {
        self.write(|marks| {
            marks.told.insert(origin.to_owned(), told.clone());
        })
    }

    /// Whether a trust document may be in force here; nothing is remembered of it yet.
    ///
    /// # Errors
    /// As `trust`.
    pub fn check_trust(&self, keys: &KeySet) -> Result<(), AppError> {
        let mut known = self.held();
        supersede(&mut known, &self.log, &mark_of(keys))
    }

    /// Remembers a trust document.
    ///
    /// # Errors
    /// `TRUST_INVALID` for one that is older than what is remembered, or another one of the same version:
    /// a key that was revoked since would be believed again. And when the file cannot be written.
    pub fn trust(&self, keys: &KeySet) -> Result<(), AppError> {
        let fresh = mark_of(keys);
        self.write_if(|marks| supersede(marks, &self.log, &fresh))
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
            address: "sqlite://x".into(),
        }
    }

    fn heads(size: u64) -> Heads {
        let tenant = TenantId::parse("acme").unwrap();
        BTreeMap::from([(tenant, (size, [u8::try_from(size).unwrap(); 32]))])
    }

    #[test]
    fn a_trust_document_is_followed_by_a_newer_one_only() {
        use writ_proto::keyset::{KeyEntry, KeyUse};
        let folder = tempfile::tempdir().unwrap();
        let document = |version: u64, seed: u8| {
            let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
            let entry = KeyEntry::new(key.verifying_key(), "policyd", KeyUse::Decision);
            KeySet::new(version, vec![entry]).unwrap()
        };
        for (version, seed, taken) in [
            (3, 1, true),
            (3, 1, true),
            (3, 2, false),
            (2, 1, false),
            (4, 2, true),
            (3, 1, false),
        ] {
            let (marks, keys) = (file(folder.path()), document(version, seed));
            let wanted = (!taken).then_some(Reason::TrustInvalid);
            for found in [marks.check_trust(&keys), marks.trust(&keys)] {
                let found = found.err().map(|error| error.reason);
                assert_eq!(found, wanted, "{version} {seed}");
            }
        }
    }

    #[test]
    fn a_file_that_is_put_back_takes_nothing_from_a_running_process() {
        use writ_proto::keyset::{KeyEntry, KeyUse};
        let document = |version: u64| {
            let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
            let entry = KeyEntry::new(key.verifying_key(), "policyd", KeyUse::Decision);
            KeySet::new(version, vec![entry]).unwrap()
        };
        for gone in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let marks = file(folder.path());
            marks.trust(&document(4)).unwrap();
            let yesterday = std::fs::read(&marks.path).unwrap();
            marks.trust(&document(5)).unwrap();
            marks.tell("writ.test/log/acme", &Told::default()).unwrap();
            if gone {
                std::fs::remove_file(&marks.path).unwrap();
            } else {
                std::fs::write(&marks.path, yesterday).unwrap();
            }
            marks.raise(&heads(1), 1).unwrap();
            for held in [&marks, &file(folder.path())] {
                let older = held.trust(&document(4)).unwrap_err();
                assert_eq!(older.reason, Reason::TrustInvalid, "{gone}");
                assert!(held.told("writ.test/log/acme").is_some(), "{gone}");
            }
        }
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
        // What an earlier version wrote down by the address is not lost, also not by the next write.
        let text = std::fs::read_to_string(folder.path().join("state/marks.json")).unwrap();
        let earlier = text.replace("writ.test", "sqlite://x");
        assert_ne!(earlier, text);
        std::fs::write(folder.path().join("state/marks.json"), earlier).unwrap();
        let upgraded = file(folder.path());
        *upgraded.held.lock().unwrap() = upgraded.load().unwrap();
        assert_eq!(upgraded.logs()["acme"].size, 7);
        upgraded.raise(&heads(8), 30).unwrap();
        assert_eq!(upgraded.logs()["acme"].size, 8);
        held.accept(&heads(2)).unwrap();
        assert_eq!(file(folder.path()).logs()["acme"].size, 2);
        std::fs::write(folder.path().join("state/marks.json"), "{").unwrap();
        assert!(read(&folder.path().join("state/marks.json")).is_err());
    }
}
