//! Files that are replaced as a whole and survive a loss of power.

use std::fs::File;
use std::io::{Result, Write as _};
use std::path::Path;

/// Replaces a file in one step; what is half written is never read.
///
/// # Errors
/// When it cannot be written; the file is then the old one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&fresh, path)
}

/// Renames a file within its folder, and waits until the disk has it.
///
/// # Errors
/// When it cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
