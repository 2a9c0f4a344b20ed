//! The keys that connectord trusts: a document signed by the pinned trust key, read again when a
//! token names a key that is not there, and never replaced by an older one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use ed25519_dalek::VerifyingKey;
use writ_proto::Reason;
use writ_proto::keyset::{KeySet, public_key};

use crate::domain::gate::Refusal;
use crate::error::AppError;

/// Seconds between two readings for keys that are not known.
const REFRESH_SECONDS: i64 = 10;

/// The trusted keys and where they come from.
#[derive(Debug)]
pub struct Trust {
    file: PathBuf,
    root: VerifyingKey,
    keys: ArcSwap<KeySet>,
    read_at: AtomicI64,
}

impl Trust {
    /// Reads the document and proves its signature.
    ///
    /// # Errors
    /// `TRUST_INVALID`.
    pub fn load(file: PathBuf, root_hex: &str) -> Result<Self, Refusal> {
        let root = root_of(root_hex).ok_or_else(|| {
            let is_long = root_hex.len() == 64 && root_hex.bytes().all(|digit| digit.is_ascii_hexdigit());
            let why = match is_long {
                true => "trust.root_key has 64 hex digits, and is no public key all the same: one of them is mistyped",
                false => "trust.root_key is no Ed25519 public key in 64 hex digits",
            };
            Refusal::new(Reason::TrustInvalid, why)
        })?;
        let keys = read(&file, &root)?;
        Ok(Self {
            file,
            root,
            keys: ArcSwap::from_pointee(keys),
            read_at: AtomicI64::new(0),
        })
    }

    /// The same as a daemon reads it from its configuration: the fix names what is wrong there.
    ///
    /// # Errors
    /// `TRUST_INVALID`.
    pub fn configured(file: PathBuf, root_hex: &str) -> Result<Self, AppError> {
        let is_key = root_of(root_hex).is_some();
        let is_there = file.exists();
        Self::load(file, root_hex).map_err(|refusal| {
            let error = AppError::from(refusal);
            match (is_key, is_there) {
                (false, _) => error.with_fix(
                    "take the line root_key from the connectord.toml that policyd init wrote: it is the public key that \
                     signs the trust document",
                ),
                (true, false) => error.with_fix(
                    "correct trust.keys_file: policyd writes that document, where its own trust.keys_file says; on \
                     another machine, copy it from there",
                ),
                (true, true) => error,
            }
        })
    }

    /// The keys in use.
    pub fn keys(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Reads the document again, at most once in ten seconds; true if there may be news.
    pub fn refresh(&self, now_seconds: i64) -> bool {
        let last = self.read_at.load(Ordering::Relaxed);
        if now_seconds.saturating_sub(last) < REFRESH_SECONDS {
            return false;
        }
        self.read_at.store(now_seconds, Ordering::Relaxed);
        self.look()
    }

    /// Reads the document again; true if it is a newer one. A key that it revokes is believed no
    /// longer from here on.
    pub fn look(&self) -> bool {
        match read(&self.file, &self.root) {
            Ok(keys) if keys.digest() == self.keys.load().digest() => false,
            Ok(keys) if keys.supersedes(&self.keys.load()) => {
                self.keys.store(Arc::new(keys));
                true
            }
            Ok(keys) => {
                tracing::error!(
                    version = keys.version,
                    "a trust document that is older, or another one of the same version, is refused"
                );
                false
            }
            Err(refusal) => {
                tracing::error!(detail = refusal.detail, "the trust document is refused");
                false
            }
        }
    }
}

fn root_of(hex: &str) -> Option<VerifyingKey> {
    hex::decode(hex).ok().and_then(|bytes| public_key(&bytes))
}

fn read(file: &std::path::Path, root: &VerifyingKey) -> Result<KeySet, Refusal> {
    let refuse = |why: &dyn core::fmt::Display| {
        Refusal::new(Reason::TrustInvalid, format!("{}: {why}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| refuse(&error))?;
    KeySet::parse_document(&text, root).map_err(|error| refuse(&error))
}

#[cfg(test)]
mod tests;
