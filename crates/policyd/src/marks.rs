//! What policyd remembers outside its database: how far each log has come. A database that was put back
//! would continue the log under the same places with other records; the head that was signed before
//! and the one that is signed after would contradict each other, and nobody could tell which is true.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use writ_proto::Reason;
use writ_proto::host::postgres::without_password;
use writ_proto::ids::TenantId;

use crate::app::AppError;
use crate::config::Config;
use crate::domain::merkle::{Hash, leaf_hash};
use crate::store::Ledger;

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

/// What the file holds; logs by the address of their database without password, and by tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Marks {
    /// When a log last went on, Unix milliseconds.
    pub clock_ms: i64,
    /// The logs.
    pub logs: BTreeMap<String, BTreeMap<String, LogMark>>,
}

/// The file, and the database that this process remembers.
#[derive(Debug)]
pub struct MarkFile {
    path: PathBuf,
    store: String,
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

impl MarkFile {
    /// Reads the file of a configuration; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(config: &Config) -> Result<Self, AppError> {
        let path = config.store.mark_file.clone();
        Ok(Self {
            held: Mutex::new(read(&path)?),
            path,
            store: without_password(&config.store.url),
        })
    }

    fn held(&self) -> Marks {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }

    /// What is remembered of our database, by tenant.
    #[must_use]
    pub fn logs(&self) -> BTreeMap<String, LogMark> {
        self.held().logs.remove(&self.store).unwrap_or_default()
    }

    /// When a log last went on, as far as is remembered, Unix milliseconds.
    #[must_use]
    pub fn clock_ms(&self) -> i64 {
        self.held().clock_ms
    }

    /// Changes what is remembered, durably; other processes may write the same file.
    fn write(&self, change: impl Fn(&mut Marks)) -> Result<(), AppError> {
        let mut known = self.held();
        let before = known.clone();
        change(&mut known);
        if known.logs == before.logs {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
        }
        let lock = self.path.with_extension("lock");
        let lock = File::create(&lock).map_err(|error| wrong(&lock, error))?;
        lock.lock().map_err(|error| wrong(&self.path, error))?;
        let mut marks = read(&self.path)?;
        change(&mut marks);
        let text = serde_json::to_vec(&marks).map_err(|error| wrong(&self.path, error))?;
        replace(&self.path, &text).map_err(|error| wrong(&self.path, error))?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = marks;
        Ok(())
    }

    /// Raises the marks of logs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn raise(&self, heads: &Heads, now_ms: i64) -> Result<(), AppError> {
        self.write(|marks| {
            marks.clock_ms = marks.clock_ms.max(now_ms);
            let own = marks.logs.entry(self.store.clone()).or_default();
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
            marks.logs.insert(self.store.clone(), logs);
        })
    }
}

/// Which logs are not what is remembered of them, each with what is missing. Empty is good.
///
/// # Errors
/// When the database is away.
pub async fn compared(
    marks: &BTreeMap<String, LogMark>,
    ledger: &Ledger,
) -> Result<BTreeMap<String, String>, AppError> {
    let mut wrong = BTreeMap::new();
    for (name, mark) in marks {
        let Ok(tenant) = TenantId::parse(name) else {
            continue;
        };
        let size = ledger.head(&tenant).await?.frontier.size();
        let at = mark.size.saturating_sub(1);
        if size < mark.size {
            let known = mark.size;
            let text = format!("{known} records are remembered, and the log has {size}");
            wrong.insert(name.clone(), text);
            continue;
        }
        let rows = ledger.record_list(&tenant, at, 1).await?;
        let same = rows
            .first()
            .is_some_and(|row| row.seq == at && hex::encode(leaf_hash(&row.leaf)) == mark.last);
        if !same {
            let text = format!("record {at} is another one than is remembered");
            wrong.insert(name.clone(), text);
        }
    }
    Ok(wrong)
}

/// Refuses a database whose logs are not what is remembered of them.
///
/// # Errors
/// `STORE_RESTORED`, with what is missing.
pub async fn check(marks: &MarkFile, ledger: &Ledger) -> Result<(), AppError> {
    let wrong = compared(&marks.logs(), ledger).await?;
    if wrong.is_empty() {
        return Ok(());
    }
    let lines = wrong
        .iter()
        .map(|(tenant, what)| format!("{tenant}: {what}"));
    let lines: Vec<String> = lines.collect();
    Err(AppError::new(Reason::StoreRestored, lines.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path) -> MarkFile {
        let path = folder.join("state/marks.json");
        MarkFile {
            held: Mutex::new(read(&path).unwrap()),
            path,
            store: "sqlite://x".into(),
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
