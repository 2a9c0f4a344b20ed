//! The private keys in use, and the trust document that verifies what they sign.

use std::path::Path;

use ed25519_dalek::SigningKey;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};

use crate::config::Config;
use crate::keys::{self, KeyError};

/// Keys by use, loaded once.
pub struct Signer {
    token: SigningKey,
    checkpoint: SigningKey,
    trust: SigningKey,
    /// What verifiers may trust.
    pub keys: KeySet,
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signer")
            .field("keys", &self.keys.version)
            .finish_non_exhaustive()
    }
}

fn trust_error(path: &Path, why: impl core::fmt::Display) -> KeyError {
    let detail = format!("{}: {why}", path.display());
    KeyError {
        reason: writ_proto::Reason::TrustInvalid,
        detail,
    }
}

impl Signer {
    /// Loads the keys and proves that the trust document lists them as active.
    ///
    /// # Errors
    /// When a key is unreadable, others can read it, or the document does not list it.
    pub fn load(config: &Config) -> Result<Self, KeyError> {
        let trust = keys::load(&config.trust.key_file)?;
        let path = &config.trust.keys_file;
        let files = [
            (&config.token.key_file, KeyUse::Decision),
            (&config.records.checkpoint_key_file, KeyUse::Checkpoint),
        ];
        // Before the document is read. A key that waits while another command rotates is that command's.
        let unfinished = files.iter().any(|(file, _)| keys::next_of(file).exists());
        let lock = unfinished.then(|| keys::lock(path)).transpose();
        if let Err(error) = &lock {
            tracing::warn!(%error, "a rotation that is not finished is left as it is");
        }
        let text = std::fs::read_to_string(path).map_err(|error| trust_error(path, error))?;
        let set = KeySet::parse_document(&text, &trust.verifying_key())
            .map_err(|error| trust_error(path, error))?;
        for (file, usage) in files.into_iter().filter(|_| matches!(lock, Ok(Some(_)))) {
            if keys::finish_rotation(file, &set, usage)? {
                tracing::warn!(
                    usage = usage.name(),
                    "a rotation that was cut off is finished"
                );
            }
        }
        let token = keys::load(&config.token.key_file)?;
        let checkpoint = keys::load(&config.records.checkpoint_key_file)?;
        for (key, usage) in [
            (&token, KeyUse::Decision),
            (&checkpoint, KeyUse::Checkpoint),
        ] {
            let active = |entry: &&KeyEntry| {
                entry.key == key.verifying_key()
                    && entry.usage == usage
                    && entry.status == KeyStatus::Active
            };
            if set.entries().iter().find(active).is_none() {
                return Err(trust_error(
                    path,
                    format!("no active {} key is ours", usage.name()),
                ));
            }
        }
        Ok(Self {
            token,
            checkpoint,
            trust,
            keys: set,
        })
    }

    /// Signs the payload of a token.
    #[must_use]
    pub fn mint(&self, payload: &[u8]) -> Vec<u8> {
        writ_proto::token::mint_payload(payload, &self.token)
    }

    /// Signs the payload of an undo writ.
    #[must_use]
    pub fn mint_undo(&self, payload: &[u8]) -> Vec<u8> {
        writ_proto::token::mint_undo(payload, &self.token)
    }

    /// The id of the token key.
    #[must_use]
    pub fn token_kid(&self) -> [u8; 16] {
        writ_proto::cose::kid_of(&self.token.verifying_key())
    }

    /// The key of checkpoints.
    #[must_use]
    pub const fn checkpoint_key(&self) -> &SigningKey {
        &self.checkpoint
    }

    /// The signed trust document.
    #[must_use]
    pub fn document(&self) -> String {
        self.keys.sign_document(&self.trust)
    }
}
