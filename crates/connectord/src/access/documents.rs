//! Small documents beside the flag files. Each is replaced as a whole, under a lock that every
//! process takes, and only its owner may read it.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::AccessError;
use crate::halt::Place;

/// Longest document in bytes.
const DOCUMENT_BYTES_MAX: u64 = 1024 * 1_024;
const LOCK: &str = ".access.lock";
const LOCK_STEP: Duration = Duration::from_millis(5);
const LOCK_STEPS: u32 = 1_000;

/// Which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    /// Devices.
    Devices,
    /// When each device was used last; losing it loses no safety, so it is apart from the devices.
    Used,
    /// Operators.
    Operators,
    /// The key of forms.
    FormKey,
}

impl Document {
    const fn file(self) -> &'static str {
        match self {
            Self::Devices => ".devices.json",
            Self::Used => ".devices-used.json",
            Self::Operators => ".operators.json",
            Self::FormKey => ".form-key.json",
        }
    }
}

/// The folder of the documents.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    folder: PathBuf,
}

fn failed(path: &Path, why: impl core::fmt::Display) -> AccessError {
    AccessError::Unavailable(format!("{}: {why}", path.display()))
}

impl Documents {
    pub(super) fn new(place: &Place) -> Self {
        let Place::Folder(folder) = place;
        let folder = folder.clone();
        Self { folder }
    }

    /// Reads one; none was written is its default.
    pub(super) async fn read<T: DeserializeOwned + Default>(
        &self,
        which: Document,
    ) -> Result<T, AccessError> {
        let path = self.folder.join(which.file());
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // A folder that is not there is not an empty one.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.folder.is_dir() => {
                return Ok(T::default());
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
        file.read_to_string(&mut text)
            .map_err(|error| failed(&path, error))?;
        serde_json::from_str(&text).map_err(|error| failed(&path, error))
    }

    /// Changes one, under the lock of all. A change that fails leaves it as it was.
    pub(super) async fn edit<T: DeserializeOwned + Serialize + Default, R>(
        &self,
        which: Document,
        mut change: impl FnMut(&mut T) -> Result<R, AccessError>,
    ) -> Result<R, AccessError> {
        let _lock = self.lock().await?;
        let mut document: T = self.read(which).await?;
        let result = change(&mut document)?;
        let text = serde_json::to_vec_pretty(&document);
        let text = text.map_err(|error| failed(&self.folder, error))?;
        self.write(which, &Zeroizing::new(text))?;
        Ok(result)
    }

    /// Keeps other writers away; never readers, and never for long.
    async fn lock(&self) -> Result<File, AccessError> {
        let path = self.folder.join(LOCK);
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&path).map_err(|error| failed(&path, error))?;
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
        let path = self.folder.join(which.file());
        let fresh = self.folder.join(format!("{}.new", which.file()));
        // One that a crash left may have another mode.
        let _absent = std::fs::remove_file(&fresh);
        let mut options = File::options();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh);
        let written = file.and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            File::open(&self.folder)?.sync_all()
        });
        written.map_err(|error| failed(&path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    async fn put(documents: &Documents, text: &str) {
        let change = |list: &mut Vec<String>| {
            list.push(text.to_owned());
            Ok(())
        };
        documents.edit(Document::Devices, change).await.unwrap();
    }

    async fn list(documents: &Documents) -> Result<Vec<String>, AccessError> {
        documents.read(Document::Devices).await
    }

    #[tokio::test]
    async fn a_document_is_replaced_whole_and_is_its_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::new(&Place::Folder(folder.path().to_owned()));
        assert!(list(&documents).await.unwrap().is_empty());
        std::fs::write(folder.path().join(".devices.json.new"), "left by a crash").unwrap();
        put(&documents, "a").await;
        put(&documents, "b").await;
        let failing = |_: &mut Vec<String>| Err::<(), _>(AccessError::Missing("x".into()));
        assert!(documents.edit(Document::Devices, failing).await.is_err());
        assert_eq!(list(&documents).await.unwrap(), ["a", "b"]);
        let path = folder.path().join(".devices.json");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&path, open).unwrap();
        assert!(
            list(&documents)
                .await
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_empty() {
        let folder = tempfile::tempdir().unwrap();
        let absent = Documents::new(&Place::Folder(folder.path().join("absent")));
        assert!(list(&absent).await.is_err(), "a folder that is gone");
        let documents = Documents::new(&Place::Folder(folder.path().to_owned()));
        put(&documents, "a").await;
        std::fs::write(folder.path().join(".devices.json"), "[\"a\"").unwrap();
        assert!(list(&documents).await.is_err(), "a torn file");
        let failing = |list: &mut Vec<String>| {
            list.clear();
            Ok(())
        };
        assert!(
            documents.edit(Document::Devices, failing).await.is_err(),
            "nor is it overwritten"
        );
    }

    #[tokio::test]
    async fn changes_of_many_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::new(&Place::Folder(folder.path().to_owned()));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let documents = documents.clone();
            tasks.spawn(async move { put(&documents, "x").await });
        }
        tasks.join_all().await;
        assert_eq!(list(&documents).await.unwrap().len(), 16);
    }
}
