//! CRM credentials: sealed at rest, and the only file of the product that reads them. Others get
//! a [`Credential`] that can put itself on a request and nothing else.

pub mod auth;
pub mod oauth;
mod renewal;
pub mod source;
pub mod vault;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::host::store::owner::{folder_of, lock_in_turn};
use writ_proto::toml_flaw::near;
use zeroize::Zeroizing;

use crate::domain::gate::Refusal;
use crate::private_file::{read_private, write_private};
use auth::Auth;
use source::{Source, Sources};

const SECRET_BYTES_MAX: usize = 16 * 1_024;
/// Bytes of the key that seals them (XChaCha20-Poly1305).
const KEY_BYTES: usize = 32;
/// Longest file of sealed credentials, in bytes.
pub const FILE_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// How much of a hash is enough to tell connections apart.
const TURN_CHARS: usize = 16;
/// How long a lock that another process holds is waited for.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// A secret of so many characters is a token that was made by a machine.
const TOKEN_CHARS_MIN: usize = 24;

/// A secret that can be shown to its system and to nobody else.
#[derive(Clone)]
pub struct Credential {
    secret: Arc<SecretString>,
    fingerprint: [u8; 32],
    /// Where it is sealed, and under which connection.
    home: (CredentialStore, String),
}

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
            // A token of its own goes on it.
            Auth::OAuth2(_) | Auth::Password(_) => None,
        }
    }

    /// Puts the part that is the password of a login.
    #[must_use]
    pub fn log_in(&self, options: PgConnectOptions, auth: &Auth) -> PgConnectOptions {
        let parts = self.parts(auth.parts());
        options.password(parts.first().map_or("", |part| part.as_str()))
    }

    /// The parts by their names, fewer where one is not there: members of a JSON object, or of a line
    /// that is divided by colons, of which the last part takes the rest.
    fn parts(&self, names: &[String]) -> Vec<Zeroizing<String>> {
        let text = self.secret.expose_secret();
        if let Ok(named) = serde_json::from_str::<BTreeMap<String, Zeroizing<String>>>(text) {
            return names
                .iter()
                .map_while(|name| named.get(name).cloned())
                .collect();
        }
        let divided = text.splitn(names.len().max(1), ':');
        divided
            .map(|part| Zeroizing::new(part.to_owned()))
            .collect()
    }

    /// Which secret it is, to whoever has the seal key, and without telling anything of it: connections are made anew
    /// when it changes.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// Until it is dropped, no other process has it.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for its lock")] std::fs::File);

/// Bytes under the seal, in hex.
#[derive(Serialize, Deserialize)]
struct UnderSeal {
    nonce: String,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    secret: UnderSeal,
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
    /// Where credentials are that are not in the file.
    elsewhere: Option<Arc<Sources>>,
}

