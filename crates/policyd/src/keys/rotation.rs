//! Changing keys: one command at a time, and what was cut off between its steps is finished.
//!
//! The steps: a document that lists the next key beside the one that signs; when it is due, the next key takes the place
//! of the other in its file; a document in which the other one retires. After each of them, whoever reads the document
//! believes every key that may sign.

use std::path::{Path, PathBuf};

use ed25519_dalek::{SigningKey, VerifyingKey};
use writ_proto::Reason;
use writ_proto::host::store::durable;
use writ_proto::host::store::owner::{folder_of, lock_file};
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};
use writ_proto::limits::{LEEWAY_SECONDS_MAX, TOKEN_TTL_SECONDS_MAX};

use super::{KeyError, create, invalid, load};

/// How long a key that signs no more verifies writs that it signed before: an hour beyond their longest life.
const RETIRES_AFTER_SECONDS: i64 = 3_600;

/// The keys of one use: their file, and the document that lists them.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// What they sign.
    pub usage: KeyUse,
    /// Where the one that signs lies.
    pub file: &'a Path,
    /// The trust document.
    pub document: &'a Path,
    /// In whose name they sign.
    pub issuer: &'a str,
}

/// Keeps others from changing keys and trust document, until it is dropped.
///
/// # Errors
/// `UNAVAILABLE` while another command changes them; `KEY_INVALID` where nobody can keep them.
pub fn lock(trust_document: &Path) -> Result<std::fs::File, KeyError> {
    let path = trust_document.with_extension("lock");
    let file = lock_file(&path, folder_of(&path)).map_err(|error| invalid(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(KeyError {
            reason: Reason::Unavailable,
            detail: format!("{}: another command changes the keys now", path.display()),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(invalid(&path, error)),
    }
}

/// Where the key waits that follows the one of a file.
#[must_use]
pub fn next_of(file: &Path) -> PathBuf {
    file.with_extension("next.pem")
}

/// When a listed key may sign, Unix seconds: verifiers whose clock is behind know it by then.
fn due(entry: &KeyEntry) -> i64 {
    let from = entry.not_before.unwrap_or(i64::MIN);
    from.saturating_add(LEEWAY_SECONDS_MAX.into())
}

impl Rotation<'_> {
    /// The keys of this use and issuer that may sign, in the order in which they were made.
    fn active<'s>(&self, set: &'s KeySet) -> impl Iterator<Item = &'s KeyEntry> {
        let (usage, issuer) = (self.usage, self.issuer.to_owned());
        let ours = move |entry: &&KeyEntry| {
            entry.usage == usage && entry.issuer == issuer && entry.status == KeyStatus::Active
        };
        set.entries().iter().filter(ours)
    }

    /// Makes the next key and a document that lists it; it signs from a moment on, Unix seconds.
    ///
    /// # Errors
    /// When there are too many keys, or a file cannot be written.
    pub fn begin(&self, set: &KeySet, trust: &SigningKey, due: i64) -> Result<KeySet, KeyError> {
        let next = next_of(self.file);
        let key = create(&next)?.verifying_key();
        belongs_to_owner_of(self.file, &next)?;
        let mut entry = KeyEntry::new(key, self.issuer, self.usage);
        entry.not_before = Some(due.saturating_sub(LEEWAY_SECONDS_MAX.into()));
        let mut entries: Vec<KeyEntry> = set.entries().to_vec();
        entries.push(entry);
        let document = next_version(set, entries)?;
        publish(self.document, &document, trust)?;
        Ok(document)
    }

    /// Whether there may be something to finish. Nothing is read but names.
    #[must_use]
    pub fn may_be_unfinished(&self, set: &KeySet) -> bool {
        self.active(set).nth(1).is_some() || next_of(self.file).exists()
    }

    /// Finishes what is due: the next key takes its place, and the one before retires. The document that is in force then,
    /// where it is another one. A next key that no document lists was never told to anybody and is removed. Whoever calls
    /// has the lock and has proven that the document is not an old one.
    ///
    /// # Errors
    /// When a file cannot be read or moved.
    pub fn finish(
        &self,
        set: &KeySet,
        trust: &SigningKey,
        now_seconds: i64,
    ) -> Result<Option<KeySet>, KeyError> {
        let next = next_of(self.file);
        if next.exists() {
            let key = load(&next)?.verifying_key();
            match self.active(set).find(|entry| entry.key == key) {
                Some(entry) if due(entry) > now_seconds => return Ok(None),
                Some(_) => durable::rename(&next, self.file),
                None => std::fs::remove_file(&next),
            }
            .map_err(|error| invalid(&next, error))?;
        }
        let key = load(self.file)?.verifying_key();
        // Where another machine has a newer key already, this file is the one to be replaced.
        let newest = self
            .active(set)
            .last()
            .is_some_and(|entry| entry.key == key);
        let alone = self.active(set).nth(1).is_none();
        if alone || !newest {
            return Ok(None);
        }
        let document = self.retired(set, &key, now_seconds)?;
        publish(self.document, &document, trust)?;
        Ok(Some(document))
    }

    /// The next document: of these keys only this one signs.
    fn retired(&self, set: &KeySet, key: &VerifyingKey, now: i64) -> Result<KeySet, KeyError> {
        let life = TOKEN_TTL_SECONDS_MAX.saturating_add(LEEWAY_SECONDS_MAX);
        let last = now
            .saturating_add(i64::from(life))
            .saturating_add(RETIRES_AFTER_SECONDS);
        let others: Vec<[u8; 16]> = self.active(set).map(|entry| entry.kid).collect();
        let mut entries: Vec<KeyEntry> = set.entries().to_vec();
        for entry in &mut entries {
            if others.contains(&entry.kid) && entry.key != *key {
                entry.status = KeyStatus::Retiring;
                entry.not_after = (self.usage == KeyUse::Decision).then_some(last);
            }
        }
        next_version(set, entries)
    }
}

