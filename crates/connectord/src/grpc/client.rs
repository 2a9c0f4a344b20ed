//! Channels to the daemons, with a client certificate. Used by the command line and by the
//! outbox.

use std::path::Path;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use writ_proto::Reason;
use x509_parser::pem::parse_x509_pem;

use crate::app::AppError;
use crate::clock;
use crate::private_file::read_private;

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
    let key = read_private(files.key)?;
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
