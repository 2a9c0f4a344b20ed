//! The folder of templates and documents. Masters are only ever read; a document is written beside
//! its place and moved there as a whole, once, and never opened for writing again.
//!
//! Names and keys come checked: a path has no other part from outside. A crash leaves either no
//! document or a whole one, and perhaps a draft, a folder whose name begins with a dot.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use writ_proto::digest::sha256;

use crate::clock;
use writ_proto::Reason;

use super::super::{Applied, NotDone, Receipt};
use super::template::{DOCUMENT_BYTES_MAX, Format};

/// Largest master in bytes.
pub(super) const TEMPLATE_BYTES_MAX: usize = 256 * 1_024;
/// Largest `about.json` in bytes.
const ABOUT_BYTES_MAX: usize = 4 * 1_024;
/// Most drafts of one document that crashes may have left.
const DRAFTS_MAX: u32 = 8;
/// Of folders, narrowed by the umask: people of the group add their versions beside ours.
const FOLDER_MODE: u32 = 0o770;
/// Of files: nobody writes into what was made.
const FILE_MODE: u32 = 0o440;
const ABOUT: &str = "about.json";
/// Name of the version that is made, without its ending; all later ones are a person's.
const FIRST: &str = "1";

/// Where masters and documents lie.
#[derive(Debug)]
pub(super) struct Shelf {
    templates: PathBuf,
    documents: PathBuf,
}

/// A master as one read saw it.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) format: Format,
    pub(super) text: String,
    /// SHA-256 of the bytes, in hex.
    pub(super) sha256: String,
}

/// What is kept beside a document: what it was made from, and that it is still what was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    /// Name of the template.
    pub(super) template: String,
    /// SHA-256 of the master's bytes, in hex.
    pub(super) template_sha256: String,
    /// Key of the write.
    pub(super) key: String,
    /// SHA-256 of the first version, in hex.
    pub(super) text_sha256: String,
}

/// What stands at a key.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing.
    Absent,
    /// A whole document, its text as it was made.
    Made(About),
    /// Something else, and why it is not a document.
    Other(String),
}

/// SHA-256 in hex.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// Names the end of a path only: what is refused is told to agents, and where the folder lies is
/// none of their business.
fn failed(path: &Path, why: impl core::fmt::Display) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.display().to_string());
    let names = path.parent().and_then(name).into_iter().chain(name(path));
    format!("{}: {why}", names.collect::<Vec<_>>().join("/"))
}

