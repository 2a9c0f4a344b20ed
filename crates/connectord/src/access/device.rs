//! Devices that may halt. A device is set up by a link that works once; after that it holds a
//! secret of its own in a cookie. Of both secrets only a digest is kept.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq as _;

use super::documents::Document;
use super::{Access, AccessError, Reach, check_name};
use crate::ids;

/// Most devices.
pub const DEVICES_MAX: usize = 1_000;
/// How long an unused link works, in seconds.
pub const LINK_SECONDS: i64 = 24 * 3_600;
const USED_EVERY_SECONDS: i64 = 60;
const SECRET_BYTES: usize = 32;

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name, which stands in the halts it sets.
    pub name: String,
    /// What it may halt.
    pub reach: Reach,
    /// Unix seconds.
    pub added: i64,
    /// Digest of the secret of its link, until it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// Digest of the secret of its cookie, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Device {
    /// Whether somebody used its link.
    #[must_use]
    pub const fn is_set_up(&self) -> bool {
        self.secret.is_some()
    }
}

/// SHA-256 of the 32 bytes that a secret spells; none if it is not 32 bytes of hex.
fn digest(secret: &str) -> Option<String> {
    let mut bytes = [0; SECRET_BYTES];
    hex::decode_to_slice(secret, &mut bytes).ok()?;
    Some(hex::encode(Sha256::digest(bytes)))
}

fn fresh() -> Result<(String, Option<String>), AccessError> {
    let bytes = ids::random::<SECRET_BYTES>()
        .ok_or_else(|| AccessError::Unavailable("the system gave no randomness".to_owned()))?;
    let secret = hex::encode(bytes);
    let digest = digest(&secret);
    Ok((secret, digest))
}

/// Whether a stored digest is that of a secret; how long it takes says nothing.
fn is(stored: Option<&String>, shown: &str) -> bool {
    stored.is_some_and(|stored| bool::from(stored.as_bytes().ct_eq(shown.as_bytes())))
}

type Devices = Vec<Device>;

