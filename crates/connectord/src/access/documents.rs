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
mod tests;
