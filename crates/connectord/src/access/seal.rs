//! Seals: what a form brings back was given out by us, for this device and this purpose.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::documents::Document;
use super::{Access, AccessError};
use crate::ids;

const KEY_BYTES: usize = 32;

/// The key of seals, shared by every process that shares the halts.
#[derive(Clone)]
pub struct SealKey([u8; KEY_BYTES]);

impl core::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealKey")
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    key: String,
}

impl Stored {
    fn key(&self) -> Option<SealKey> {
        let mut key = [0; KEY_BYTES];
        hex::decode_to_slice(&self.key, &mut key).ok()?;
        Some(SealKey(key))
    }
}

impl Access {
    /// The key; the first who asks makes it.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub async fn seal_key(&self) -> Result<SealKey, AccessError> {
        if let Some(key) = self
            .documents
            .read::<Stored>(Document::FormKey)
            .await?
            .key()
        {
            return Ok(key);
        }
        self.documents
            .edit(Document::FormKey, |stored: &mut Stored| {
                if stored.key.is_empty() {
                    let fresh = ids::random::<KEY_BYTES>();
                    stored.key = fresh.map(hex::encode).unwrap_or_default();
                }
                let wrong = || AccessError::Unavailable("the key of forms is damaged".to_owned());
                stored.key().ok_or_else(wrong)
            })
            .await
    }
}

impl SealKey {
    fn mac(&self, purpose: &str, parts: &[&str]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in [&["writ halt page v1", purpose], parts].concat() {
            // Lengths go first, so that no two lists of parts run together into the same bytes.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Some(mac)
    }

    /// The seal of some parts for a purpose, as hex.
    #[must_use]
    pub fn seal(&self, purpose: &str, parts: &[&str]) -> String {
        let mac = self.mac(purpose, parts);
        mac.map(|mac| hex::encode(mac.finalize().into_bytes()))
            .unwrap_or_default()
    }

    /// Whether a seal is that of these parts; how long it takes says nothing.
    #[must_use]
    pub fn fits(&self, seal: &str, purpose: &str, parts: &[&str]) -> bool {
        let shown = hex::decode(seal).unwrap_or_default();
        let mac = self.mac(purpose, parts);
        mac.is_some_and(|mac| mac.verify_slice(&shown).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_seal_fits_its_own_parts_and_purpose_only() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::in_folder(folder.path());
        let key = access.seal_key().await.unwrap();
        let seal = key.seal("halt", &["ada", "global"]);
        let again = access.seal_key().await.unwrap();
        assert!(
            again.fits(&seal, "halt", &["ada", "global"]),
            "every process has the key"
        );
        for (purpose, parts) in [
            ("resume", ["ada", "global"]),
            ("halt", ["ben", "global"]),
            ("halt", ["adagl", "obal"]),
        ] {
            assert!(!key.fits(&seal, purpose, &parts), "{purpose} {parts:?}");
        }
        for wrong in ["", "00", seal.get(2..).unwrap()] {
            assert!(!key.fits(wrong, "halt", &["ada", "global"]));
        }
        let other = tempfile::tempdir().unwrap();
        let other = Access::in_folder(other.path()).seal_key().await.unwrap();
        assert!(!other.fits(&seal, "halt", &["ada", "global"]));
    }
}
