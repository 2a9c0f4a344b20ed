//! The configuration of connectord, and the only reader of the environment. Every path is
//! relative to the folder of the file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use writ_proto::caller::CallRates;
use writ_proto::duration::seconds;
use writ_proto::host::store::postgres::is_postgres;
use writ_proto::ids::TenantId;
use writ_proto::limits::{LEEWAY_SECONDS_DEFAULT, LEEWAY_SECONDS_MAX, TOKEN_TTL_SECONDS_MAX};

use crate::halt::Place;

pub mod credential;
pub mod page;

pub use writ_proto::host::layers::{ConfigError, Layers};

/// The checked configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub server: ServerConfig,
    /// Who we are and who may connect.
    pub tls: TlsConfig,
    /// How often agents may call.
    #[serde(default)]
    pub limits: CallRates,
    /// Where executions are journaled.
    pub store: StoreConfig,
    /// Which keys are trusted.
    pub trust: TrustConfig,
    /// Where halts are read.
    pub halt: HaltConfig,
    /// connectord's own cards.
    pub cards: FolderConfig,
    /// System files.
    pub systems: FolderConfig,
    /// The sealed credentials.
    pub credentials: CredentialConfig,
    /// The Vault that credentials may be in.
    #[serde(default)]
    pub vault: Option<credential::VaultConfig>,
    /// policyd, for reports; without it they wait.
    #[serde(default)]
    pub policyd: Option<PeerConfig>,
    /// Instances of systems of record.
    pub connection: Vec<ConnectionConfig>,
}

/// `[server]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of gRPC; port 0 takes a free one.
    pub grpc_addr: SocketAddr,
    /// Own audience; tokens must name it byte for byte.
    pub audience: String,
    /// Offer gRPC reflection; off by default.
    #[serde(default)]
    pub reflection: bool,
    /// Address of the halt page and of probes; absent, there is none. Port 0 takes a free one.
    #[serde(default)]
    http_addr: Option<SocketAddr>,
    /// Without TLS, on loopback only; default false.
    #[serde(default)]
    http_plaintext: bool,
    /// Names under which the page is reached; default: any with TLS, those of loopback without.
    #[serde(default)]
    http_hosts: Vec<String>,
}

/// `[tls]`. mTLS is always on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate authority of callers, PEM.
    pub ca: PathBuf,
    /// Own certificate, PEM.
    pub cert: PathBuf,
    /// Own key, PEM, mode 0600.
    pub key_file: PathBuf,
    /// Trust domain of SPIFFE URIs in certificates.
    pub trust_domain: String,
}

/// `[store]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite://FILE`, relative to the configuration.
    pub url: String,
    /// Remembers how far journal, halts, trust document and time have come; on another disk than they
    /// are, if there is one.
    #[serde(default = "mark_file")]
    pub mark_file: PathBuf,
    /// Megabytes that stay free on the disk of a SQLite file: with less, agents are refused, and operators, halts,
    /// reports and undo are served. 0 keeps none; default 256.
    #[serde(default = "reserve_mb")]
    pub reserve_mb: u32,
}

const fn reserve_mb() -> u32 {
    256
}

/// `[trust]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustConfig {
    /// The signed trust document.
    pub keys_file: PathBuf,
    /// The pinned public key that signs it, hex.
    pub root_key: String,
    /// Allowed clock difference, at most 30s; default 5s.
    #[serde(
        rename = "max_clock_skew",
        default = "leeway",
        deserialize_with = "seconds"
    )]
    pub leeway_seconds: u32,
    /// Longest life of a token, at most 5m.
    #[serde(rename = "max_ttl", default = "ttl_max", deserialize_with = "seconds")]
    pub ttl_seconds_max: u32,
}

/// `[halt]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltConfig {
    /// `file://FOLDER` of flag files, or `redis://HOST:PORT/DB`. If it is not there, everything is
    /// halted.
    #[serde(rename = "store", deserialize_with = "place")]
    pub place: Place,
    /// How old what a Redis said may be, at most 5s; default 2s. Older is not known.
    #[serde(
        rename = "max_staleness",
        default = "staleness",
        deserialize_with = "seconds"
    )]
    pub staleness_seconds: u32,
    /// Keeps the highest epoch that a Redis had, so that a restored backup is noticed.
    #[serde(default = "epoch_file")]
    pub epoch_file: PathBuf,
    /// Operators, as `tenant/name`, who may halt and resume every tenant.
    #[serde(default)]
    pub global_operators: Vec<String>,
}

