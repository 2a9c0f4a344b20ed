//! Small documents that lie with the halts: in files, or in Redis. Each is replaced as a whole.

mod files;
mod redis;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::AccessError;
use crate::halt::Place;
use files::Files;
use redis::Redis;

/// Longest document in bytes.
const DOCUMENT_BYTES_MAX: u64 = 1024 * 1_024;

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
    const fn name(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Used => "devices-used",
            Self::Operators => "operators",
            Self::FormKey => "form-key",
        }
    }
}

/// Makes a document of the one before, and what to give back.
type Change<'a, R> =
    &'a mut (dyn FnMut(Option<&str>) -> Result<(Zeroizing<String>, R), AccessError> + Send);

/// Where they lie.
#[derive(Debug, Clone)]
pub(super) enum Documents {
    /// Beside flag files.
    Files(Files),
    /// In the Redis of the halts.
    Redis(Redis),
}

fn damaged(which: Document, why: impl core::fmt::Display) -> AccessError {
    AccessError::Unavailable(format!("{}: {why}", which.name()))
}

fn parsed<T: DeserializeOwned + Default>(
    which: Document,
    text: Option<&str>,
) -> Result<T, AccessError> {
    text.map_or_else(
        || Ok(T::default()),
        |text| serde_json::from_str(text).map_err(|error| damaged(which, error)),
    )
}

impl Documents {
    pub(super) fn new(place: &Place) -> Result<Self, AccessError> {
        Ok(match place {
            Place::Folder(folder) => Self::Files(Files::new(folder.clone())),
            Place::Redis(redis) => Self::Redis(Redis::new(&redis.url)?),
        })
    }

    /// Reads one; one that was never written is its default.
    pub(super) async fn read<T: DeserializeOwned + Default>(
        &self,
        which: Document,
    ) -> Result<T, AccessError> {
        let text = match self {
            Self::Files(files) => files.text(which)?,
            Self::Redis(redis) => redis.text(which).await?,
        };
        parsed(which, text.as_ref().map(|text| text.as_str()))
    }

    /// Changes one; no change of somebody else is lost. A change that fails leaves it as it was.
    /// It may be tried several times.
    pub(super) async fn edit<T: DeserializeOwned + Serialize + Default, R: Send>(
        &self,
        which: Document,
        mut change: impl FnMut(&mut T) -> Result<R, AccessError> + Send,
    ) -> Result<R, AccessError> {
        let mut replace = |text: Option<&str>| {
            let mut document: T = parsed(which, text)?;
            let result = change(&mut document)?;
            let text = serde_json::to_string_pretty(&document);
            let text = text.map_err(|error| damaged(which, error))?;
            Ok((Zeroizing::new(text), result))
        };
        match self {
            Self::Files(files) => files.edit(which, &mut replace).await,
            Self::Redis(redis) => redis.edit(which, &mut replace).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

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
        let documents = Documents::new(&Place::Folder(folder.path().to_owned())).unwrap();
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
        let absent = Documents::new(&Place::Folder(folder.path().join("absent"))).unwrap();
        assert!(list(&absent).await.is_err(), "a folder that is gone");
        let documents = Documents::new(&Place::Folder(folder.path().to_owned())).unwrap();
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
        let documents = Documents::new(&Place::Folder(folder.path().to_owned())).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let documents = documents.clone();
            tasks.spawn(async move { put(&documents, "x").await });
        }
        tasks.join_all().await;
        assert_eq!(list(&documents).await.unwrap().len(), 16);
    }
}