/// A key that root makes is of use to the daemon only if it can read it.
fn belongs_to_owner_of(file: &Path, next: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let owner = std::fs::metadata(file).map_err(|error| invalid(file, error))?;
    let own = std::fs::metadata(next).map_err(|error| invalid(next, error))?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    chown(next, Some(owner.uid()), Some(owner.gid())).map_err(|error| {
        // Nobody was told of it yet.
        drop(std::fs::remove_file(next));
        invalid(
            next,
            format!(
                "it cannot be given to the owner of {}: {error}",
                file.display()
            ),
        )
    })
}

fn next_version(set: &KeySet, entries: Vec<KeyEntry>) -> Result<KeySet, KeyError> {
    KeySet::new(set.version.saturating_add(1), entries).map_err(|error| KeyError {
        reason: Reason::TrustInvalid,
        detail: error.to_string(),
    })
}

/// Replaces the trust document in one step.
///
/// # Errors
/// When it cannot be written.
pub fn publish(path: &Path, document: &KeySet, trust: &SigningKey) -> Result<(), KeyError> {
    durable::replace(path, document.sign_document(trust).as_bytes())
        .map_err(|error| invalid(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_nobody_can_take_is_not_one_that_somebody_has() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("public.json");
        let held = lock(&document).unwrap();
        let busy = lock(&document).unwrap_err();
        assert_eq!(busy.reason, Reason::Unavailable);
        drop(held);
        std::fs::remove_file(document.with_extension("lock")).unwrap();
        std::fs::create_dir(document.with_extension("lock")).unwrap();
        let unusable = lock(&document).unwrap_err();
        assert_eq!(unusable.reason, Reason::KeyInvalid);
    }

    /// A folder with a key that signs, and the first document.
    fn begun(folder: &Path) -> (PathBuf, PathBuf, SigningKey, KeySet) {
        let (file, document) = (folder.join("token.pem"), folder.join("public.json"));
        let key = create(&file).unwrap();
        let trust = SigningKey::from_bytes(&[9; 32]);
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let first = KeySet::new(
            1,
            vec![
                KeyEntry::new(key.verifying_key(), "policyd", KeyUse::Decision),
                KeyEntry::new(other, "elsewhere", KeyUse::Decision),
                KeyEntry::new(trust.verifying_key(), "policyd", KeyUse::Trust),
            ],
        );
        let first = first.unwrap();
        publish(&document, &first, &trust).unwrap();
        (file, document, trust, first)
    }

    fn statuses(set: &KeySet) -> Vec<KeyStatus> {
        set.entries().iter().map(|entry| entry.status).collect()
    }

    #[test]
    fn every_step_can_be_the_last_one_before_a_crash() {
        use KeyStatus::{Active, Retiring};
        let folder = tempfile::tempdir().unwrap();
        let (file, document, trust, first) = begun(folder.path());
        let rotation = Rotation {
            usage: KeyUse::Decision,
            file: &file,
            document: &document,
            issuer: "policyd",
        };
        assert!(!rotation.may_be_unfinished(&first));
        assert_eq!(rotation.finish(&first, &trust, 100), Ok(None));
        let old = load(&file).unwrap();
        // Cut off before anybody was told of it.
        create(&next_of(&file)).unwrap();
        assert!(rotation.may_be_unfinished(&first));
        assert_eq!(rotation.finish(&first, &trust, 100), Ok(None));
        assert!(!next_of(&file).exists());
        // Cut off while it waits: it goes on waiting, and the old key signs.
        let listed = rotation.begin(&first, &trust, 100).unwrap();
        assert_eq!(statuses(&listed), [Active, Active, Active, Active]);
        assert_eq!(rotation.finish(&listed, &trust, 99), Ok(None));
        assert_eq!(load(&file).unwrap().to_bytes(), old.to_bytes());
        let entry = listed.entries().last().unwrap();
        assert!(entry.verifies(KeyUse::Decision, 100 - i64::from(LEEWAY_SECONDS_MAX)));
        // Cut off after the key has taken its place, and before the last document.
        let next = load(&next_of(&file)).unwrap();
        std::fs::rename(next_of(&file), &file).unwrap();
        assert!(rotation.may_be_unfinished(&listed));
        let last = rotation.finish(&listed, &trust, 100).unwrap().unwrap();
        assert_eq!(statuses(&last), [Retiring, Active, Active, Active]);
        assert_eq!(load(&file).unwrap().to_bytes(), next.to_bytes());
        let written = std::fs::read_to_string(&document).unwrap();
        assert_eq!(written, last.sign_document(&trust));
        let until = last.entries()[0].not_after.unwrap();
        assert_eq!(until, 100 + 3_600 + 300 + 30);
        assert!(!rotation.may_be_unfinished(&last));
        assert_eq!(rotation.finish(&last, &trust, 100), Ok(None));
    }

    #[test]
    fn one_command_at_a_time_changes_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("public.json");
        let held = lock(&document).unwrap();
        assert_eq!(lock(&document).unwrap_err().reason, Reason::Unavailable);
        drop(held);
        assert!(lock(&document).is_ok());
    }

    #[test]
    fn the_next_key_belongs_to_whom_the_one_before_does() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let (file, document, trust, first) = begun(folder.path());
        let nobody = 65_534;
        if chown(&file, Some(nobody), Some(nobody)).is_err() {
            println!("SKIPPED: only root gives files away");
            return;
        }
        let rotation = Rotation {
            usage: KeyUse::Decision,
            file: &file,
            document: &document,
            issuer: "policyd",
        };
        rotation.begin(&first, &trust, 100).unwrap();
        let next = std::fs::metadata(next_of(&file)).unwrap();
        assert_eq!((next.uid(), next.gid()), (nobody, nobody));
    }

    #[test]
    fn a_machine_that_has_the_older_key_retires_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (file, document, trust, first) = begun(folder.path());
        let rotation = Rotation {
            usage: KeyUse::Decision,
            file: &file,
            document: &document,
            issuer: "policyd",
        };
        let listed = rotation.begin(&first, &trust, 100).unwrap();
        // The next key is on another machine only.
        std::fs::remove_file(next_of(&file)).unwrap();
        assert_eq!(rotation.finish(&listed, &trust, 1_000), Ok(None));
    }
}
