//! Files that only their owner may read.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use writ_proto::Reason;
use writ_proto::host::store::owner::{folder_of, give};
use zeroize::Zeroizing;

use crate::domain::gate::Refusal;

fn invalid(path: &Path, why: impl core::fmt::Display) -> Refusal {
    Refusal::new(Reason::KeyInvalid, format!("{}: {why}", path.display()))
}

/// Reads a file of mode 0600.
///
/// # Errors
/// `KEY_FILE_MODE` with the command that repairs it, `KEY_INVALID` when it cannot be read.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, Refusal> {
    let mode = std::fs::metadata(path)
        .map_err(|error| invalid(path, error))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        let name = path.display();
        let detail = format!(
            "{name} has mode {:o}, others can use it. Fix: chmod 600 {name}",
            mode & 0o777
        );
        return Err(Refusal::new(Reason::KeyFileMode, detail));
    }
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| invalid(path, error))
}

/// Gives a file that was just made the owner of what it will replace, or, where there is nothing, that of `like`: whoever
/// runs a command as root takes nothing away from the daemon. By the open file: a name may be a link by then.
fn owned_like(file: &File, path: &Path, like: &Path) -> std::io::Result<()> {
    let (own, other) = match std::fs::symlink_metadata(path) {
        Ok(other) => (file.metadata()?, other),
        Err(_) => {
            give(file, like);
            return Ok(());
        }
    };
    if (own.uid(), own.gid()) == (other.uid(), other.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(other.uid()), Some(other.gid()))
}

/// A rename is durable when its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Writes a file with mode 0600, whole or not at all. Only a file of its own is written on the way,
/// so that nothing that lies there is followed, changed or taken over with its mode.
///
/// # Errors
/// `KEY_INVALID` when it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    write_private_like(path, folder_of(path), bytes)
}

/// The same; a file that was not there is of the owner of `like`.
///
/// # Errors
/// `KEY_INVALID` when it cannot be written.
pub fn write_private_like(path: &Path, like: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    let name = crate::ids::new_id().simple().to_string();
    let fresh = path.with_extension(format!("{name}.new"));
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh);
    let written = file.and_then(|mut file| {
        let written = owned_like(&file, path, like)
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&fresh, path))
            .and_then(|()| sync_folder(path));
        if written.is_err() {
            // What could not be put into its place is a secret that nobody looks for.
            drop(std::fs::remove_file(&fresh));
        }
        written
    });
    written.map_err(|error| invalid(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_the_owner_of_what_it_replaces_and_else_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
        if !root {
            eprintln!("SKIPPED: only root gives files away");
            return;
        }
        let owner = |path: &Path| std::fs::symlink_metadata(path).unwrap().uid();
        std::os::unix::fs::chown(folder.path(), Some(1), Some(1)).unwrap();
        let path = folder.path().join("secret");
        write_private(&path, b"1").unwrap();
        assert_eq!(owner(&path), 1, "as its folder");
        std::os::unix::fs::chown(&path, Some(2), Some(2)).unwrap();
        write_private(&path, b"2").unwrap();
        assert_eq!(owner(&path), 2, "as the one before it");
        // A link that somebody left there gives nothing of what it names away.
        let other = folder.path().join("other");
        std::fs::write(&other, "theirs").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write_private(&path, b"3").unwrap();
        assert_eq!((owner(&other), owner(&path)), (0, 0));
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "theirs");
    }
}
