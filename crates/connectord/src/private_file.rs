//! Files that only their owner may read.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use writ_proto::Reason;
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

/// Gives a file the owner of another one that is there: whoever runs a command as root takes nothing away
/// from the daemon.
///
/// # Errors
/// When this user may not.
pub fn owned_like(path: &Path, other: &Path) -> std::io::Result<()> {
    let (Ok(own), Ok(other)) = (std::fs::metadata(path), std::fs::metadata(other)) else {
        return Ok(());
    };
    if (own.uid(), own.gid()) == (other.uid(), other.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(other.uid()), Some(other.gid()))
}

/// A rename is durable when its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes a file with mode 0600, whole or not at all. Only a file of its own is written on the way,
/// so that nothing that lies there is followed, changed or taken over with its mode.
///
/// # Errors
/// `KEY_INVALID` when it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    let name = crate::ids::new_id().simple().to_string();
    let fresh = path.with_extension(format!("{name}.new"));
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh);
    let written = file.and_then(|mut file| {
        let written = owned_like(&fresh, path)
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