/// The refresh token in a credential of that grant: a member of a JSON object, or the third part of a line.
fn refresh_part(secret: &str) -> Option<Zeroizing<String>> {
    if let Ok(named) = serde_json::from_str::<BTreeMap<String, Zeroizing<String>>>(secret) {
        return named.get("refresh_token").cloned();
    }
    let third = secret.splitn(3, ':').nth(2)?;
    Some(Zeroizing::new(third.to_owned()))
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
        Self {
            file,
            key_file,
            elsewhere: None,
        }
    }

    /// The same, where credentials of some connections are elsewhere.
    #[must_use]
    pub fn beside(self, sources: Arc<Sources>) -> Self {
        Self {
            elsewhere: Some(sources),
            ..self
        }
    }

    /// Where the credential of a connection is, if that is not the file.
    #[must_use]
    pub fn elsewhere(&self, connection: &str) -> Option<&Source> {
        self.elsewhere.as_ref()?.get(connection)
    }

    /// Other bytes whenever a credential that is not in the file may be another one.
    #[must_use]
    pub fn mark(&self) -> Vec<u8> {
        let sources = self.elsewhere.iter().flat_map(|sources| sources.values());
        sources.flat_map(Source::mark).collect()
    }

    fn key(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if !self.key_file.exists() {
            let detail = format!("{} is not there", self.key_file.display());
            return Err(Refusal::new(Reason::CredentialSeal, detail));
        }
        let text = read_private(&self.key_file)?;
        let key = Zeroizing::new(hex::decode(text.trim()).unwrap_or_default());
        if key.len() == KEY_BYTES {
            return Ok(key);
        }
        let detail = format!("{}: not {KEY_BYTES} bytes of hex", self.key_file.display());
        Err(Refusal::new(Reason::KeyInvalid, detail))
    }

    /// Which secret a text is: keyed, so that a short one cannot be guessed from it.
    fn fingerprint(&self, text: &str) -> Result<[u8; 32], Refusal> {
        let key = self.key()?;
        let keyed = Zeroizing::new([key.as_slice(), text.as_bytes()].concat());
        Ok(sha256(&keyed))
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, Refusal> {
        let key = self.key()?;
        XChaCha20Poly1305::new_from_slice(&key)
            .map_err(|error| Refusal::new(Reason::KeyInvalid, error.to_string()))
    }

    fn read(&self) -> Result<BTreeMap<String, Sealed>, Refusal> {
        Ok(self.there()?.unwrap_or_default())
    }

    /// What the file holds; nothing where there is none.
    fn there(&self) -> Result<Option<BTreeMap<String, Sealed>>, Refusal> {
        match std::fs::read_to_string(&self.file) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|_| seal_error(&self.file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(seal_error(&self.file)),
        }
    }

    fn save(&self, all: &BTreeMap<String, Sealed>) -> Result<(), Refusal> {
        let text = serde_json::to_string_pretty(all).unwrap_or_default();
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            let detail = format!(
                "{}: more than {FILE_BYTES_MAX} bytes of credentials",
                self.file.display()
            );
            return Err(Refusal::new(Reason::RequestTooLarge, detail));
        }
        write_private(&self.file, text.as_bytes())
    }

    /// Held while the file is read, changed and written: a moment.
    fn exclusive(&self) -> Result<Turn, Refusal> {
        self.lock("lock")
    }

    /// A lock is a file of its own: the one with the secrets is replaced whole.
    fn lock(&self, extension: &str) -> Result<Turn, Refusal> {
        let path = self.file.with_extension(extension);
        let busy = |why: &dyn core::fmt::Display| {
            let detail = format!("{}: {why}", path.display());
            Refusal::new(Reason::StoreUnavailable, detail)
        };
        let like = match self.file.exists() {
            true => self.file.as_path(),
            false => folder_of(&self.file),
        };
        let file = lock_in_turn(&path, like, LOCK_WAIT_MAX);
        file.map(Turn).map_err(|error| busy(&error))
    }

    /// Seals a text for one purpose: it opens for no other.
    fn seal(&self, text: &str, purpose: &str) -> Result<UnderSeal, Refusal> {
        let nonce: [u8; 24] = crate::ids::random().ok_or_else(|| Refusal::of(Reason::Internal))?;
        let payload = Payload {
            msg: text.as_bytes(),
            aad: purpose.as_bytes(),
        };
        let sealed = self.cipher()?.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| seal_error(&self.file))?;
        Ok(UnderSeal {
            nonce: hex::encode(nonce),
            sealed: hex::encode(sealed),
        })
    }

    fn unseal(&self, sealed: &UnderSeal, purpose: &str) -> Result<SecretString, Refusal> {
        let wrong = || seal_error(&self.file);
        let nonce = hex::decode(&sealed.nonce).map_err(|_| wrong())?;
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| wrong())?;
        let bytes = hex::decode(&sealed.sealed).map_err(|_| wrong())?;
        let payload = Payload {
            msg: &bytes,
            aad: purpose.as_bytes(),
        };
        let opened = self.cipher()?.decrypt(&XNonce::from(nonce), payload);
        let text = String::from_utf8(opened.map_err(|_| wrong())?).map_err(|_| wrong())?;
        Ok(SecretString::from(text))
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
        let _exclusive = self.exclusive()?;
        let mut all = self.read()?;
        let count = secret.chars().count();
        let tail = secret.chars().skip(count.saturating_sub(4)).collect();
        // Of a user and a password no letter is told.
        let tells = count >= TOKEN_CHARS_MIN && !secret.contains(':');
        let entry = Sealed {
            // The connection is authenticated too: a sealed secret cannot be moved to another one.
            secret: self.seal(secret, connection)?,
            added: now,
            last_four: if tells { tail } else { String::new() },
        };
        all.insert(connection.to_owned(), entry);
        self.save(&all)
    }

    /// Another connection whose sealed credential has the same refresh token, in whatever form; what does not open is
    /// passed over.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn shared_with(&self, connection: &str, secret: &str) -> Result<Option<String>, Refusal> {
        let Some(own) = refresh_part(secret) else {
            return Ok(None);
        };
        let all = self.list()?.into_iter().map(|listed| listed.connection);
        let mut others = all.filter(|other| other != connection);
        Ok(others.find(|other| {
            let sealed = self.open(other);
            let shown = sealed
                .ok()
                .and_then(|sealed| refresh_part(sealed.secret.expose_secret()));
            shown.is_some_and(|shown| *shown == *own)
        }))
    }

    /// Opens the secret of a connection.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING`, or `CREDENTIAL_SEAL` when it was changed or sealed with another key.
    pub fn open(&self, connection: &str) -> Result<Credential, Refusal> {
        if let Some(source) = self.elsewhere(connection) {
            return self.shown(connection, source.secret()?);
        }
        let all = self.read()?;
        let entry = all.get(connection).ok_or_else(|| {
            if !self.file.exists() {
                let file = self.file.display();
                let detail = format!("no credential for `{connection}`: {file} is not there");
                return Refusal::new(Reason::CredentialMissing, detail);
            }
            let near = near(connection, all.keys().map(String::as_str));
            let hint = near.map_or_else(
                || format!("add it: connectord creds add {connection}"),
                |near| format!("there is one for `{near}`: is the name of the connection right?"),
            );
            let detail = format!("no credential for `{connection}`; {hint}");
            Refusal::new(Reason::CredentialMissing, detail)
        })?;
        self.opened(connection, entry)
    }

    fn opened(&self, connection: &str, entry: &Sealed) -> Result<Credential, Refusal> {
        self.shown(connection, self.unseal(&entry.secret, connection)?)
    }

    fn shown(&self, connection: &str, secret: SecretString) -> Result<Credential, Refusal> {
        Ok(Credential {
            fingerprint: self.fingerprint(secret.expose_secret())?,
            secret: Arc::new(secret),
            home: (self.clone(), connection.to_owned()),
        })
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
        let _exclusive = self.exclusive()?;
        let mut all = self.read()?;
        let was_there = all.remove(connection).is_some();
        if was_there {
            self.save(&all)?;
        }
        match self.forget_renewed(connection) {
            Ok(renewed) if was_there || renewed => Ok(()),
            Ok(_) => Err(Refusal::of(Reason::CredentialMissing)),
            Err(refusal) => {
                let detail = format!(
                    "{connection} is removed, but what took its place may still lie there: {}; run this again",
                    refusal.detail
                );
                Err(Refusal::new(refusal.reason, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests;
