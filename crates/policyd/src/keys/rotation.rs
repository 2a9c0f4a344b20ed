//! Changing keys: one command at a time, and what was cut off between its two steps is finished.

use std::path::{Path, PathBuf};

use writ_proto::Reason;
use writ_proto::keyset::{KeySet, KeyStatus, KeyUse};

use super::{KeyError, invalid, load};

/// Keeps others from changing keys and trust document, until it is dropped.
///
/// # Errors
/// `UNAVAILABLE` while another command changes them.
pub fn lock(trust_document: &Path) -> Result<std::fs::File, KeyError> {
    let path = trust_document.with_extension("lock");
    let file = std::fs::File::create(&path).map_err(|error| invalid(&path, error))?;
    file.try_lock().map_err(|_| KeyError {
        reason: Reason::Unavailable,
        detail: format!("{}: another command changes the keys now", path.display()),
    })?;
    Ok(file)
}

/// Where the key waits that follows the one of a file.
#[must_use]
pub fn next_of(file: &Path) -> PathBuf {
    file.with_extension("next.pem")
}

/// Finishes a rotation that was cut off between its two steps. The document that lists the next key as
/// active is out: the key takes its place. Whether it did. A next key that no document lists was never
/// told to anybody and is removed.
///
/// # Errors
/// When a file cannot be read or moved.
pub fn finish_rotation(file: &Path, set: &KeySet, usage: KeyUse) -> Result<bool, KeyError> {
    let next = next_of(file);
    if !next.exists() {
        return Ok(false);
    }
    let key = load(&next)?;
    let listed = set.entries().iter().any(|entry| {
        entry.key == key.verifying_key()
            && entry.usage == usage
            && entry.status == KeyStatus::Active
    });
    let done = if listed {
        std::fs::rename(&next, file)
    } else {
        std::fs::remove_file(&next)
    };
    done.map_err(|error| invalid(&next, error))?;
    Ok(listed)
}
