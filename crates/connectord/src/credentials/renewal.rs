//! Refresh tokens that took the place of a sealed one: sealed in a file beside the credentials, each bound
//! to the credential it came from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use writ_proto::Reason;
use writ_proto::digest::sha256;

use super::{Credential, CredentialStore, TURN_CHARS, Turn, UnderSeal, seal_error};
use crate::domain::gate::Refusal;
use crate::private_file::write_private_like;

/// The newest refresh token of a connection.
#[derive(Serialize, Deserialize)]
struct Renewed {
    /// Fingerprint of the credential that it came from, in hex.
    of: String,
    #[serde(flatten)]
    sealed: UnderSeal,
}

type All = BTreeMap<String, Renewed>;

impl CredentialStore {
    fn renewed_file(&self) -> PathBuf {
        self.file.with_extension("refresh.json")
    }

    fn renewed(&self) -> Result<All, Refusal> {
        let path = self.renewed_file();
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|_| seal_error(&path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(All::new()),
            Err(_) => Err(seal_error(&path)),
        }
    }

    fn save_renewed(&self, all: &All) -> Result<(), Refusal> {
        let text = serde_json::to_string_pretty(all).unwrap_or_default();
        let path = self.renewed_file();
        write_private_like(&path, &self.file, text.as_bytes())
    }

    /// Forgets what took the place of a secret that is removed.
    pub(super) fn forget_renewed(&self, connection: &str) -> Result<bool, Refusal> {
        let mut all = self.renewed()?;
        if all.remove(connection).is_none() {
            return Ok(false);
        }
        self.save_renewed(&all)?;
        Ok(true)
    }
}

impl Credential {
    /// Its connection, and which secret it is.
    #[must_use]
    pub fn slot(&self) -> (String, [u8; 32]) {
        (self.home.1.clone(), self.fingerprint)
    }

    /// Waits until no other process shows what this connection has sealed.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` when that takes too long.
    pub fn turn(&self) -> Result<Turn, Refusal> {
        let name = hex::encode(sha256(self.home.1.as_bytes()));
        let name = name.get(..TURN_CHARS).unwrap_or(&name);
        self.home.0.lock(&format!("{name}.turn"))
    }

    /// What is sealed is still this credential: one that was replaced or removed is shown to nobody.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING` when it is not; another code where nobody can tell.
    pub fn stands(&self) -> Result<(), Refusal> {
        let (store, connection) = &self.home;
        let gone = |how: &str| {
            let detail = format!("the credential of `{connection}` was {how} meanwhile");
            Refusal::new(Reason::CredentialMissing, detail)
        };
        if let Some(source) = store.elsewhere(connection) {
            // A file that is away for a moment says nothing, as below.
            let secret = source
                .secret()
                .map_err(|refusal| Refusal::new(Reason::StoreUnavailable, refusal.detail))?;
            let now = store.shown(connection, secret)?;
            let same = now.fingerprint() == self.fingerprint();
            return if same { Ok(()) } else { Err(gone("replaced")) };
        }
        // Read once: a file that is away for a moment says nothing of what it holds.
        let all = store.there()?.ok_or_else(|| {
            let detail = "the file of the credentials is not there";
            Refusal::new(Reason::StoreUnavailable, detail)
        })?;
        // Not in the words of `open`, which name the connections of others.
        let entry = all.get(connection).ok_or_else(|| gone("removed"))?;
        if store.opened(connection, entry)?.fingerprint() == self.fingerprint() {
            return Ok(());
        }
        Err(gone("replaced"))
    }

    /// Does something while nobody can replace or remove this credential.
    ///
    /// # Errors
    /// As [`Self::stands`], and `STORE_UNAVAILABLE` when another process holds the file for too long.
    pub fn while_it_stands(&self, work: impl FnOnce()) -> Result<(), Refusal> {
        let _exclusive = self.home.0.exclusive()?;
        self.stands()?;
        work();
        Ok(())
    }

    /// The refresh token that took the place of the sealed one. That it could be replaced now is tried
    /// too: the issuer may forget the old one as soon as it is asked.
    ///
    /// # Errors
    /// When what is sealed cannot be opened or written.
    pub fn newer(&self) -> Result<Option<SecretString>, Refusal> {
        let (store, connection) = &self.home;
        let _exclusive = store.exclusive()?;
        // Somebody else may have had the turn for a while.
        self.stands()?;
        let all = store.renewed()?;
        store.save_renewed(&all)?;
        let own = hex::encode(self.fingerprint());
        let renewed = all.get(connection).filter(|renewed| renewed.of == own);
        let opened = renewed.map(|renewed| store.unseal(&renewed.sealed, &self.refreshed()));
        opened.transpose()
    }

    /// Seals the refresh token that takes the place of the one before; durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written, or somebody replaced the credential meanwhile.
    pub fn renew(&self, refresh: &SecretString) -> Result<(), Refusal> {
        let (store, connection) = &self.home;
        let _exclusive = store.exclusive()?;
        // Of a source that others keep nobody knows what it holds this moment; the token is bound to this very credential,
        // and lost if it is not kept now.
        let own = hex::encode(self.fingerprint());
        let others = store
            .renewed()?
            .get(connection)
            .is_some_and(|renewed| renewed.of != own);
        if store.elsewhere(connection).is_none() || others {
            self.stands()?;
        }
        let mut all = store.renewed()?;
        let renewed = Renewed {
            of: hex::encode(self.fingerprint()),
            sealed: store.seal(refresh.expose_secret(), &self.refreshed())?,
        };
        all.insert(connection.clone(), renewed);
        store.save_renewed(&all)
    }

    /// What a newer refresh token is bound to: it is of no use to another credential.
    fn refreshed(&self) -> String {
        let of = hex::encode(self.fingerprint());
        format!("{} refresh {of}", self.home.1)
    }
}
