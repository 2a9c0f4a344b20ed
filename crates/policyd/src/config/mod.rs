//! The configuration of policyd, and the only reader of the environment. Every path is relative
//! to the folder of the file.

mod notify;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use writ_proto::caller::CallRates;
use writ_proto::digest::sha256;
use writ_proto::duration::seconds;
use writ_proto::host::store::postgres::is_postgres;
use writ_proto::limits::{TOKEN_TTL_SECONDS_DEFAULT, TOKEN_TTL_SECONDS_MAX};

pub use notify::{NotifyConfig, SlackConfig, WebhookConfig};
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
    /// Where records are kept.
    pub store: StoreConfig,
    /// Where policies are read.
    pub policy: PolicyConfig,
    /// What tokens say.
    pub token: TokenConfig,
    /// The log of records.
    pub records: RecordsConfig,
    /// The trust document.
    pub trust: TrustConfig,
    /// connectord, for its halts; absent means policyd does not follow them.
    #[serde(default)]
    pub connectord: Option<PeerConfig>,
    /// Who reports what language models use.
    #[serde(default)]
    pub usage: UsageConfig,
    /// Who is told; nobody by default.
    #[serde(default)]
    pub notify: NotifyConfig,
}

/// `[server]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of gRPC; port 0 takes a free one.
    pub grpc_addr: SocketAddr,
    /// Offer gRPC reflection; off by default.
    #[serde(default)]
    pub reflection: bool,
    /// Longest time for one answer, 1s to 60s; default 5s.
    #[serde(rename = "timeout", default = "five", deserialize_with = "seconds")]
    pub timeout_seconds: u32,
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
    /// Remembers how far the logs have come, so that a database that was put back is noticed; best on
    /// another disk.
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

fn mark_file() -> PathBuf {
    PathBuf::from("state/policyd-marks.json")
}

/// `[policy]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// One folder a tenant.
    pub dir: PathBuf,
    /// Reload when files change; on by default.
    #[serde(default = "yes")]
    pub watch: bool,
}

/// `[token]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Life of a token, 1s to 5m; default 60s.
    #[serde(rename = "ttl", default = "token_ttl", deserialize_with = "seconds")]
    pub ttl_seconds: u32,
    /// The one connectord, or pool, that may take the tokens.
    pub audience: String,
    /// Issuer URI.
    pub issuer: String,
    /// Ed25519 key, PKCS#8 PEM, mode 0600.
    pub key_file: PathBuf,
}

/// `[records]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsConfig {
    /// Prefix of log origins: `<log>/log/<tenant>`.
    pub log: String,
    /// Ed25519 key of checkpoints, PKCS#8 PEM, mode 0600.
    pub checkpoint_key_file: PathBuf,
}

/// `[trust]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustConfig {
    /// The signed trust document, written by `keys rotate`.
    pub keys_file: PathBuf,
    /// Ed25519 key that signs it, PKCS#8 PEM, mode 0600.
    pub key_file: PathBuf,
}

/// `[connectord]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// `https://host:port` of its gRPC.
    pub addr: String,
}

/// `[usage]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageConfig {
    /// Services that report usage of any agent, by the name in their certificate after `service/`,
    /// such as `gateway/eu-1`. With none, an agent's own report counts as complete.
    #[serde(default)]
    pub reporters: Vec<String>,
}

/// Most reporters.
const REPORTERS_MAX: usize = 64;

const fn five() -> u32 {
    5
}

const fn yes() -> bool {
    true
}

