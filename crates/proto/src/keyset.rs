//! The keys a verifier trusts: a signed, versioned document, decompressed once when loaded.
//!
//! A key is looked up by its id, use and validity; nothing in a message can point elsewhere. The
//! document is signed by the trust key that the operator pins.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::context;
use crate::cose::kid_of;
use crate::limits::{KEYSET_BYTES_MAX, KEYSET_KEYS_MAX};
use crate::value::{write_array, write_bytes, write_int, write_null, write_text};

/// What a key may sign. One key has one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Decision tokens.
    Decision,
    /// Checkpoints of the record log.
    Checkpoint,
    /// Export manifests.
    Manifest,
    /// Trust documents.
    Trust,
}

impl KeyUse {
    /// The name in documents and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Checkpoint => "checkpoint",
            Self::Manifest => "manifest",
            Self::Trust => "trust",
        }
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// Signs and verifies.
    Active,
    /// Verifies what it signed before.
    Retiring,
    /// Verifies nothing new; kept so that old records can name it.
    Revoked,
}

impl KeyStatus {
    /// The name in documents and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
        }
    }
}

/// One trusted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key, decompressed.
    pub key: VerifyingKey,
    /// Its id, derived from it.
    pub kid: [u8; 16],
    /// The issuer bound to it.
    pub issuer: String,
    /// What it may sign.
    pub usage: KeyUse,
    /// Where it is in its life.
    pub status: KeyStatus,
    /// First second of validity, Unix time.
    pub not_before: Option<i64>,
    /// Last second of validity, Unix time.
    pub not_after: Option<i64>,
}

/// Why keys are not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Larger than any real document.
    #[error("the trust document is too large")]
    TooLarge,
    /// Not the JSON it should be.
    #[error("the trust document is not readable: {0}")]
    Unreadable(String),
    /// A key that must not be used.
    #[error("key {0} is weak or not in its one encoding")]
    WeakKey(usize),
    /// Two entries with one id.
    #[error("key {0} is listed twice")]
    Twice(String),
    /// The pinned trust key did not sign it.
    #[error(
        "the trust document was changed after it was signed, or another key than the pinned one (trust.root_key) signed it"
    )]
    Signature,
}

/// The trusted keys of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// Grows with every change; a lower one is a rollback and refused.
    pub version: u64,
    entries: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    kid: String,
    public_key: String,
    iss: String,
    #[serde(rename = "use")]
    usage: KeyUse,
    status: KeyStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentText {
    version: u64,
    keys: Vec<KeyText>,
    signature: String,
}

/// Reads a public key and refuses weak ones and encodings that are not the one of RFC 8032.
#[must_use]
pub fn public_key(bytes: &[u8]) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    let key = VerifyingKey::from_bytes(&bytes).ok()?;
    let canonical = key.to_edwards().compress().to_bytes() == bytes;
    (canonical && !key.is_weak()).then_some(key)
}

impl KeyEntry {
    /// An entry whose id is derived from its key.
    #[must_use]
    pub fn new(key: VerifyingKey, issuer: &str, usage: KeyUse) -> Self {
        Self {
            key,
            kid: kid_of(&key),
            issuer: issuer.to_owned(),
            usage,
            status: KeyStatus::Active,
            not_before: None,
            not_after: None,
        }
    }

    /// Whether the key verifies something signed for this use now.
    #[must_use]
    pub fn verifies(&self, usage: KeyUse, now_seconds: i64) -> bool {
        self.usage == usage
            && self.status != KeyStatus::Revoked
            && self.not_before.is_none_or(|from| from <= now_seconds)
            && self.not_after.is_none_or(|until| now_seconds <= until)
    }
}

impl KeySet {
    /// A set of entries with distinct ids.
    ///
    /// # Errors
    /// When an id is listed twice or there are too many keys.
    pub fn new(version: u64, entries: Vec<KeyEntry>) -> Result<Self, KeySetError> {
        if entries.len() > KEYSET_KEYS_MAX {
            return Err(KeySetError::TooLarge);
        }
        for (index, entry) in entries.iter().enumerate() {
            if entries
                .iter()
                .skip(index.saturating_add(1))
                .any(|other| other.kid == entry.kid)
            {
                return Err(KeySetError::Twice(hex::encode(entry.kid)));
            }
        }
        Ok(Self { version, entries })
    }