impl Shelf {
    /// Looks whether the folders are there; makes the one of documents if it is not.
    ///
    /// # Errors
    /// When one is missing or is not a folder.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let folder = fs::canonicalize(folder).map_err(|error| failed(folder, error))?;
        let shelf = Self {
            templates: folder.join("templates"),
            documents: folder.join("documents"),
        };
        is_folder(&shelf.templates)?;
        match DirBuilder::new().mode(FOLDER_MODE).create(&shelf.documents) {
            Ok(()) => sync(&folder)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&shelf.documents, error)),
        }
        is_folder(&shelf.documents)?;
        Ok(shelf)
    }

    /// Reads a master; none if there is none of that name.
    ///
    /// # Errors
    /// When it is not one small regular file of UTF-8.
    pub(super) fn master(&self, name: &str) -> Result<Option<Master>, String> {
        is_folder(&self.templates)?;
        let Some((format, path)) = only_file(&self.templates, name)? else {
            return Ok(None);
        };
        let bytes = read_small(&path, TEMPLATE_BYTES_MAX)?;
        let sha256 = hash(&bytes);
        let text = String::from_utf8(bytes).map_err(|_| failed(&path, "not UTF-8"))?;
        Ok(Some(Master {
            format,
            text,
            sha256,
        }))
    }

    /// The folder that holds templates and documents.
    pub(super) fn place(&self) -> String {
        self.documents.display().to_string()
    }

    /// Looks what stands at a key.
    ///
    /// # Errors
    /// When it cannot be looked at all; a folder that is gone is not an empty one.
    pub(super) fn standing(&self, key: &str) -> Result<Standing, String> {
        is_folder(&self.templates)?;
        is_folder(&self.documents)?;
        let place = self.documents.join(key);
        match fs::symlink_metadata(&place) {
            Ok(found) if !found.is_dir() => Ok(Standing::Other(failed(&place, "not a folder"))),
            Ok(_) => Ok(made(&place, key).map_or_else(Standing::Other, Standing::Made)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Standing::Absent),
            Err(error) => Err(failed(&place, error)),
        }
    }

    /// Puts a document at its key: once, whole or not at all, and not after a moment (Unix
    /// milliseconds): a process that was stopped meanwhile may have been taken over.
    #[must_use]
    pub(super) fn put(&self, about: &About, format: Format, text: &str, until_ms: i64) -> Applied {
        match self.standing(&about.key) {
            Ok(Standing::Absent) => {}
            Ok(found) => return self.taken(found, about),
            Err(why) => return Applied::Not(NotDone::Refused, why),
        }
        let draft = match self.draft(about, format, text) {
            Ok(draft) => draft,
            Err(why) => return Applied::Not(NotDone::Refused, why),
        };
        if clock::of_machine().timestamp_millis() > until_ms {
            let _left = fs::remove_dir_all(&draft);
            let why = "this process stood still before the document was made";
            return Applied::Not(NotDone::Stopped(Reason::TokenExpired), why.to_owned());
        }
        // It fails where anything stands but an empty folder, which would be replaced: it could
        // only have come since the look above, and holds nothing that could be lost.
        let Err(error) = fs::rename(&draft, self.documents.join(&about.key)) else {
            return self.keep(&about.key);
        };
        let _left = fs::remove_dir_all(&draft);
        let certain = matches!(
            error.kind(),
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory
        );
        match self.standing(&about.key) {
            Ok(Standing::Absent) => Applied::Not(NotDone::Refused, failed(&self.documents, error)),
            // A second call with the same key was faster.
            Ok(found @ Standing::Made(_)) => self.taken(found, about),
            Ok(found @ Standing::Other(_)) if certain => self.taken(found, about),
            Ok(Standing::Other(why)) | Err(why) => Applied::unknown(why),
        }
    }

    /// What a write comes to whose place is taken.
    fn taken(&self, found: Standing, about: &About) -> Applied {
        match found {
            Standing::Made(earlier) if earlier == *about => self.keep(&about.key),
            Standing::Other(why) => Applied::Not(NotDone::Stale, why),
            Standing::Made(_) | Standing::Absent => Applied::Not(
                NotDone::Stale,
                format!("`{}` is another document", about.key),
            ),
        }
    }

    /// Makes the move to a key last.
    fn keep(&self, key: &str) -> Applied {
        let created_id = key.to_owned();
        self.sync().map_or_else(Applied::unknown, |()| {
            Applied::Answered(Receipt {
                created_id,
                ..Receipt::default()
            })
        })
    }

    /// Makes what stands in the folder of documents survive a power cut.
    ///
    /// # Errors
    /// When nobody knows whether it would.
    pub(super) fn sync(&self) -> Result<(), String> {
        sync(&self.documents)
    }

    /// Writes a document into a folder of its own beside its place; nothing is left of a failure.
    fn draft(&self, about: &About, format: Format, text: &str) -> Result<PathBuf, String> {
        let json = serde_json::to_string_pretty(about).map_err(|error| error.to_string())?;
        let draft = self.fresh(&about.key)?;
        let first = draft.join(FIRST).with_extension(format.ending());
        let written = write(&first, text.as_bytes())
            .and_then(|()| write(&draft.join(ABOUT), json.as_bytes()))
            .and_then(|()| sync(&draft));
        if written.is_err() {
            let _left = fs::remove_dir_all(&draft);
        }
        written.map(|()| draft)
    }

    /// A folder that nobody else writes to: making it fails where one is.
    fn fresh(&self, key: &str) -> Result<PathBuf, String> {
        let process = std::process::id();
        for number in 0..DRAFTS_MAX {
            let draft = self
                .documents
                .join(format!(".{key}.tmp-{process}-{number}"));
            match DirBuilder::new().mode(FOLDER_MODE).create(&draft) {
                Ok(()) => return Ok(draft),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&draft, error)),
            }
        }
        Err(format!("`{key}` has {DRAFTS_MAX} drafts already"))
    }
}

/// Reads back what was made, or says why it is not that.
fn made(place: &Path, key: &str) -> Result<About, String> {
    let path = place.join(ABOUT);
    let bytes = read_small(&path, ABOUT_BYTES_MAX)?;
    let about: About = serde_json::from_slice(&bytes).map_err(|error| failed(&path, error))?;
    let first = only_file(place, FIRST)?;
    let (_, first) = first.ok_or_else(|| failed(place, "the first version is gone"))?;
    let text = read_small(&first, DOCUMENT_BYTES_MAX)?;
    if about.key != key || about.text_sha256 != hash(&text) {
        return Err(failed(place, "not what `about.json` says"));
    }
    Ok(about)
}

/// The file of a name, whatever its ending; which of two was meant nobody could say.
fn only_file(folder: &Path, name: &str) -> Result<Option<(Format, PathBuf)>, String> {
    let mut found = None;
    for format in Format::ALL {
        let path = folder.join(name).with_extension(format.ending());
        match fs::symlink_metadata(&path) {
            Ok(_) if found.is_some() => {
                return Err(failed(&path, "the name has a second file"));
            }
            Ok(_) => found = Some((format, path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(found)
}

fn is_folder(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(failed(path, "not a folder")),
        Err(error) => Err(failed(path, error)),
    }
}

/// Reads a regular file. Looked at before it is opened, since to open a pipe would wait, and
/// compared after, since a link may have taken its place.
fn read_small(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let seen = fs::symlink_metadata(path).map_err(|error| failed(path, error))?;
    if !seen.is_file() {
        return Err(failed(path, "not a regular file; links are not followed"));
    }
    let file = File::open(path).map_err(|error| failed(path, error))?;
    let opened = file.metadata().map_err(|error| failed(path, error))?;
    if (seen.dev(), seen.ino()) != (opened.dev(), opened.ino()) {
        return Err(failed(path, "replaced while it was read"));
    }
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| failed(path, error))?;
    if bytes.len() > bytes_max {
        return Err(failed(path, format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| failed(path, error))
}

fn sync(folder: &Path) -> Result<(), String> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed(folder, error))
}