const fn token_ttl() -> u32 {
    TOKEN_TTL_SECONDS_DEFAULT
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
    /// What is decided and signed by, each value with its digest: who callers are, whether halts are followed,
    /// what a writ says, how long it lives, who reports and how often agents may call. Places are no part of it.
    #[must_use]
    pub fn deciding(&self) -> BTreeMap<String, String> {
        let ca = std::fs::read(&self.tls.ca).unwrap_or_default();
        let values = [
            (
                "connectord",
                self.connectord.is_some().to_string().into_bytes(),
            ),
            ("limits", format!("{:?}", self.limits).into_bytes()),
            ("policy.watch", self.policy.watch.to_string().into_bytes()),
            ("tls.ca", ca),
            (
                "tls.trust_domain",
                self.tls.trust_domain.clone().into_bytes(),
            ),
            ("token.audience", self.token.audience.clone().into_bytes()),
            ("token.issuer", self.token.issuer.clone().into_bytes()),
            ("token.ttl", self.token.ttl_seconds.to_string().into_bytes()),
            (
                "usage.reporters",
                self.usage.reporters.join("\n").into_bytes(),
            ),
        ];
        let digest =
            |(path, value): (&str, Vec<u8>)| (path.to_owned(), hex::encode(sha256(&value)));
        values.into_iter().map(digest).collect()
    }

    /// Checks the layers and makes paths absolute to the folder of the file.
    ///
    /// # Errors
    /// When a key is unknown or a value is out of range.
    pub fn from_layers(layers: &Layers, file: &Path) -> Result<Self, ConfigError> {
        // The two lie side by side.
        if layers.has("credentials") && !layers.has("token") {
            let name = file.display();
            let why = format!("{name} is a configuration of connectord; this is policyd");
            return Err(ConfigError::invalid(why));
        }
        Self::checked(layers, file).map_err(|error| layers.located(error))
    }

    fn checked(layers: &Layers, file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = layers.shape()?;
        config.limits.check().map_err(ConfigError::invalid)?;
        if config.token.ttl_seconds == 0 || config.token.ttl_seconds > TOKEN_TTL_SECONDS_MAX {
            let detail = format!("token.ttl is 1s to {TOKEN_TTL_SECONDS_MAX}s");
            return Err(ConfigError::invalid(detail));
        }
        if !(1..=60).contains(&config.server.timeout_seconds) {
            return Err(ConfigError::invalid("server.timeout is 1s to 60s"));
        }
        if config.usage.reporters.len() > REPORTERS_MAX {
            let detail = format!("usage.reporters: at most {REPORTERS_MAX}");
            return Err(ConfigError::invalid(detail));
        }
        let base = file.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        for path in [
            &mut config.tls.ca,
            &mut config.tls.cert,
            &mut config.tls.key_file,
            &mut config.policy.dir,
            &mut config.token.key_file,
            &mut config.records.checkpoint_key_file,
            &mut config.trust.keys_file,
            &mut config.trust.key_file,
        ] {
            *path = base.join(&*path);
        }
        config.notify.check(&base)?;
        let file = config.store.url.strip_prefix("sqlite://");
        if file.map_or(!is_postgres(&config.store.url), |name| name.contains('?')) {
            let detail = "store.url is sqlite://FILE or postgres://HOST/DATABASE";
            return Err(ConfigError::invalid(detail));
        }
        if let Some(name) = file {
            config.store.url = format!("sqlite://{}", base.join(name).display());
        }
        config.store.mark_file = base.join(&config.store.mark_file);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_refused() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/policyd.example.toml"
        );
        let file = Path::new(file);
        let read = |set: &str| {
            let set = [set.to_owned()];
            let layers = Layers::read(file, std::iter::empty(), "POLICYD_", &set).unwrap();
            Config::from_layers(&layers, file).is_ok()
        };
        assert!(read("token.ttl=5m"));
        let many: Vec<_> = (0..65)
            .map(|index| format!("\"gateway/{index}\""))
            .collect();
        let many = format!("usage.reporters=[{}]", many.join(","));
        for set in [
            "token.ttl=0s",
            "token.ttl=6m",
            "server.timeout=0s",
            "server.timeout=61s",
            "store.url=sqlite://policyd.db?mode=ro",
            "store.url=mysql://x",
            "notify.tries=0",
            "notify.tries=21",
            "notify.slack.channel=#alerts",
            &many,
        ] {
            assert!(!read(set), "{set}");
        }
    }
}