    /// The key of an id that verifies something signed for this use now.
    #[must_use]
    pub fn find(&self, kid: &[u8; 16], usage: KeyUse, now_seconds: i64) -> Option<&KeyEntry> {
        self.entries
            .iter()
            .find(|entry| entry.kid == *kid && entry.verifies(usage, now_seconds))
    }

    /// The key of an id and a use, whenever it is or was valid; none if it is revoked.
    #[must_use]
    pub fn find_at_any_time(&self, kid: &[u8; 16], usage: KeyUse) -> Option<&KeyEntry> {
        let unrevoked = |entry: &&KeyEntry| {
            entry.kid == *kid && entry.usage == usage && entry.status != KeyStatus::Revoked
        };
        self.entries.iter().find(unrevoked)
    }

    /// All entries, also those that verify nothing any more.
    #[must_use]
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    /// Whether this set may replace another: a newer version, or the very same document.
    #[must_use]
    pub fn supersedes(&self, held: &Self) -> bool {
        self.version > held.version
            || self.version == held.version && self.digest() == held.digest()
    }

    /// SHA-256 of what is signed.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crate::digest::sha256(&self.signed_bytes())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_array(&mut out, 3);
        write_text(&mut out, context::KEY_SET);
        write_int(&mut out, i64::try_from(self.version).unwrap_or(i64::MAX));
        write_array(&mut out, self.entries.len());
        for entry in &self.entries {
            write_array(&mut out, 6);
            write_bytes(&mut out, entry.key.as_bytes());
            write_text(&mut out, &entry.issuer);
            write_text(&mut out, entry.usage.name());
            write_text(&mut out, entry.status.name());
            for bound in [entry.not_before, entry.not_after] {
                match bound {
                    Some(seconds) => write_int(&mut out, seconds),
                    None => write_null(&mut out),
                }
            }
        }
        out
    }

    /// The signed document as JSON text.
    #[must_use]
    pub fn sign_document(&self, trust: &SigningKey) -> String {
        let keys = self.entries.iter().map(|entry| KeyText {
            kid: hex::encode(entry.kid),
            public_key: hex::encode(entry.key.as_bytes()),
            iss: entry.issuer.clone(),
            usage: entry.usage,
            status: entry.status,
            not_before: entry.not_before,
            not_after: entry.not_after,
        });
        let signature = hex::encode(trust.sign(&self.signed_bytes()).to_bytes());
        let document = DocumentText {
            version: self.version,
            keys: keys.collect(),
            signature,
        };
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a document and proves that the pinned trust key signed it.
    ///
    /// # Errors
    /// When it is unreadable, holds a weak key or an id that is not the key's, or is not signed.
    pub fn parse_document(text: &str, trust: &VerifyingKey) -> Result<Self, KeySetError> {
        if text.len() > KEYSET_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let unreadable = |why: &dyn core::fmt::Display| KeySetError::Unreadable(why.to_string());
        let document: DocumentText =
            serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        let mut entries = Vec::with_capacity(document.keys.len());
        for (index, listed) in document.keys.into_iter().enumerate() {
            let bytes = hex::decode(&listed.public_key).map_err(|error| unreadable(&error))?;
            let key = public_key(&bytes).ok_or(KeySetError::WeakKey(index))?;
            let mut entry = KeyEntry::new(key, &listed.iss, listed.usage);
            if hex::encode(entry.kid) != listed.kid {
                return Err(unreadable(&format_args!(
                    "kid {} is not that of its key",
                    listed.kid
                )));
            }
            entry.status = listed.status;
            entry.not_before = listed.not_before;
            entry.not_after = listed.not_after;
            entries.push(entry);
        }
        let set = Self::new(document.version, entries)?;
        let signature = hex::decode(&document.signature).ok();
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or(KeySetError::Signature)?;
        trust
            .verify_strict(&set.signed_bytes(), &signature)
            .map_err(|_| KeySetError::Signature)?;
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> (SigningKey, KeySet) {
        let trust = SigningKey::from_bytes(&[7; 32]);
        let key = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let entry = KeyEntry::new(key, "https://policyd.localhost", KeyUse::Decision);
        (trust, KeySet::new(3, vec![entry]).unwrap())
    }

    #[test]
    fn a_signed_document_round_trips() {
        let (trust, set) = document();
        let text = set.sign_document(&trust);
        assert_eq!(
            KeySet::parse_document(&text, &trust.verifying_key()),
            Ok(set)
        );
    }

    #[test]
    fn a_document_changed_anywhere_is_refused() {
        let (trust, set) = document();
        let text = set.sign_document(&trust);
        let changes = [
            ("\"version\": 3", "\"version\": 4"),
            ("active", "retiring"),
            ("decision", "checkpoint"),
        ];
        for (from, to) in changes {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(
                KeySet::parse_document(&changed, &trust.verifying_key()).is_err(),
                "{from}"
            );
        }
        let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
        assert_eq!(
            KeySet::parse_document(&text, &other),
            Err(KeySetError::Signature)
        );
    }

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        // The identity point, and its second encoding with y = p + 1.
        let mut identity = [0_u8; 32];
        identity[0] = 1;
        let mut above = [0xff_u8; 32];
        above[0] = 0xee;
        above[31] = 0x7f;
        assert!(public_key(&identity).is_none());
        assert!(public_key(&above).is_none());
        assert!(public_key(&[0; 31]).is_none());
    }

    #[test]
    fn a_key_is_found_only_for_its_use_status_and_time() {
        let (_, set) = document();
        let mut entry = set.entries()[0].clone();
        let kid = entry.kid;
        assert!(set.find(&kid, KeyUse::Decision, 0).is_some());
        assert!(set.find(&kid, KeyUse::Checkpoint, 0).is_none());
        entry.not_before = Some(10);
        entry.not_after = Some(20);
        let bounded = KeySet::new(1, vec![entry.clone()]).unwrap();
        let found = [9, 10, 20, 21].map(|now| bounded.find(&kid, KeyUse::Decision, now).is_some());
        assert_eq!(found, [false, true, true, false]);
        entry.status = KeyStatus::Revoked;
        let revoked = KeySet::new(1, vec![entry]).unwrap();
        assert!(revoked.find(&kid, KeyUse::Decision, 15).is_none());
    }

    #[test]
    fn a_point_above_the_prime_is_refused_though_it_is_not_weak() {
        // y = p + k is read as k; where that point is strong, only its spelling is wrong.
        let above = |low: u8| {
            let mut bytes = [0xff_u8; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            bytes
        };
        let strong =
            |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak());
        let odd: Vec<_> = (0xed..=0xff).map(above).filter(strong).collect();
        assert!(!odd.is_empty());
        assert!(odd.iter().all(|bytes| public_key(bytes).is_none()));
    }

    #[test]
    fn every_member_of_a_document_is_signed_and_what_it_lists_is_bounded() {
        let (trust, set) = document();
        let mut entry = set.entries()[0].clone();
        (entry.not_before, entry.not_after) = (Some(10), Some(20));
        let set = KeySet::new(3, vec![entry.clone()]).unwrap();
        let text = set.sign_document(&trust);
        let read = |text: &str| KeySet::parse_document(text, &trust.verifying_key());
        assert_eq!(read(&text), Ok(set.clone()));
        for (from, to) in [
            ("\"not_before\": 10", "\"not_before\": 11"),
            ("\"not_after\": 20", "\"not_after\": 2000"),
            ("policyd.localhost", "other.localhost"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert_eq!(read(&changed), Err(KeySetError::Signature), "{from}");
        }
        let misnamed = text.replacen(&hex::encode(entry.kid), &"00".repeat(16), 1);
        assert!(matches!(read(&misnamed), Err(KeySetError::Unreadable(_))));
        let long = text + &" ".repeat(KEYSET_BYTES_MAX);
        assert_eq!(read(&long), Err(KeySetError::TooLarge));
        let twice = KeySet::new(1, vec![entry.clone(); 2]);
        assert_eq!(twice, Err(KeySetError::Twice(hex::encode(entry.kid))));
        let many = KeySet::new(1, vec![entry; KEYSET_KEYS_MAX + 1]);
        assert_eq!(many, Err(KeySetError::TooLarge));
        let older = KeySet::new(2, vec![]).unwrap();
        assert!(set.supersedes(&set) && set.supersedes(&older) && !older.supersedes(&set));
    }
}