impl HaltConfig {
    /// Checks it, and makes what is relative to a configuration absolute.
    fn rebase(&mut self, base: &Path) -> Result<(), ConfigError> {
        if !(1..=5).contains(&self.staleness_seconds) {
            return Err(ConfigError::invalid("halt.max_staleness is 1s to 5s"));
        }
        let named = |text: &&String| {
            let parts = text.split_once('/');
            parts.is_some_and(|(tenant, name)| TenantId::parse(tenant).is_ok() && !name.is_empty())
        };
        if let Some(other) = self.global_operators.iter().find(|text| !named(text)) {
            return Err(ConfigError::invalid(format!(
                "halt.global_operators: `{other}` is not TENANT/OPERATOR, such as \"acme/ops\""
            )));
        }
        match &mut self.place {
            Place::Folder(folder) => *folder = base.join(&*folder),
            Place::Redis(redis) => {
                redis.max_staleness = Duration::from_secs(self.staleness_seconds.into());
                redis.epoch_file = Some(base.join(&self.epoch_file));
            }
        }
        Ok(())
    }
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
    let text = String::deserialize(deserializer)?;
    Place::parse(&text).map_err(D::Error::custom)
}

const fn staleness() -> u32 {
    2
}

fn mark_file() -> PathBuf {
    PathBuf::from("state/connectord-marks.json")
}

fn epoch_file() -> PathBuf {
    PathBuf::from("state/halt-epoch")
}

/// A folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder.
    pub dir: PathBuf,
}

/// `[credentials]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// The sealed file.
    pub file: PathBuf,
    /// 32 bytes of hex that seal it, mode 0600.
    pub key_file: PathBuf,
}

/// `[policyd]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// `https://host:port` of its gRPC.
    pub addr: String,
}

/// `[[connection]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionConfig {
    /// Name on cards, such as `crm/main`.
    pub name: String,
    /// Name of the system file, or `document`, which needs none.
    pub system: String,
    /// https, or http on loopback; of `document` the folder: `file://FOLDER`.
    pub base_url: String,
    /// Tenants that may use it; nobody else's cards can name it.
    pub tenants: Vec<String>,
    /// Whether the system may have an address of a private network; default false.
    #[serde(default)]
    pub private: bool,
    /// Where its credential is, if not in the sealed file.
    #[serde(default)]
    pub credential: Option<credential::CredentialFrom>,
    /// Socket of the plug-in, for a system file with `driver = "remote"`.
    #[serde(default)]
    pub plugin: Option<PathBuf>,
    /// What its credential may do although the system file needs it for nothing, by the names that the system gives.
    #[serde(default)]
    pub accept_scopes: Vec<String>,
    /// The folder of `document`, absolute.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// The system that is a folder of templates.
const DOCUMENT: &str = "document";

impl ConnectionConfig {
    fn rebase(&mut self, base: &Path) -> Result<(), ConfigError> {
        let folder = self.base_url.strip_prefix("file://");
        if folder.is_some() != (self.system == DOCUMENT) {
            let detail = "a connection of the system `document` has base_url = file://FOLDER";
            return Err(ConfigError::invalid(detail));
        }
        self.folder = folder.map(|folder| base.join(folder));
        self.plugin = self.plugin.take().map(|socket| base.join(socket));
        let unknown = |tenant: &&String| TenantId::parse(tenant).is_err();
        match self.tenants.iter().find(unknown) {
            Some(tenant) => Err(ConfigError::invalid(format!(
                "connection `{}`: `{tenant}` is no tenant",
                self.name
            ))),
            None if self.tenants.is_empty() => {
                let detail = format!(
                    "connection `{}`: tenants = [\"...\"] names who may use it",
                    self.name
                );
                Err(ConfigError::invalid(detail))
            }
            None => Ok(()),
        }
    }
}

const fn leeway() -> u32 {
    LEEWAY_SECONDS_DEFAULT
}

const fn ttl_max() -> u32 {
    TOKEN_TTL_SECONDS_MAX
}

/// The environment of the process.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}

