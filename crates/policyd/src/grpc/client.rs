//! Channels to the daemons, with a client certificate. Used by the command line and by the watch
//! of connectord's halts.

use std::path::Path;
use std::time::Duration;

use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_types::StatusExt as _;
use writ_proto::{Reason, pb};
use x509_parser::pem::parse_x509_pem;

use crate::app::AppError;
use crate::domain::request::SELF_REPORT;
use crate::{clock, keys};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Certificate files of a client.
#[derive(Debug, Clone, Copy)]
pub struct ClientFiles<'a> {
    /// Certificate authority of the server, PEM.
    pub ca: &'a Path,
    /// Own certificate, PEM.
    pub cert: &'a Path,
    /// Own key, PEM.
    pub key: &'a Path,
}

fn unusable(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::TlsInvalid, format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<String, AppError> {
    std::fs::read_to_string(path).map_err(|error| unusable(path, error))
}

/// An agent's own word on which arguments it is not sure of, as evidence; empty without any.
#[must_use]
pub fn self_report(uncertain: &[String]) -> Vec<pb::Evidence> {
    if uncertain.is_empty() {
        return Vec::new();
    }
    vec![pb::Evidence {
        r#type: SELF_REPORT.to_owned(),
        uncertain_fields: uncertain.to_vec(),
        ..pb::Evidence::default()
    }]
}

/// An endpoint that shows a certificate. An expired one is named before any connection is made.
///
/// # Errors
/// When a file is unusable, the certificate has expired or the address is no URL.
pub fn endpoint(
    addr: &str,
    files: &ClientFiles<'_>,
    timeout: Duration,
) -> Result<Endpoint, AppError> {
    let (ca, cert) = (read(files.ca)?, read(files.cert)?);
    let key =
        keys::read_private(files.key).map_err(|error| AppError::new(error.reason, error.detail))?;
    let (_, pem) = parse_x509_pem(cert.as_bytes()).map_err(|error| unusable(files.cert, error))?;
    let parsed = pem
        .parse_x509()
        .map_err(|error| unusable(files.cert, error))?;
    let expiry = parsed.validity().not_after.timestamp();
    if expiry < clock::now().timestamp() {
        let when = chrono::DateTime::from_timestamp(expiry, 0)
            .unwrap_or_default()
            .to_rfc3339();
        let message = format!("{} expired at {when}", files.cert.display());
        return Err(AppError::new(Reason::ClientCertExpired, message));
    }
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(Identity::from_pem(&cert, key.as_str()))
        .domain_name("localhost");
    Endpoint::from_shared(addr.to_owned())
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map(|endpoint| endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(timeout))
        .map_err(|error| AppError::new(Reason::TlsInvalid, error.to_string()))
}

/// Connects an endpoint.
///
/// # Errors
/// `PEER_UNREACHABLE` with the cause.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, AppError> {
    endpoint.connect().await.map_err(|error| {
        let mut message = format!("cannot connect to {}: {error}", endpoint.uri());
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            message = format!("{message}: {inner}");
            source = inner.source();
        }
        AppError::new(Reason::PeerUnreachable, message)
    })
}

/// A failure as the daemon told it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(crate) fn failed(status: Status) -> AppError {
    let info = status.get_details_error_info();
    let reason = info.and_then(|info| Reason::from_code(&info.reason));
    let message = status.message();
    let reason = reason.unwrap_or(Reason::Unavailable);
    let public = message
        .strip_prefix(reason.code())
        .unwrap_or(message)
        .trim()
        .to_owned();
    AppError::new(reason, public)
}
