//! The files of a policy folder: which of them count, what they say, and whether they changed.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;

use crate::clock;
use crate::domain::policy::bounds::RULE_FILE_BYTES_MAX;
use crate::domain::policy::{Finding, LOCK, PolicyErrors, Sources};

/// Opening a pipe does not wait for whoever writes into it.
const O_NONBLOCK: i32 = 0o4000;
const FILES_MAX: usize = 10_000;
/// Of `entities.json`; rules and cards are smaller.
const ENTITIES_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Folders of a policy folder, tenants or not.
const FOLDERS_MAX: usize = 10_000;

/// One finding about a file.
pub fn finding(file: &str, message: impl core::fmt::Display) -> PolicyErrors {
    PolicyErrors(vec![Finding {
        reason: Reason::PolicyInvalid,
        file: file.to_owned(),
        message: message.to_string(),
        at: None,
    }])
}

/// Names that tools put beside what people write: `.git`, `..data`, `.x.swp`.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// The folders of tenants by name; what is hidden or no folder is none.
pub(super) fn tenants(folder: &Path) -> Result<Vec<(String, PathBuf)>, PolicyErrors> {
    let shown = folder.display().to_string();
    let entries = std::fs::read_dir(folder).map_err(|error| finding(&shown, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| finding(&shown, error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        // One that cannot be looked at now is not one that is gone: its files are refused, and what is in force stays.
        let is_tenant = match std::fs::metadata(&path) {
            Ok(found) => found.is_dir(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        if !is_hidden(name) && is_tenant {
            found.push((name.to_owned(), path.clone()));
        }
        if found.len() > FOLDERS_MAX {
            return Err(finding(&shown, format!("more than {FOLDERS_MAX} folders")));
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a folder with an ending, sorted. No folder is no files.
pub(super) fn named(folder: &Path, ending: &str) -> Result<Vec<(String, PathBuf)>, PolicyErrors> {
    let mut files = Vec::new();
    let shown = folder.display().to_string();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        // What cannot be read now is not what is not there.
        Err(error) => return Err(finding(&shown, error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| finding(&shown, error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.extension().is_some_and(|found| found == ending) && !is_hidden(name) {
            files.push((name.to_owned(), path.clone()));
        }
        if files.len() > FILES_MAX {
            return Err(finding(&shown, format!("more than {FILES_MAX} files")));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a plain file and never more of it than is allowed: a pipe would be waited for, and a device never
/// ends.
fn read(name: &str, path: &Path, most: u64) -> Result<String, PolicyErrors> {
    let wrong = |error: std::io::Error| finding(name, error);
    let mut options = std::fs::File::options();
    let file = options
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .map_err(wrong)?;
    let data = file.metadata().map_err(wrong)?;
    if !data.is_file() {
        return Err(finding(name, "it is not a plain file"));
    }
    let mut text = String::new();
    let read = file.take(most.saturating_add(1)).read_to_string(&mut text);
    let read = u64::try_from(read.map_err(wrong)?).unwrap_or(u64::MAX);
    if read > most {
        return Err(finding(name, format!("more than {most} bytes")));
    }
    Ok(text)
}

/// Bytes of all rule files of a tenant, and of all its cards.
const FILES_BYTES_MAX: usize = 32 * 1_024 * 1_024;

fn read_all(
    folder: &Path,
    inner: &str,
    ending: &str,
) -> Result<Vec<(String, String)>, PolicyErrors> {
    let most = u64::try_from(RULE_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let (mut all, mut bytes) = (Vec::new(), 0_usize);
    for (name, path) in named(&folder.join(inner), ending)? {
        let shown = Path::new(inner).join(&name).display().to_string();
        let text = read(&shown, &path, most)?;
        bytes = bytes.saturating_add(text.len());
        if bytes > FILES_BYTES_MAX {
            let why =
                format!("the .{ending} files up to here have more than {FILES_BYTES_MAX} bytes");
            return Err(finding(&shown, why));
        }
        all.push((name, text));
    }
    Ok(all)
}

/// The sources of one tenant's folder.
///
/// # Errors
/// When the name is no tenant or a file cannot be read.
pub fn read_tenant(folder: &Path) -> Result<Sources, PolicyErrors> {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let tenant = TenantId::parse(name).map_err(|error| {
        finding(
            name,
            format!("the folder is not named like a tenant: {error}"),
        )
    })?;
    let most = u64::try_from(RULE_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let lock = folder.join(LOCK);
    Ok(Sources {
        tenant,
        set_toml: read("set.toml", &folder.join("set.toml"), most)?,
        policies: read_all(folder, "", "cedar")?,
        cards: read_all(folder, "actions", "toml")?,
        entities_json: read(
            "entities.json",
            &folder.join("entities.json"),
            ENTITIES_BYTES_MAX,
        )?,
        lock: has_lock(folder)?
            .then(|| read(LOCK, &lock, most))
            .transpose()?,
    })
}

/// Whether a set is sealed. A lock that cannot be reached is one: only a name that is not there is none.
pub(super) fn has_lock(folder: &Path) -> Result<bool, PolicyErrors> {
    match std::fs::symlink_metadata(folder.join(LOCK)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(finding(LOCK, error)),
    }
}

/// How long the files of a tenant have been as they are, as far as their times tell.
pub(super) fn rested(folder: &Path) -> Option<Duration> {
    let mut newest = None;
    let mut add = |path: &Path| {
        if let Ok(data) = std::fs::metadata(path) {
            let at = (data.ctime(), data.ctime_nsec());
            newest = newest.max(Some(at));
        }
    };
    for name in ["set.toml", "entities.json"] {
        add(&folder.join(name));
    }
    for (inner, ending) in [("", "cedar"), ("actions", "toml")] {
        for (_, path) in named(&folder.join(inner), ending).ok()? {
            add(&path);
        }
    }
    let (seconds, nanos) = newest?;
    let nanos = u32::try_from(nanos).ok()?;
    let at = chrono::DateTime::from_timestamp(seconds, nanos)?;
    clock::now().signed_duration_since(at).to_std().ok()
}

/// What tells one state of a tenant's files from another without reading them: where each really
/// lies, its size and its times. A file that is replaced has another inode, one that is written
/// another time of change, which no tool can set.
pub(super) fn fingerprint(folder: &Path) -> Result<[u8; 32], PolicyErrors> {
    let mut seen = Vec::new();
    let mut add = |name: &str, found: std::io::Result<Metadata>| {
        seen.extend_from_slice(name.as_bytes());
        seen.push(0);
        if let Ok(data) = found {
            for number in [data.dev(), data.ino(), data.size()] {
                seen.extend_from_slice(&number.to_be_bytes());
            }
            for number in [
                data.mtime(),
                data.mtime_nsec(),
                data.ctime(),
                data.ctime_nsec(),
            ] {
                seen.extend_from_slice(&number.to_be_bytes());
            }
        }
    };
    for name in ["set.toml", "entities.json", LOCK] {
        add(name, std::fs::metadata(folder.join(name)));
        // A link that leads nowhere is there all the same.
        add(name, std::fs::symlink_metadata(folder.join(name)));
    }
    for (inner, ending) in [("", "cedar"), ("actions", "toml")] {
        for (name, path) in named(&folder.join(inner), ending)? {
            add(&name, std::fs::metadata(path));
        }
    }
    Ok(sha256(&seen))
}
