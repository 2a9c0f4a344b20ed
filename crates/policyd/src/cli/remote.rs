//! Flags of subcommands that call a daemon, and failures that come back from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::transport::Channel;
use writ_proto::Reason;
use writ_proto::host::cli::client_files::{
    address_of, chosen, key_beside, named, path_or_nothing, word_of,
};
pub(crate) use writ_proto::host::cli::client_files::{beside_config, config, set_config};
use writ_proto::host::cli::parsed::Beside;

use crate::error::AppError;
pub(crate) use crate::grpc::client::failed;
use crate::grpc::client::{ClientFiles, peer};
use crate::output::Output;

/// How a daemon is reached: no word that somebody writes alone is one of these.
const REACHES: [&str; 7] = [
    "addr", "cacert", "cert", "key", "store", "tenant", "timeout",
];

/// What a command line may be mistaken for.
pub(super) const BESIDE: Beside<'_> = Beside {
    reaches: &REACHES,
    other: (
        "connectord",
        &[
            "preview",
            "read",
            "execute",
            "undo",
            "executions",
            "wouldhave",
            "creds",
            "halt",
            "halt-server",
            "sandbox",
            "journal",
            "vectors",
            "conform",
        ],
    ),
    meant: &[
        ("promote", "connectord actions promote ACTION"),
        ("demote", "connectord actions demote ACTION"),
        ("verify", "policyd records verify FILE"),
        ("export", "policyd records export --out FILE"),
    ],
};

const DEFAULT_ADDR: &str = "https://127.0.0.1:7350";

/// Where the daemon is and who we are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// `https://host:port` of policyd; that of policyd.toml beside you if absent, or else
    /// https://127.0.0.1:7350.
    #[arg(long, env = "POLICYD_ADDR")]
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
    let name = "POLICYD_SERVER__GRPC_ADDR";
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
        let peer = peer((&self.addr()?, "policyd"), &files, timeout)?;
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
    fn cert(&self) -> Result<PathBuf, AppError> {
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

/// What is not there, named, with where to look for it.
pub(crate) fn nothing(error: AppError, (what, id): (&str, &str), list: &str) -> AppError {
    if error.reason != Reason::NotFound {
        return error;
    }
    let message = format!("there is no {what} `{id}` in this tenant");
    AppError::new(Reason::NotFound, message).with_fix(format!("see which there are: {list}"))
}

/// Asks the health service.
pub(super) async fn health(remote: &Remote, output: &Output) -> Result<u8, AppError> {
    use tonic_health::pb::health_client::HealthClient;
    let mut client = HealthClient::new(remote.channel().await?);
    let service = "writ.v1.AuthorizationService".to_owned();
    let request = tonic_health::pb::HealthCheckRequest { service };
    let answer = client.check(request).await.map_err(failed)?.into_inner();
    let serving = answer.status == 1;
    let text = if serving { "SERVING" } else { "NOT_SERVING" };
    output.line(text, &json!({"status": text}));
    if !serving {
        output.note("what is wrong stands in its log, and `policyd doctor` on its machine says it");
    }
    Ok(if serving { 0 } else { 5 })
}
