//! Files that are replaced as a whole and survive a loss of power.

use std::fs::File;
use std::io::{Result, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::owner::{folder_of, give};

/// Replaces a file in one step; what is half written is never read.
///
/// # Errors
/// When it cannot be written; the file is then the old one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let own = COUNT.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("{}-{own}.new", std::process::id()));
    // One that a crash left.
    drop(std::fs::remove_file(&fresh));
    let written = File::create_new(&fresh).and_then(|mut file| {
        // Whoever runs a command as root, and with whatever mask, takes nothing away from who reads it.
        match std::fs::metadata(path) {
            Ok(old) => {
                give(&file, path);
                file.set_permissions(old.permissions())?;
            }
            Err(_) => give(&file, folder_of(path)),
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        rename(&fresh, path)
    });
    if written.is_err() {
        drop(std::fs::remove_file(&fresh));
    }
    written
}

/// Renames a file within its folder, and waits until the disk has it.
///
/// # Errors
/// When it cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)?;
    File::open(folder_of(to))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_another_one_when_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, held) = (folder.path().join("a.json"), folder.path().join("held"));
        std::fs::write(&path, "old").unwrap();
        // Whoever has opened the old one reads all of it.
        std::fs::hard_link(&path, &held).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(&held).unwrap(), b"old");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "nothing else is left");
    }
}
