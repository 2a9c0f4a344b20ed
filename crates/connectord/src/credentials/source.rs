//! Credentials that are not in the sealed file: in a file that somebody else keeps, such as systemd or Kubernetes, or in a
//! Vault. Neither is written anywhere here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use writ_proto::Reason;
use writ_proto::digest::sha256;
use zeroize::Zeroizing;

use super::SECRET_BYTES_MAX;
use crate::domain::gate::Refusal;

/// Rights that nobody may have on such a file: others none, and its group no more than to read it.
const TOO_OPEN: u32 = 0o037;

/// Where the credential of a connection is.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// Nowhere; why.
    Nowhere(String),
    /// In a Vault.
    Vault(Arc<Slot>),
}

/// By connection. One that is not named has its credential in the sealed file.
pub type Sources = BTreeMap<String, Source>;

/// What a Vault said last of one path.
#[derive(Debug)]
pub struct Slot {
    /// Below `/v1/`.
    pub(super) path: String,
    /// How long what the Vault said holds while it says nothing.
    stale_after: Duration,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    secret: Option<SecretString>,
    /// Why there is none, or why it is not newer.
    why: String,
    /// Grows with every change.
    version: u64,
    /// When the Vault last said anything of the path.
    said: Option<Instant>,
}

impl Slot {
    /// Of a path that was never asked for.
    #[must_use]
    pub fn new(path: &str, stale_after: Duration) -> Self {
        Self {
            path: path.to_owned(),
            stale_after,
            held: Mutex::new(Held {
                secret: None,
                why: "the Vault was not asked yet".to_owned(),
                version: 0,
                said: None,
            }),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Vault holds this, as it was asked at a moment.
    pub(super) fn put(&self, secret: SecretString, asked: Instant) {
        let mut held = self.held();
        let same = held
            .secret
            .as_ref()
            .is_some_and(|old| old.expose_secret() == secret.expose_secret());
        held.said = Some(asked);
        if !same {
            tracing::info!(
                path = self.path,
                "the Vault has another credential, which is in use from now on"
            );
            held.secret = Some(secret);
            held.version = held.version.saturating_add(1);
        }
    }

    /// The Vault says that there is none for us.
    pub(super) fn gone(&self, why: String) {
        self.drop_it(&mut self.held(), why);
    }

    /// The Vault said nothing.
    pub(super) fn away(&self, why: &str) {
        let mut held = self.held();
        held.why = why.to_owned();
        self.age(&mut held);
    }

    /// Drops what the Vault said too long ago, whoever looks: what asks it may hang, or have stood still.
    fn age(&self, held: &mut Held) {
        let old = held
            .said
            .is_some_and(|said| said.elapsed() >= self.stale_after);
        if old && held.secret.is_some() {
            let why = format!(
                "the Vault said nothing of it for {} s: {}",
                self.stale_after.as_secs(),
                held.why
            );
            self.drop_it(held, why);
        }
    }

    fn drop_it(&self, held: &mut Held, why: String) {
        if held.secret.take().is_some() {
            tracing::error!(path = self.path, "the credential is used no more: {why}");
            held.version = held.version.saturating_add(1);
        }
        held.why = why;
    }
}

fn missing(why: String) -> Refusal {
    Refusal::new(Reason::CredentialMissing, why)
}

/// The text of a file that somebody else keeps, read from one open file.
pub(super) fn given(path: &Path) -> Result<SecretString, Refusal> {
    let name = path.display();
    // A file that is not there was taken away; of any other failure nobody knows.
    let unknown =
        |why: &dyn core::fmt::Display| Refusal::new(Reason::KeyInvalid, format!("{name}: {why}"));
    // A pipe would never open. Looked at by its name first, and then by the open file.
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(unknown(&"not a file"));
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(format!("{name} is not there")),
        _ => unknown(&error),
    })?;
    let about = file.metadata().map_err(|error| unknown(&error))?;
    if !about.is_file() {
        return Err(unknown(&"not a file"));
    }
    if about.mode() & TOO_OPEN != 0 {
        let why = format!(
            "{name} has mode {:o}: others can use it, or its group change it",
            about.mode() & 0o777
        );
        return Err(Refusal::new(Reason::KeyFileMode, why));
    }
    let most = u64::try_from(SECRET_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut text = Zeroizing::new(String::new());
    file.take(most)
        .read_to_string(&mut text)
        .map_err(|error| unknown(&error))?;
    checked(&text, &name)
}

/// A secret without its last line break; named parts in JSON may have line breaks between them.
fn checked(text: &str, name: &dyn core::fmt::Display) -> Result<SecretString, Refusal> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(missing(format!("{name} is empty")));
    }
    let is_named = text.trim_start().starts_with('{');
    let plain = text.len() <= SECRET_BYTES_MAX;
    if !plain || !is_named && text.chars().any(char::is_control) {
        let why = format!(
            "{name}: a secret is one line of text, or a JSON object of named parts, of at most {SECRET_BYTES_MAX} bytes"
        );
        return Err(Refusal::new(Reason::KeyInvalid, why));
    }
    Ok(SecretString::from(text))
}

impl Source {
    /// The secret as it is now.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING` where there is none any more; another code where nobody can tell.
    pub(super) fn secret(&self) -> Result<SecretString, Refusal> {
        match self {
            Self::File(path) => given(path),
            Self::Nowhere(why) => Err(missing(why.clone())),
            Self::Vault(slot) => {
                let mut held = slot.held();
                slot.age(&mut held);
                let secret = held.secret.clone();
                secret.ok_or_else(|| missing(format!("{}: {}", slot.path, held.why)))
            }
        }
    }

    /// Another text whenever the secret may be another one.
    pub(super) fn mark(&self) -> Vec<u8> {
        match self {
            Self::File(path) => match given(path) {
                Ok(secret) => sha256(secret.expose_secret().as_bytes()).to_vec(),
                Err(refusal) => refusal.detail.into_bytes(),
            },
            Self::Nowhere(_) => Vec::new(),
            Self::Vault(slot) => {
                let mut held = slot.held();
                slot.age(&mut held);
                held.version.to_be_bytes().to_vec()
            }
        }
    }
}

#[cfg(test)]
mod tests;
