//! Flags of subcommands that call a daemon, and failures that come back from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use writ_proto::Reason;
use writ_proto::host::cli::client_files::{
    address_of, chosen, key_beside, named, path_or_nothing, word_of,
};
pub(crate) use writ_proto::host::cli::client_files::{beside_config, config, set_config};
use writ_proto::host::cli::parsed::Beside;

use crate::error::AppError;
use crate::grpc::client::{ClientFiles, FOREIGN, peer};
use crate::output::Output;

/// How a daemon is reached: no word that somebody writes alone is one of these.
const REACHES: [&str; 7] = [
    "addr", "cacert", "cert", "key", "store", "tenant", "timeout",
];

/// What a command line may be mistaken for.
pub(super) const BESIDE: Beside<'_> = Beside {
    reaches: &REACHES,
    other: (
        "policyd",
        &[
            "init",
            "dev",
            "check",
            "test",
            "seal",
            "fmt",
            "story",
            "use",
            "authorize",
            "decisions",
            "budget",
            "usage",
            "records",
            "incidents",
            "notices",
            "keys",
            "store",
            "token",
            "canonicalize",
            "mcp",
            "demo",
        ],
    ),
    meant: &[
        ("promote", "connectord actions promote ACTION"),
        ("demote", "connectord actions demote ACTION"),
        ("verify", "policyd records verify FILE"),
        ("export", "policyd records export --out FILE"),
    ],
};

const DEFAULT_ADDR: &str = "https://127.0.0.1:7360";

/// Where the daemon is and who we are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// `https://host:port` of connectord; that of connectord.toml beside you if absent, or else
    /// https://127.0.0.1:7360.
    #[arg(long, env = "CONNECTORD_ADDR")]
    pub(crate) addr: Option<String>,
    /// Certificate authority, PEM; certs/ca.pem beside the configuration if absent.
    #[arg(long)]
    pub(crate) cacert: Option<PathBuf>,
    /// Your certificate, PEM: it says who you are. The one chosen with `policyd use` if absent.
    #[arg(long, env = "WRIT_CERT", value_parser = path_or_nothing)]
    pub(crate) cert: Option<PathBuf>,
    /// Own key, PEM; `keys/NAME-tls.pem` beside `certs/NAME.pem` if absent, as `init` makes them.
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// Tenant; that of the certificate if absent.
    #[arg(long, env = "WRIT_TENANT")]
    pub(crate) tenant: Option<String>,
    /// Longest wait in seconds.
    #[arg(long, default_value_t = 30)]
    pub(crate) timeout: u64,
}

/// The address that is given, or that of the configuration.
pub(crate) fn address(given: Option<&String>) -> Result<String, AppError> {
    let name = "CONNECTORD_SERVER__GRPC_ADDR";
    address_of(
        given,
        (name, crate::config::variable(name)),
        (config(), DEFAULT_ADDR),
    )
    .map_err(|error| {
        AppError::from(error)
            .with_fix("mend what the message names, or give --addr https://HOST:PORT")
    })
}

impl Remote {
    pub(crate) async fn channel(&self) -> Result<Channel, AppError> {
        self.channel_to((&self.addr()?, "connectord")).await
    }

    /// A connection to either daemon, as the same caller.
    pub(crate) async fn channel_to(
        &self,
        (addr, service): (&str, &'static str),
    ) -> Result<Channel, AppError> {
        let cert = self.cert()?;
        self.is_of_own_tenant(&cert)?;
        let key = self.key.clone().unwrap_or_else(|| key_beside(&cert));
        let ca = beside_config(self.cacert.as_ref(), "certs/ca.pem");
        let files = ClientFiles {
            ca: &ca,
            cert: &cert,
            key: &key,
        };
        let timeout = Duration::from_secs(self.timeout.clamp(1, 600));
        let peer = peer((addr, service), &files, timeout)?;
        Ok(peer.connect().await?)
    }

    /// A tenant that is misspelt is no matter of policy.
    fn is_of_own_tenant(&self, cert: &Path) -> Result<(), AppError> {
        let (Some(given), Some(own)) = (self.given(), word_of(cert, "/tenant/")) else {
            return Ok(());
        };
        if given == own {
            return Ok(());
        }
        let message = format!(
            "--tenant {given}, but {} is of tenant {own}",
            cert.display()
        );
        Err(AppError::new(Reason::RequestMalformed, message)
            .with_fix("leave --tenant and WRIT_TENANT out, or give a certificate of that tenant"))
    }

    /// The certificate that is given, or the one that was chosen for this folder.
    pub(super) fn cert(&self) -> Result<PathBuf, AppError> {
        // A variable that is set to nothing says nothing.
        let given = self.cert.clone();
        let found = given
            .filter(|path| !path.as_os_str().is_empty())
            .map(named)
            .or_else(chosen);
        found.ok_or_else(|| {
            let message = "no certificate is given, so it is not known who you are";
            AppError::new(Reason::TlsInvalid, message).with_fix(
                "see the names with `policyd use`, then `policyd use NAME`; or give --cert, or set WRIT_CERT",
            )
        })
    }

    fn addr(&self) -> Result<String, AppError> {
        address(self.addr.as_ref())
    }

    fn given(&self) -> Option<&str> {
        self.tenant.as_deref().filter(|given| !given.is_empty())
    }

    /// The tenant that is meant. A certificate of a service has none of its own.
    pub(crate) fn tenant(&self) -> String {
        let own = || word_of(&self.cert().ok()?, "/tenant/");
        self.given()
            .map(str::to_owned)
            .or_else(own)
            .unwrap_or_default()
    }

    pub(crate) fn parent(&self) -> String {
        format!("tenants/{}", self.tenant())
    }
}

/// A failure as the daemon told it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(crate) fn failed(status: Status) -> AppError {
    let info = status.get_details_error_info();
    let reason = info
        .as_ref()
        .and_then(|info| Reason::from_code(&info.reason));
    let fix = info.and_then(|info| info.metadata.get("fix").cloned());
    let Some(reason) = reason else {
        // A certificate that is not taken ends the connection without a word.
        return match FOREIGN.get() {
            Some(why) => AppError::new(Reason::TlsInvalid, format!("{why} ({})", cause(&status)))
                .with_fix("give --cert and --cacert of the folder that the daemon was made in"),
            None => AppError::new(Reason::Unavailable, cause(&status)),
        };
    };
    let message = status.message();
    let public = message
        .strip_prefix(reason.code())
        .unwrap_or(message)
        .trim()
        .to_owned();
    let error = AppError::new(reason, public);
    match fix.filter(|fix| fix != reason.fix()) {
        Some(fix) => error.with_fix(fix),
        None => error,
    }
}

/// Why a call without an answer of the daemon failed: what lies at the bottom.
fn cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

/// Asks the health service.
pub(super) async fn health(remote: &Remote, output: &Output) -> Result<u8, AppError> {
    use tonic_health::pb::health_client::HealthClient;
    let mut client = HealthClient::new(remote.channel().await?);
    let service = "writ.v1.ConnectorService".to_owned();
    let request = tonic_health::pb::HealthCheckRequest { service };
    let answer = client.check(request).await.map_err(failed)?.into_inner();
    let serving = answer.status == 1;
    let text = if serving { "SERVING" } else { "NOT_SERVING" };
    output.line(text, &json!({"status": text}));
    if !serving {
        output.note(
            "what is wrong stands in its log, and `connectord doctor` on its machine says it",
        );
    }
    Ok(if serving { 0 } else { 5 })
}