/// One variable, such as `NO_COLOR`.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the environment enters"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Config {
    /// Checks the layers and makes paths absolute to the folder of the file.
    ///
    /// # Errors
    /// When a key is unknown or a value is out of range.
    pub fn from_layers(layers: &Layers, file: &Path) -> Result<Self, ConfigError> {
        // The two lie side by side.
        if layers.has("policy") && !layers.has("credentials") {
            let name = file.display();
            let why = format!("{name} is a configuration of policyd; this is connectord");
            return Err(ConfigError::invalid(why));
        }
        Self::checked(layers, file).map_err(|error| layers.located(error))
    }

    fn checked(layers: &Layers, file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = layers.shape()?;
        config.limits.check().map_err(ConfigError::invalid)?;
        if config.trust.leeway_seconds > LEEWAY_SECONDS_MAX {
            let detail = format!("trust.max_clock_skew is at most {LEEWAY_SECONDS_MAX}s");
            return Err(ConfigError::invalid(detail));
        }
        if !(1..=TOKEN_TTL_SECONDS_MAX).contains(&config.trust.ttl_seconds_max) {
            let detail = format!("trust.max_ttl is 1s to {TOKEN_TTL_SECONDS_MAX}s");
            return Err(ConfigError::invalid(detail));
        }
        let base = file.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        for path in [
            &mut config.tls.ca,
            &mut config.tls.cert,
            &mut config.tls.key_file,
            &mut config.trust.keys_file,
            &mut config.cards.dir,
            &mut config.systems.dir,
            &mut config.credentials.file,
            &mut config.store.mark_file,
            &mut config.credentials.key_file,
        ] {
            *path = base.join(&*path);
        }
        config.halt.rebase(&base)?;
        let mut names = BTreeSet::new();
        if let Some(vault) = &mut config.vault {
            vault.check(&base)?;
        }
        for connection in &mut config.connection {
            connection.rebase(&base)?;
            if let Some(from) = &mut connection.credential {
                from.check(&base, &connection.name, config.vault.is_some())?;
            }
            if !names.insert(connection.name.clone()) {
                let detail = format!("connection `{}` is there twice", connection.name);
                return Err(ConfigError::invalid(detail));
            }
        }
        config.http()?;
        let grpc = config.server.grpc_addr;
        if config.server.http_addr == Some(grpc) && grpc.port() != 0 {
            let detail = "server.http_addr is also server.grpc_addr: two ports are needed";
            return Err(ConfigError::invalid(detail));
        }
        let file = config.store.url.strip_prefix("sqlite://");
        if file.map_or(!is_postgres(&config.store.url), |name| name.contains('?')) {
            let detail = "store.url is sqlite://FILE or postgres://HOST/DATABASE";
            return Err(ConfigError::invalid(detail));
        }
        if let Some(name) = file {
            config.store.url = format!("sqlite://{}", base.join(name).display());
        }
        Ok(config)
    }

    /// The HTTP port; none if there is none.
    ///
    /// # Errors
    /// When its values do not fit together.
    pub fn http(&self) -> Result<Option<page::HttpConfig>, ConfigError> {
        let server = &self.server;
        let Some(addr) = server.http_addr else {
            return Ok(None);
        };
        page::HttpConfig::new(addr, server.http_plaintext, server.http_hosts.clone()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_told_with_its_place_and_its_value() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/connectord.example.toml");
        for (set, told) in [
            ("server.http_hosts=[]", ""),
            (
                "halt.global_operators=[\"root\"]",
                "`root` is not TENANT/OPERATOR",
            ),
            (
                "halt.global_operators=[\"acme/\"]",
                "`acme/` is not TENANT/OPERATOR",
            ),
            ("server.http_addr=127.0.0.1:7360", "two ports are needed"),
            (
                "trust.max_ttl=1d",
                "trust.max_ttl is 1s to 300s; it is \"1d\"",
            ),
        ] {
            let layers = Layers::read(&file, core::iter::empty(), "", &[set.to_owned()]).unwrap();
            let read = Config::from_layers(&layers, &file);
            let said = read.map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(said.is_empty(), told.is_empty(), "{set}: {said}");
            assert!(said.contains(told), "{set}: {said}");
            assert!(
                told.is_empty() || said.starts_with("--set: "),
                "{set}: {said}"
            );
        }
    }
}