impl Access {
    /// Every device.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn devices(&self) -> Result<Devices, AccessError> {
        self.documents.read(Document::Devices).await
    }

    /// When devices were used last, in Unix seconds.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn devices_used(&self) -> Result<BTreeMap<String, i64>, AccessError> {
        self.documents.read(Document::Used).await
    }

    /// Adds a device and gives the secret of its link, which is kept nowhere.
    ///
    /// # Errors
    /// When the name is taken or malformed, or the list is full or cannot be changed.
    pub async fn add_device(
        &self,
        name: &str,
        reach: Reach,
        now: i64,
    ) -> Result<String, AccessError> {
        check_name(name)?;
        let (secret, link) = fresh()?;
        self.documents
            .edit(Document::Devices, |devices: &mut Devices| {
                if devices.iter().any(|device| device.name == name) {
                    return Err(AccessError::Exists(name.to_owned()));
                }
                if devices.len() >= DEVICES_MAX {
                    let text = format!("there are {DEVICES_MAX} devices; revoke some");
                    return Err(AccessError::Invalid(text));
                }
                devices.push(Device {
                    name: name.to_owned(),
                    reach: reach.clone(),
                    added: now,
                    link: link.clone(),
                    secret: None,
                });
                Ok(())
            })
            .await?;
        Ok(secret)
    }

    /// Forgets a device: its link and its cookie are of no use from now on.
    ///
    /// # Errors
    /// When there is none of this name, or the list cannot be changed.
    pub async fn revoke_device(&self, name: &str) -> Result<(), AccessError> {
        self.documents
            .edit(Document::Devices, |devices: &mut Devices| {
                let before = devices.len();
                devices.retain(|device| device.name != name);
                if devices.len() == before {
                    return Err(AccessError::Missing(name.to_owned()));
                }
                Ok(())
            })
            .await
    }

    /// Takes a link, once, and gives the device with the secret of its cookie.
    ///
    /// # Errors
    /// `Missing` when there is no such link or it was used or is too old.
    pub async fn use_link(&self, secret: &str, now: i64) -> Result<(Device, String), AccessError> {
        let missing = || AccessError::Missing("link".to_owned());
        let shown = digest(secret).ok_or_else(missing)?;
        let (cookie, kept) = fresh()?;
        self.documents
            .edit(Document::Devices, |devices: &mut Devices| {
                let mut found = None;
                for device in devices {
                    let young = now.saturating_sub(device.added) <= LINK_SECONDS;
                    if is(device.link.as_ref(), &shown) && young {
                        (device.link, device.secret) = (None, kept.clone());
                        found = Some(device.clone());
                    }
                }
                found
                    .map(|device| (device, cookie.clone()))
                    .ok_or_else(missing)
            })
            .await
    }

    /// Whether a link would work; nothing is changed.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn link_works(&self, secret: &str, now: i64) -> Result<bool, AccessError> {
        let Some(shown) = digest(secret) else {
            return Ok(false);
        };
        let young = |device: &&Device| now.saturating_sub(device.added) <= LINK_SECONDS;
        let devices = self.devices().await?;
        let works = devices
            .iter()
            .filter(young)
            .filter(|device| is(device.link.as_ref(), &shown));
        Ok(works.count() > 0)
    }

    /// The device that holds a secret.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn device_of(&self, secret: &str) -> Result<Option<Device>, AccessError> {
        let Some(shown) = digest(secret) else {
            return Ok(None);
        };
        let devices = self.devices().await?;
        // Every device is compared, whichever it is.
        let mut found = devices
            .into_iter()
            .filter(|device| is(device.secret.as_ref(), &shown));
        Ok(found.by_ref().last())
    }

    /// Remembers that a device was used; once a minute is enough.
    ///
    /// # Errors
    /// When the list cannot be changed.
    pub async fn device_was_used(&self, name: &str, now: i64) -> Result<(), AccessError> {
        let last = self.devices_used().await?.get(name).copied().unwrap_or(0);
        if now.saturating_sub(last) < USED_EVERY_SECONDS {
            return Ok(());
        }
        let known = self.devices().await?;
        self.documents
            .edit(Document::Used, |used: &mut BTreeMap<String, i64>| {
                used.insert(name.to_owned(), now);
                used.retain(|name, _| known.iter().any(|device| device.name == *name));
                Ok(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(folder: &tempfile::TempDir) -> Access {
        Access::in_folder(folder.path())
    }

    #[tokio::test]
    async fn a_link_works_once_and_gives_a_secret_that_works_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(&folder);
        let link = access.add_device("ada", Reach::GLOBAL, 100).await.unwrap();
        assert_eq!(
            access.device_of(&link).await.unwrap(),
            None,
            "a link is no cookie"
        );
        assert!(access.link_works(&link, 100).await.unwrap());
        let (device, cookie) = access.use_link(&link, 100).await.unwrap();
        assert_eq!(device.name, "ada");
        assert!(!access.link_works(&link, 100).await.unwrap());
        assert!(access.use_link(&link, 100).await.is_err(), "once");
        assert_eq!(
            access.device_of(&cookie).await.unwrap().unwrap().name,
            "ada"
        );
        access.revoke_device("ada").await.unwrap();
        assert_eq!(access.device_of(&cookie).await.unwrap(), None);
        assert!(access.revoke_device("ada").await.is_err());
    }

    #[tokio::test]
    async fn a_link_ends_after_a_day_and_a_guess_finds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(&folder);
        let link = access.add_device("ada", Reach::GLOBAL, 0).await.unwrap();
        assert!(!access.link_works(&link, LINK_SECONDS + 1).await.unwrap());
        assert!(access.use_link(&link, LINK_SECONDS + 1).await.is_err());
        for guess in [
            "",
            "00",
            &"0".repeat(64),
            &"g".repeat(64),
            link.to_uppercase().get(1..).unwrap(),
        ] {
            assert!(access.use_link(guess, 0).await.is_err(), "{guess}");
            assert_eq!(access.device_of(guess).await.unwrap(), None, "{guess}");
        }
        assert!(access.use_link(&link, LINK_SECONDS).await.is_ok());
    }

    #[tokio::test]
    async fn names_are_taken_once_and_no_secret_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(&folder);
        let link = access.add_device("ada", Reach::GLOBAL, 0).await.unwrap();
        let taken = access
            .add_device("ada", Reach::GLOBAL, 0)
            .await
            .unwrap_err();
        assert_eq!(taken, AccessError::Exists("ada".to_owned()));
        let (_, cookie) = access.use_link(&link, 0).await.unwrap();
        access.device_was_used("ada", 500).await.unwrap();
        access.device_was_used("ada", 510).await.unwrap();
        assert_eq!(access.devices_used().await.unwrap()["ada"], 500);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(&link) && !text.contains(&cookie), "{text}");
        }
    }
}
