//! Where the credential of a connection is: in the sealed file, in one that systemd or somebody else keeps, or in a Vault.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use writ_proto::duration::seconds;
use writ_proto::host::layers::ConfigError;

use super::{Config, variable};
use crate::credentials::source::{Slot, Source, Sources};
use crate::credentials::vault::{Login, Place, Vault};

/// `credential` of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialFrom {
    /// A file that somebody else keeps.
    File(PathBuf),
    /// A credential that systemd gives to the service, by its name.
    Systemd(String),
    /// A secret of the Vault, by its path below `/v1/`.
    Vault(String),
}

/// Shortest and longest time between two questions to the Vault, in seconds.
const REFRESH_SECONDS: core::ops::RangeInclusive<u32> = 1..=3_600;
/// Longest time that an answer may hold.
const STALE_SECONDS_MAX: u32 = 24 * 3_600;

const fn refresh() -> u32 {
    30
}

const fn stale_after() -> u32 {
    900
}

fn approle() -> String {
    "approle".to_owned()
}

/// `[vault]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// https, or http on loopback.
    pub addr: String,
    /// Certificate authority of the Vault, PEM.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
    /// A token that somebody else renews.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// AppRole: the role.
    #[serde(default)]
    pub role_id: Option<String>,
    /// AppRole: the file of its secret id, mode 0600.
    #[serde(default)]
    pub secret_id_file: Option<PathBuf>,
    /// AppRole: where it is mounted.
    #[serde(default = "approle")]
    pub mount: String,
    /// How often it is asked, 1s to 1h; default 30s.
    #[serde(rename = "refresh", default = "refresh", deserialize_with = "seconds")]
    pub refresh_seconds: u32,
    /// How long the last answer holds while the Vault says nothing, at most 24h; default 15m.
    #[serde(
        rename = "stale_after",
        default = "stale_after",
        deserialize_with = "seconds"
    )]
    pub stale_after_seconds: u32,
}

/// A path of a Vault: plain segments.
fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let segment =
        |part: &str| !part.is_empty() && part.bytes().all(plain) && !matches!(part, "." | "..");
    path.len() <= 256 && path.split('/').all(segment)
}

impl CredentialFrom {
    pub(super) fn check(
        &mut self,
        base: &Path,
        name: &str,
        has_vault: bool,
    ) -> Result<(), ConfigError> {
        let wrong = |why: &str| {
            Err(ConfigError::invalid(format!(
                "connection `{name}`: credential: {why}"
            )))
        };
        match self {
            Self::File(path) => *path = base.join(&*path),
            Self::Systemd(id) if id.contains('/') || !is_path(id) => {
                return wrong("systemd names a credential by an id without slashes");
            }
            Self::Vault(_) if !has_vault => {
                return wrong("there is no [vault] in this configuration");
            }
            Self::Vault(path) if !is_path(path) => {
                return wrong(
                    "vault is a path such as secret/data/crm: letters, digits, -, _ and . between slashes",
                );
            }
            Self::Systemd(_) | Self::Vault(_) => {}
        }
        Ok(())
    }
}

impl VaultConfig {
    pub(super) fn check(&mut self, base: &Path) -> Result<(), ConfigError> {
        let wrong = |why: &str| Err(ConfigError::invalid(format!("vault: {why}")));
        for path in [&mut self.ca, &mut self.token_file, &mut self.secret_id_file] {
            *path = path.take().map(|path| base.join(path));
        }
        if self.role_id.is_some() != self.secret_id_file.is_some()
            || self.role_id.is_some() == self.token_file.is_some()
        {
            return wrong(
                "token_file, or role_id and secret_id_file: one of the two says who we are",
            );
        }
        if !REFRESH_SECONDS.contains(&self.refresh_seconds) {
            return wrong("refresh is 1s to 1h");
        }
        let least = self.refresh_seconds.saturating_mul(3);
        if !(least..=STALE_SECONDS_MAX).contains(&self.stale_after_seconds) {
            return wrong("stale_after is at least three times refresh, and at most 24h");
        }
        if !is_path(&self.mount) {
            return wrong("mount is the path of an auth method, such as approle");
        }
        Ok(())
    }

    /// Where it is, and who we are there.
    #[must_use]
    pub fn place(&self) -> Place {
        let approle = self.role_id.clone().zip(self.secret_id_file.clone());
        let login = match approle {
            Some((role_id, secret_id_file)) => Login::AppRole {
                mount: self.mount.clone(),
                role_id,
                secret_id_file,
            },
            None => Login::TokenFile(self.token_file.clone().unwrap_or_default()),
        };
        Place {
            addr: self.addr.clone(),
            ca: self.ca.clone(),
            namespace: self.namespace.clone(),
            login,
        }
    }
}

/// Where credentials are that are not sealed, and the Vault that some of them are in.
#[must_use]
pub fn elsewhere(config: &Config) -> (Sources, Option<Vault>) {
    let (mut sources, mut slots) = (Sources::new(), Vec::new());
    for connection in &config.connection {
        let Some(from) = &connection.credential else {
            continue;
        };
        let source = match from {
            CredentialFrom::File(path) => Source::File(path.clone()),
            CredentialFrom::Systemd(id) => match variable("CREDENTIALS_DIRECTORY") {
                Some(folder) => Source::File(Path::new(&folder).join(id)),
                None => Source::Nowhere(format!(
                    "systemd gives `{id}` to its service alone (LoadCredential=), and this process is none"
                )),
            },
            CredentialFrom::Vault(path) => {
                let seconds = config
                    .vault
                    .as_ref()
                    .map_or(0, |vault| vault.stale_after_seconds);
                let stale_after = Duration::from_secs(seconds.into());
                let slot = Arc::new(Slot::new(path, stale_after));
                slots.push(Arc::clone(&slot));
                Source::Vault(slot)
            }
        };
        sources.insert(connection.name.clone(), source);
    }
    let vault = config.vault.as_ref().filter(|_| !slots.is_empty());
    let vault = vault.map(|vault| Vault::new(vault.place(), slots));
    (sources, vault)
}
