//! One process for a SQLite file.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;

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
    let is_new = !std::path::Path::new(&path).exists();
    let lock = File::create(&path).map_err(failed)?;
    if is_new && let Ok(owner) = std::fs::metadata(file) {
        // A command that root runs takes nothing away from the daemon; whoever is not root cannot, and need not.
        drop(std::os::unix::fs::fchown(
            &lock,
            Some(owner.uid()),
            Some(owner.gid()),
        ));
    }
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(AloneError::Taken(file.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
