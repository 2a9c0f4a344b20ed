//! The private keys in use, and the trust document that verifies what they sign.

use std::path::Path;

use ed25519_dalek::SigningKey;
use writ_proto::Reason;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};
use writ_proto::limits::TOKEN_TTL_SECONDS_MAX;

use crate::app::App;
use crate::config::Config;
use crate::error::AppError;
use crate::keys::{self, KeyError, Rotation};

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
        reason: Reason::TrustInvalid,
        detail,
    }
}

/// Why a key of the configuration is not one that the trust document lets us sign with.
fn unlisted(set: &KeySet, key: &SigningKey, usage: KeyUse) -> String {
    let setting = match usage {
        KeyUse::Decision => "token.key_file",
        _ => "records.checkpoint_key_file",
    };
    let mut entries = set.entries().iter();
    let known = entries.find(|entry| entry.key == key.verifying_key());
    let is = match known {
        Some(entry) if entry.usage == usage => "a key that is no longer active".to_owned(),
        Some(entry) => format!("its key for another use, {}", entry.usage.name()),
        None => "a key that it does not list".to_owned(),
    };
    format!(
        "no active {} key is ours: {setting} names {is}",
        usage.name()
    )
}

impl Signer {
    /// Reads the keys and proves that the trust document lists them as active. Changes nothing.
    ///
    /// # Errors
    /// When a key is unreadable, others can read it, or the document does not list it.
    pub fn read(config: &Config) -> Result<Self, KeyError> {
        let trust = keys::load(&config.trust.key_file)?;
        let path = &config.trust.keys_file;
        let set = Self::read_document(config, &trust)?;
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
            let Some(ours) = set.entries().iter().find(active) else {
                return Err(trust_error(path, unlisted(&set, key, usage)));
            };
            let issuer = &config.token.issuer;
            if ours.issuer != *issuer {
                let why = format!(
                    "our {} key is of the issuer {}, and token.issuer is {issuer}: no writ of ours would be \
                     taken; set token.issuer back to that",
                    usage.name(),
                    ours.issuer
                );
                return Err(trust_error(path, why));
            }
        }
        Ok(Self {
            token,
            checkpoint,
            trust,
            keys: set,
        })
    }

    /// The trust document as it lies there.
    fn read_document(config: &Config, trust: &SigningKey) -> Result<KeySet, KeyError> {
        let path = &config.trust.keys_file;
        let text = std::fs::read_to_string(path).map_err(|error| trust_error(path, error))?;
        KeySet::parse_document(&text, &trust.verifying_key())
            .map_err(|error| trust_error(path, error))
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

/// The keys that are rotated: those of decisions, and those of checkpoints.
#[must_use]
pub fn rotations(config: &Config) -> [Rotation<'_>; 2] {
    let of = |usage, file| Rotation {
        usage,
        file,
        document: &config.trust.keys_file,
        issuer: &config.token.issuer,
    };
    [
        of(KeyUse::Decision, &config.token.key_file),
        of(KeyUse::Checkpoint, &config.records.checkpoint_key_file),
    ]
}

impl App {
    /// Finishes rotations that were cut off, as far as they are due. What another command is about is left to it. The
    /// answer is why nothing can be finished here, where nobody can be kept from the files; old keys sign on then.
    ///
    /// # Errors
    /// When a file cannot be read or moved.
    pub fn finish_rotations(&self, config: &Config) -> Result<Option<AppError>, AppError> {
        let held = self.signer.load_full();
        let all = rotations(config);
        if !all.iter().any(|one| one.may_be_unfinished(&held.keys)) {
            return Ok(None);
        }
        let _lock = match keys::lock(&config.trust.keys_file) {
            Ok(lock) => lock,
            Err(error) if error.reason == Reason::Unavailable => return Ok(None),
            Err(error) => return Ok(Some(of_key(error))),
        };
        for rotation in all {
            // Each may have made another document, and none is believed that is older than one in force here.
            let set = Signer::read_document(config, &held.trust).map_err(of_key)?;
            self.marks.trust(&set)?;
            let now = crate::clock::now().timestamp();
            let done = rotation.finish(&set, &held.trust, now).map_err(of_key)?;
            if let Some(document) = done {
                self.marks.trust(&document)?;
                let usage = rotation.usage.name();
                tracing::warn!(usage, "a rotation that was cut off is finished");
            }
        }
        Ok(None)
    }

    /// Takes the trust document and the keys as they lie there now, where they are others than those in use; true if so.
    ///
    /// # Errors
    /// When they are unusable or older than what was in force; those in use stay.
    pub fn take_keys(&self, config: &Config) -> Result<bool, AppError> {
        let held = self.signer.load_full();
        let set = Signer::read_document(config, &held.trust).map_err(of_key)?;
        if set.digest() == held.keys.digest() {
            return Ok(false);
        }
        let fresh = Signer::read(config).map_err(of_key)?;
        // Whatever became of the file that remembers it: what this process had in force is not older than itself.
        if fresh.keys.version < held.keys.version {
            let (is, was) = (fresh.keys.version, held.keys.version);
            let why = format!(
                "the trust document of version {is} is older than the one of version {was} in force"
            );
            return Err(AppError::new(Reason::TrustInvalid, why));
        }
        self.marks.trust(&fresh.keys)?;
        self.signer.store(std::sync::Arc::new(fresh));
        Ok(true)
    }

    /// Whether what is signed now is believed by those who have the document that lies there now. One that cannot be read
    /// takes no belief away.
    #[must_use]
    pub fn is_believed(&self, config: &Config) -> bool {
        let held = self.signer.load_full();
        let now = crate::clock::now().timestamp();
        let until = now.saturating_add(TOKEN_TTL_SECONDS_MAX.into());
        Signer::read_document(config, &held.trust).map_or(true, |set| {
            set.find(&held.token_kid(), KeyUse::Decision, until)
                .is_some()
        })
    }
}

fn of_key(error: KeyError) -> AppError {
    AppError::new(error.reason, error.detail)
}
