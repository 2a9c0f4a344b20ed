//! What connectord remembers outside its stores, so that a store that was put back is noticed: the
//! newest execution of the journal, how often actions were moved, epoch and generation of the halts, the
//! version of the trust document, and the time. Each only rises.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use writ_proto::Reason;
use writ_proto::host::store::owner::{A_MOMENT, folder_of, lock_in_turn};
use writ_proto::host::store::postgres::without_password;
use writ_proto::keyset::KeySet;

use crate::config::Config;
use crate::error::AppError;
use crate::halt::{HaltMark, Place};
use crate::private_file::write_private;
use crate::store::JournalMark;

/// What the file holds; journals and stores of halts by their address without password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Marks {
    /// Unix milliseconds.
    pub clock_ms: i64,
    /// Version of the trust document.
    pub trust: u64,
    /// Digest of it, hex.
    pub trust_digest: String,
    /// Stores of halts.
    pub halts: BTreeMap<String, HaltMark>,
    /// Journals.
    pub journals: BTreeMap<String, JournalMark>,
}

/// The file, and the places that this process remembers.
#[derive(Debug)]
pub struct MarkFile {
    path: PathBuf,
    journal: String,
    halts: String,
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

impl MarkFile {
    /// Reads the file of a configuration; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(config: &Config) -> Result<Self, AppError> {
        let path = config.store.mark_file.clone();
        let halts = match &config.halt.place {
            Place::Folder(folder) => folder.display().to_string(),
            Place::Redis(redis) => without_password(&redis.url),
        };
        Ok(Self {
            held: Mutex::new(read(&path)?),
            path,
            journal: without_password(&config.store.url),
            halts,
        })
    }

    /// What is remembered.
    #[must_use]
    pub fn held(&self) -> Marks {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }

    /// What is remembered of our journal.
    #[must_use]
    pub fn journal(&self) -> JournalMark {
        self.held()
            .journals
            .remove(&self.journal)
            .unwrap_or_default()
    }

    /// What is remembered of our store of halts.
    #[must_use]
    pub fn halts(&self) -> HaltMark {
        self.held().halts.remove(&self.halts).unwrap_or_default()
    }

    /// Changes what is remembered, durably; other processes may write the same file.
    fn write(&self, change: impl Fn(&mut Marks)) -> Result<(), AppError> {
        let mut known = self.held();
        let before = known.clone();
        change(&mut known);
        if known == before {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
        }
        let lock = self.path.with_extension("lock");
        let _turn =
            lock_in_turn(&lock, folder_of(&lock), A_MOMENT).map_err(|error| wrong(&lock, error))?;
        let mut marks = read(&self.path)?;
        change(&mut marks);
        let text = serde_json::to_vec(&marks).map_err(|error| wrong(&self.path, error))?;
        write_private(&self.path, &text).map_err(|refusal| wrong(&self.path, refusal.detail))?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = marks;
        Ok(())
    }

    /// Raises the marks of journal, trust document and time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn raise(
        &self,
        journal: &JournalMark,
        trust: &KeySet,
        clock_ms: i64,
    ) -> Result<(), AppError> {
        let digest = hex::encode(trust.digest());
        self.write(|marks| {
            let own = marks.journals.entry(self.journal.clone()).or_default();
            if journal.newest > own.newest {
                own.newest.clone_from(&journal.newest);
            }
            own.moves = own.moves.max(journal.moves);
            if trust.version > marks.trust || marks.trust_digest.is_empty() {
                marks.trust = marks.trust.max(trust.version);
                marks.trust_digest.clone_from(&digest);
            }
            marks.clock_ms = marks.clock_ms.max(clock_ms);
        })
    }

    /// Raises the mark of the halts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn raise_halts(&self, seen: HaltMark) -> Result<(), AppError> {
        self.write(|marks| {
            let own = marks.halts.entry(self.halts.clone()).or_default();
            *own = own.or_higher(seen);
        })
    }

    /// Takes a journal, and the time, for right as they stand.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn accept(&self, journal: &JournalMark, clock_ms: i64) -> Result<(), AppError> {
        self.write(|marks| {
            marks.clock_ms = clock_ms;
            marks.journals.insert(self.journal.clone(), journal.clone());
        })
    }
}

/// Whether a journal is one that was put back.
///
/// # Errors
/// `STORE_RESTORED`, with what is missing.
pub fn check_journal(known: &JournalMark, found: &JournalMark) -> Result<(), AppError> {
    let what = if known.newest > found.newest {
        format!("execution {} is not there", known.newest)
    } else if known.moves > found.moves {
        format!(
            "actions were moved {} times, and it shows {}",
            known.moves, found.moves
        )
    } else {
        return Ok(());
    };
    let message = format!("the journal is older than what this connectord remembers: {what}");
    Err(AppError::new(Reason::StoreRestored, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(newest: &str, moves: i64) -> JournalMark {
        JournalMark {
            newest: newest.to_owned(),
            moves,
        }
    }

    #[test]
    fn a_journal_that_went_back_is_noticed() {
        let known = mark("01a2-5", 7);
        for (newest, moves, good) in [
            ("01a2-5", 7, true),
            ("01a2-6", 9, true),
            ("01a2-4", 9, false),
            ("", 7, false),
            ("01a2-6", 6, false),
        ] {
            let found = check_journal(&known, &mark(newest, moves));
            assert_eq!(found.is_ok(), good, "{newest} {moves}");
        }
        check_journal(&JournalMark::default(), &mark("", 0)).unwrap();
    }

    #[test]
    fn marks_only_rise_whoever_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = || MarkFile {
            path: folder.path().join("state/marks.json"),
            journal: "j".into(),
            halts: "h".into(),
            held: Mutex::default(),
        };
        let (one, other) = (file(), file());
        let keys = |version| KeySet::new(version, Vec::new()).unwrap();
        one.raise(&mark("b", 2), &keys(5), 10).unwrap();
        other.raise(&mark("a", 3), &keys(4), 20).unwrap();
        one.raise_halts(HaltMark {
            epoch: 1,
            generation: 9,
        })
        .unwrap();
        let held = read(&folder.path().join("state/marks.json")).unwrap();
        assert_eq!((held.trust, held.clock_ms), (5, 20));
        assert_eq!(held.trust_digest, hex::encode(keys(5).digest()));
        assert_eq!(held.journals["j"], mark("b", 3));
        assert_eq!(one.halts().generation, 9);
        one.accept(&mark("a", 1), 15).unwrap();
        assert_eq!(one.held().clock_ms, 15);
        assert_eq!(one.journal(), mark("a", 1));
    }
}
