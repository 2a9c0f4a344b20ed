//! One process for a SQLite file.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::owner::lock_file;

/// Why a file is not ours alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AloneError {
    /// Another process has it.
    #[error("{0}: another process uses this database")]
    Taken(String),
    /// No lock can be made.
    #[error("{0}")]
    Failed(String),
}

/// Holds `FILE.lock` for as long as what it gives lives; nothing for a database of a server, which many use.
///
/// # Errors
/// When another process holds it, or it cannot be made.
pub fn alone(url: &str) -> Result<Option<File>, AloneError> {
    let Some(file) = url.strip_prefix("sqlite://") else {
        return Ok(None);
    };
    let path = format!("{file}.lock");
    let failed = |error: std::io::Error| AloneError::Failed(format!("{path}: {error}"));
    let lock = lock_file(Path::new(&path), Path::new(file)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(AloneError::Taken(file.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn no_link_is_followed_and_what_root_makes_is_the_daemons() {
        let folder = tempfile::tempdir().unwrap();
        let (db, lock) = (folder.path().join("a.db"), folder.path().join("a.db.lock"));
        std::fs::write(&db, "").unwrap();
        let url = format!("sqlite://{}", db.display());
        let target = folder.path().join("target");
        std::os::unix::fs::symlink(&target, &lock).unwrap();
        assert!(matches!(alone(&url), Err(AloneError::Failed(_))));
        assert!(!target.exists());
        std::fs::remove_file(&lock).unwrap();
        if std::os::unix::fs::chown(&db, Some(65_534), Some(65_534)).is_err() {
            eprintln!("SKIPPED in part: only root gives files away");
            return;
        }
        let held = alone(&url).unwrap();
        assert_eq!(std::fs::metadata(&lock).unwrap().uid(), 65_534);
        drop(held);
        // What has another name too is somebody else's.
        std::fs::hard_link(&lock, folder.path().join("other")).unwrap();
        std::os::unix::fs::chown(&lock, Some(0), Some(0)).unwrap();
        drop(alone(&url).unwrap());
        assert_eq!(std::fs::metadata(&lock).unwrap().uid(), 0);
    }

    #[test]
    fn a_file_is_used_by_one_process_and_a_server_by_many() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a.db", folder.path().display());
        let first = alone(&url).unwrap();
        assert!(first.is_some());
        assert!(matches!(alone(&url), Err(AloneError::Taken(_))));
        drop(first);
        assert!(alone(&url).unwrap().is_some());
        assert!(alone("postgres://h/d").unwrap().is_none());
        assert!(matches!(
            alone("sqlite:///nowhere/at/all"),
            Err(AloneError::Failed(_))
        ));
    }
}
