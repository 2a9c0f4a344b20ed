//! The signed head of a log: a C2SP tlog-checkpoint in a signed note, Ed25519 (type 0x01).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::domain::log::merkle::Hash;

const ED25519: u8 = 0x01;
const NOTE_BYTES_MAX: usize = 4_096;

/// The head of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// `<issuer>/log/<tenant>`; also the name of the key in the note.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of them.
    pub root: Hash,
}

/// Why a note is not a checkpoint of a trusted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the text it should be.
    #[error("the checkpoint is not a signed note of three lines")]
    Malformed,
    /// No signature of the key.
    #[error("the checkpoint carries no signature of this key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature of the checkpoint does not verify")]
    BadSignature,
}

fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', ED25519]);
    hasher.update(key.as_bytes());
    let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
    [a, b, c, d]
}

/// The key of a log as other verifiers of signed notes take it: the C2SP vkey.
#[must_use]
pub fn vkey(origin: &str, key: &VerifyingKey) -> String {
    let mut typed = vec![ED25519];
    typed.extend_from_slice(key.as_bytes());
    let hash = hex::encode(key_hash(origin, key));
    format!("{origin}+{hash}+{}", STANDARD.encode(typed))
}

impl Checkpoint {
    fn body(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }

    /// The note: body, empty line, one signature line.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let body = self.body();
        let mut signed = key_hash(&self.origin, &key.verifying_key()).to_vec();
        signed.extend_from_slice(&key.sign(body.as_bytes()).to_bytes());
        format!(
            "{body}\n\u{2014} {} {}\n",
            self.origin,
            STANDARD.encode(signed)
        )
    }

    /// Reads a note and proves the signature of a key. Only the one spelling that
    /// [`Self::sign`] writes is accepted.
    ///
    /// # Errors
    /// When the text has another form or is not signed by the key.
    pub fn verify(note: &str, key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        if note.len() > NOTE_BYTES_MAX {
            return Err(malformed);
        }
        let (text, signature_line) = note.split_once("\n\n").ok_or(malformed)?;
        let mut lines = text.split('\n');
        let parts = (lines.next(), lines.next(), lines.next(), lines.next());
        let (Some(origin), Some(size), Some(root), None) = parts else {
            return Err(malformed);
        };
        let size: u64 = size.parse().map_err(|_| malformed)?;
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|root| root.try_into().ok());
        let checkpoint = Self {
            origin: origin.to_owned(),
            size,
            root: root.ok_or(malformed)?,
        };
        let signed = signature_line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.strip_prefix(origin))
            .and_then(|rest| rest.strip_prefix(' '))
            .and_then(|rest| rest.strip_suffix('\n'))
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or(malformed)?;
        let (hash, signature) = signed.split_at_checked(4).ok_or(malformed)?;
        if hash != key_hash(origin, key) {
            return Err(CheckpointError::UnknownKey);
        }
        let signature = Signature::from_slice(signature).map_err(|_| malformed)?;
        let body = checkpoint.body();
        if body.trim_end_matches('\n') != text {
            return Err(malformed);
        }
        key.verify_strict(body.as_bytes(), &signature)
            .map_err(|_| CheckpointError::BadSignature)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests;
