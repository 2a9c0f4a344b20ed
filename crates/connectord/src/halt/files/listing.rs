//! What is in a folder of ours.

use std::io::ErrorKind;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use super::{failed, modified};
use crate::halt::{CLEARED_MAX, HaltError};

/// What a folder says of one of its files.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) inode: u64,
}

/// The JSON files of a folder of ours; none if it is not there.
pub(super) fn documents(folder: &Path, most: usize) -> Result<Vec<Entry>, HaltError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".json")) else {
            continue;
        };
        if found.len() >= most {
            return Err(failed(folder, "too many files"));
        }
        found.push(Entry {
            name: name.to_owned(),
            inode: entry.ino(),
        });
    }
    Ok(found)
}

/// Keeps the newest.
pub(super) fn prune(folder: &Path) -> Result<(), HaltError> {
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, error))?;
    let mut paths: Vec<(u128, PathBuf)> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| (modified(&path).1, path))
        .collect();
    paths.sort();
    let many = paths.len().saturating_sub(CLEARED_MAX);
    for (_, path) in paths.into_iter().take(many) {
        drop(std::fs::remove_file(path));
    }
    Ok(())
}
