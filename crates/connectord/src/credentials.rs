//! CRM credentials: sealed at rest, and the only file of the product that reads them. Others get
//! a [`Credential`] that can put itself on a request and nothing else.

pub mod auth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::toml_flaw::near;
use zeroize::Zeroizing;

use crate::domain::gate::Refusal;
use crate::private_file::{read_private, write_private};
use auth::Auth;

const SECRET_BYTES_MAX: usize = 16 * 1_024;
/// A secret of so many characters is a token that was made by a machine.
const TOKEN_CHARS_MIN: usize = 24;

/// A secret that can be shown to its system and to nobody else.
#[derive(Clone)]
pub struct Credential(Arc<SecretString>);

impl core::fmt::Debug for Credential {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// Puts the secret on a request, none if it has fewer parts than the system file names. Header
    /// values are marked so that nothing prints them.
    pub fn put_on(
        &self,
        request: reqwest::RequestBuilder,
        auth: &Auth,
    ) -> Option<reqwest::RequestBuilder> {
        let parts = self.parts(auth.parts());
        let marked = |text: String| {
            let mut value = reqwest::header::HeaderValue::from_str(&text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        match auth {
            Auth::Bearer(secret) => Some(request.bearer_auth(secret.fill(&parts)?)),
            Auth::Basic(secret) => {
                let text = secret.fill(&parts)?;
                let (user, password) = text.split_once(':').unwrap_or((&text, ""));
                Some(request.basic_auth(user, Some(password)))
            }
            Auth::Header(name, secret) => Some(request.header(name, marked(secret.fill(&parts)?)?)),
            Auth::Password => None,
        }
    }

    /// Puts the secret as the password of a login.
    #[must_use]
    pub fn log_in(&self, options: PgConnectOptions) -> PgConnectOptions {
        options.password(self.0.expose_secret())
    }

    /// The parts of the one line that is sealed: divided by colons, the last one takes the rest.
    fn parts(&self, count: usize) -> Vec<&str> {
        self.0.expose_secret().splitn(count.max(1), ':').collect()
    }

    /// Which secret it is, without telling anything of it: connections are made anew when it changes.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(self.0.expose_secret().as_bytes())
    }
}

#[derive(Serialize, Deserialize, Default)]
struct Sealed {
    nonce: String,
    sealed: String,
    added: i64,
    last_four: String,
}

/// What may be said about a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Connection id.
    pub connection: String,
    /// Unix seconds.
    pub added: i64,
    /// The last four characters of a long secret, else nothing.
    pub last_four: String,
}

/// The sealed file and the key file beside it.
#[derive(Debug, Clone)]
pub struct CredentialStore {
    file: PathBuf,
    key_file: PathBuf,
}

fn seal_error(path: &Path) -> Refusal {
    Refusal::new(
        Reason::CredentialSeal,
        format!("{}: cannot be opened", path.display()),
    )
}

impl CredentialStore {
    /// A store in two files.
    #[must_use]
    pub const fn new(file: PathBuf, key_file: PathBuf) -> Self {
        Self { file, key_file }
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, Refusal> {
        if !self.key_file.exists() {
            let detail = format!("{} is not there", self.key_file.display());
            return Err(Refusal::new(Reason::CredentialSeal, detail));
        }
        let text = read_private(&self.key_file)?;
        let key = Zeroizing::new(hex::decode(text.trim()).unwrap_or_default());
        XChaCha20Poly1305::new_from_slice(&key).map_err(|_| {
            let detail = format!("{}: not 32 bytes of hex", self.key_file.display());
            Refusal::new(Reason::KeyInvalid, detail)
        })
    }

    fn read(&self) -> Result<BTreeMap<String, Sealed>, Refusal> {
        match std::fs::read_to_string(&self.file) {
            Ok(text) => serde_json::from_str(&text).map_err(|_| seal_error(&self.file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(_) => Err(seal_error(&self.file)),
        }
    }

    fn save(&self, all: &BTreeMap<String, Sealed>) -> Result<(), Refusal> {
        let text = serde_json::to_string_pretty(all).unwrap_or_default();
        write_private(&self.file, text.as_bytes())
    }

    /// Seals a secret under a connection, replacing an older one.
    ///
    /// # Errors
    /// When the secret is empty or has control characters, or the files cannot be used.
    pub fn put(&self, connection: &str, secret: &str, now: i64) -> Result<(), Refusal> {
        let plain = !secret.is_empty() && secret.len() <= SECRET_BYTES_MAX;
        if !plain || secret.chars().any(char::is_control) {
            let detail = "a secret is one line of text without control characters";
            return Err(Refusal::new(Reason::CredentialMissing, detail));
        }
        let mut all = self.read()?;
        let nonce: [u8; 24] = crate::ids::random().ok_or_else(|| Refusal::of(Reason::Internal))?;
        // The connection is authenticated too: a sealed secret cannot be moved to another one.
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: connection.as_bytes(),
        };
        let sealed = self
            .cipher()?
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| seal_error(&self.file))?;
        let tail: String = secret
            .chars()
            .rev()
            .take(4)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let entry = Sealed {
            nonce: hex::encode(nonce),
            sealed: hex::encode(sealed),
            added: now,
            // Of a user and a password no letter is told.
            last_four: if secret.chars().count() >= TOKEN_CHARS_MIN && !secret.contains(':') {
                tail
            } else {
                String::new()
            },
        };
        all.insert(connection.to_owned(), entry);
        self.save(&all)
    }

    /// Opens the secret of a connection.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING`, or `CREDENTIAL_SEAL` when it was changed or sealed with another key.
    pub fn open(&self, connection: &str) -> Result<Credential, Refusal> {
        let all = self.read()?;
        let entry = all.get(connection).ok_or_else(|| {
            let near = near(connection, all.keys().map(String::as_str));
            let hint = near.map_or_else(
                || format!("add it: connectord creds add {connection}"),
                |near| format!("there is one for `{near}`: is the name of the connection right?"),
            );
            let detail = format!("no credential for `{connection}`; {hint}");
            Refusal::new(Reason::CredentialMissing, detail)
        })?;
        let nonce: Option<[u8; 24]> = hex::decode(&entry.nonce)
            .ok()
            .and_then(|nonce| nonce.try_into().ok());
        let nonce = nonce.ok_or_else(|| seal_error(&self.file))?;
        let sealed = hex::decode(&entry.sealed).map_err(|_| seal_error(&self.file))?;
        let payload = Payload {
            msg: &sealed,
            aad: connection.as_bytes(),
        };
        let opened = self.cipher()?.decrypt(&XNonce::from(nonce), payload);
        let opened = opened.map_err(|_| seal_error(&self.file))?;
        let text = String::from_utf8(opened).map_err(|_| seal_error(&self.file))?;
        Ok(Credential(Arc::new(SecretString::from(text))))
    }

    /// What there is, without any secret.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, Refusal> {
        let listed = self.read()?.into_iter().map(|(connection, entry)| Listed {
            connection,
            added: entry.added,
            last_four: entry.last_four,
        });
        Ok(listed.collect())
    }

    /// Forgets the secret of a connection.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING` when there is none.
    pub fn remove(&self, connection: &str) -> Result<(), Refusal> {
        let mut all = self.read()?;
        if all.remove(connection).is_none() {
            return Err(Refusal::of(Reason::CredentialMissing));
        }
        self.save(&all)
    }
}

#[cfg(test)]
mod tests;
