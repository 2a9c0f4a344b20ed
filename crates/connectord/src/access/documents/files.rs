//! Documents as files beside the flag files: replaced as a whole, under a lock that every process
//! takes, and readable by their owner only.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use writ_proto::host::store::owner::{give, lock_file};
use zeroize::Zeroizing;

use super::{AccessError, Change, DOCUMENT_BYTES_MAX, Document};

const LOCK: &str = ".access.lock";
const LOCK_STEP: Duration = Duration::from_millis(5);
const LOCK_STEPS: u32 = 1_000;

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    folder: PathBuf,
}

fn failed(path: &Path, why: impl core::fmt::Display) -> AccessError {
    AccessError::Unavailable(format!("{}: {why}", path.display()))
}

fn name(which: Document) -> String {
    format!(".{}.json", which.name())
}

impl Files {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The text of one; none if it was never written.
    pub(super) fn text(&self, which: Document) -> Result<Option<Zeroizing<String>>, AccessError> {
        let path = self.folder.join(name(which));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // A folder that is not there is not an empty one.
            Err(error) if error.kind() == ErrorKind::NotFound && self.folder.is_dir() => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&path, error)),
        };
        let about = file.metadata().map_err(|error| failed(&path, error))?;
        if about.mode() & 0o077 != 0 {
            let fix = format!("others can read it. Fix: chmod 600 {}", path.display());
            return Err(failed(&path, fix));
        }
        if about.len() > DOCUMENT_BYTES_MAX {
            return Err(failed(&path, "too large"));
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.read_to_string(&mut text);
        read.map_err(|error| failed(&path, error))?;
        Ok(Some(text))
    }

    /// Replaces one by what a change makes of it. A change that fails leaves it as it was.
    pub(super) async fn edit<R>(
        &self,
        which: Document,
        change: Change<'_, R>,
    ) -> Result<R, AccessError> {
        let _lock = self.lock().await?;
        let before = self.text(which)?;
        let (after, result) = change(before.as_ref().map(|text| text.as_str()))?;
        self.write(which, after.as_bytes())?;
        Ok(result)
    }

    /// Keeps other writers away; never readers, and never for long.
    async fn lock(&self) -> Result<File, AccessError> {
        let path = self.folder.join(LOCK);
        let lock = lock_file(&path, &self.folder).map_err(|error| failed(&path, error))?;
        for _ in 0..LOCK_STEPS {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_STEP).await,
                Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
            }
        }
        Err(failed(&path, "another process holds it"))
    }

    fn write(&self, which: Document, bytes: &[u8]) -> Result<(), AccessError> {
        let path = self.folder.join(name(which));
        let fresh = self.folder.join(format!("{}.new", name(which)));
        // One that a crash left may have another mode.
        let _absent = std::fs::remove_file(&fresh);
        let mut options = File::options();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh);
        let written = file.and_then(|mut file| {
            give(&file, &self.folder);
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            File::open(&self.folder)?.sync_all()
        });
        written.map_err(|error| failed(&path, error))
    }
}
