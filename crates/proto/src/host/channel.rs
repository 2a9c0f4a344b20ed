//! Channels to a daemon over mutual TLS. The server is known by the one URI in its certificate
//! (SPIFFE), not by a name of DNS: no other daemon or machine of the same authority can pose as it.

pub mod signed;
pub mod socket;
mod verify;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use verify::Expected;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// A file or an address is of no use; which, and why.
    #[error("{0}")]
    Unusable(String),
    /// The own certificate has expired; which, and when.
    #[error("{0}")]
    Expired(String),
    /// Nobody answers there, or somebody else; where, and why.
    #[error("{0}")]
    Unreachable(String),
}

/// What a file is that is named as a key and is a certificate. Whoever is told to make it private is misled.
#[must_use]
pub fn no_key(name: &str, bytes: &[u8]) -> Option<String> {
    let has = |word: &str| {
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    let certificate = has("BEGIN CERTIFICATE") && !has("PRIVATE KEY");
    certificate.then(|| format!("{name} is a certificate, and --key names the private key of it"))
}

/// What a client has, as PEM texts, each with the name of its file.
#[derive(Debug)]
pub struct Pems<'a> {
    /// Certificate authority of the server.
    pub ca: (&'a str, &'a [u8]),
    /// Own certificate, and what it is signed by.
    pub cert: (&'a str, &'a [u8]),
    /// Own key.
    pub key: (&'a str, &'a [u8]),
    /// Now, Unix seconds.
    pub now: i64,
}

/// A server that can be connected to.
#[derive(Debug, Clone)]
pub struct Peer {
    addr: String,
    service: &'static str,
    foreign: Option<String>,
    endpoint: Endpoint,
    connector: Connector,
}

fn unusable(file: &str, why: impl core::fmt::Display) -> ChannelError {
    ChannelError::Unusable(format!("{file}: {why}"))
}

/// The one URI of a certificate (DER).
fn uri(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = (names.value.general_names.iter()).filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    uris.next().filter(|_| uris.next().is_none())
}

fn chain((file, pem): (&str, &[u8])) -> Result<Vec<CertificateDer<'static>>, ChannelError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| unusable(file, error))?;
    if all.is_empty() {
        return Err(unusable(file, "it holds no certificate"));
    }
    Ok(all)
}

/// The trust domain of the own certificate.
fn trust_domain(pems: &Pems<'_>, own: &[CertificateDer<'_>]) -> Result<String, ChannelError> {
    let leaf = own.first().map(AsRef::as_ref).unwrap_or_default();
    let named = uri(leaf).ok_or_else(|| unusable(pems.cert.0, "it names no caller"))?;
    let domain = named
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split('/').next());
    let domain = domain.ok_or_else(|| unusable(pems.cert.0, "it names no SPIFFE id"))?;
    Ok(domain.to_owned())
}

/// When the own certificate ends, where that is before `now`, both Unix seconds.
fn expired(der: &[u8], now: i64) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let ends = certificate.validity().not_after.timestamp();
    (ends < now).then_some(ends)
}

impl Peer {
    /// A server at `https://host:port` whose certificate names `service/NAME` or `service/NAME/...` in
    /// the trust domain of the own certificate.
    ///
    /// # Errors
    /// When a file is unusable, the certificate has expired or the address is no URL.
    pub fn new(
        addr: &str,
        service: &'static str,
        pems: &Pems<'_>,
        timeout: Duration,
    ) -> Result<Self, ChannelError> {
        let own = chain(pems.cert)?;
        let leaf = own.first().map(AsRef::as_ref).unwrap_or_default();
        if let Some(ended) = expired(leaf, pems.now) {
            let when = chrono::DateTime::from_timestamp(ended, 0).unwrap_or_default();
            let message = format!("{} expired at {}", pems.cert.0, when.to_rfc3339());
            return Err(ChannelError::Expired(message));
        }
        let domain = trust_domain(pems, &own)?;
        let foreign = foreign(pems, &own);
        let expected = Expected::new(pems.ca, format!("spiffe://{domain}/service/{service}"))?;
        let key = PrivateKeyDer::from_pem_slice(pems.key.1);
        let key = key.map_err(|error| unusable(pems.key.0, error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ChannelError::Unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(expected))
            .with_client_auth_cert(own, key);
        let mut config = config.map_err(|error| {
            let (key, cert) = (pems.key.0, pems.cert.0);
            ChannelError::Unusable(match error {
                rustls::Error::InconsistentKeys(_) => format!("{key} is not the key of {cert}"),
                other => format!("{key} and {cert}: {other}"),
            })
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let no_url =
            || ChannelError::Unusable(format!("the address `{addr}` is not https://HOST:PORT"));
        let rest = addr.strip_prefix("https://").ok_or_else(no_url)?;
        let origin: Uri = addr.parse().map_err(|_| no_url())?;
        origin.host().ok_or_else(no_url)?;
        // TLS is ours: to tonic it is a plain connection, and the origin says what it really is.
        let endpoint = Endpoint::from_shared(format!("http://{rest}")).map_err(|_| no_url())?;
        Ok(Self {
            addr: addr.to_owned(),
            service,
            foreign,
            endpoint: (endpoint.origin(origin))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(timeout),
            connector: Connector(TlsConnector::from(Arc::new(config))),
        })
    }

    /// Why the server will most likely not take the own certificate: where both read the same authority, and only there.
    #[must_use]
    pub fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    /// Connects now.
    ///
    /// # Errors
    /// `Unreachable` with the cause.
    pub async fn connect(&self) -> Result<Channel, ChannelError> {
        let connected = self.endpoint.connect_with_connector(self.connector.clone());
        connected.await.map_err(|error| {
            let (service, addr, why) = (self.service, &self.addr, cause_of(&error));
            ChannelError::Unreachable(format!("cannot connect to {service} at {addr}: {why}"))
        })
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Connects when something is first asked, and again whenever a connection is lost.
    #[must_use]
    pub fn connect_lazy(&self) -> Channel {
        self.endpoint
            .connect_with_connector_lazy(self.connector.clone())
    }
}

/// Why a server cannot be reached: what wraps a cause says no more than the cause.
#[must_use]
pub fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let (mut why, mut source) = (String::new(), error.source());
    while let Some(inner) = source {
        why = told(inner, "the server's certificate");
        source = inner.source();
    }
    why
}

/// What keeps two ends of TLS apart, in words; whatever else it is says so itself.
fn told(error: &(dyn std::error::Error + 'static), whose: &str) -> String {
    use rustls::{CertificateError as Cert, Error, InvalidMessage};
    // An error of I/O holds that of TLS, and does not name it as its source.
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let tls = match inner {
        Some(inner) => inner.downcast_ref::<Error>(),
        None => error.downcast_ref::<Error>(),
    };
    match tls {
        Some(Error::InvalidCertificate(Cert::UnknownIssuer | Cert::BadSignature)) => {
            format!("{whose} is not signed by the authority given for it")
        }
        Some(Error::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. })) => {
            format!("{whose} has expired")
        }
        Some(Error::InvalidCertificate(Cert::Other(why))) => format!("{whose} {}", why.0),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "what listens there speaks no TLS".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why a daemon that knows callers by the same authority would not let us in.
fn foreign(pems: &Pems<'_>, own: &[CertificateDer<'_>]) -> Option<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in chain(pems.ca).ok()? {
        roots.add(root).ok()?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let (leaf, others) = own.split_first()?;
    let now = u64::try_from(pems.now).ok()?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let refused = verifier.build().ok()?.verify_client_cert(leaf, others, now);
    let (own, ca) = (pems.cert.0, pems.ca.0);
    refused.err().map(|error| match error {
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        ) => format!(
            "{own} is not signed by an authority in {ca}: a daemon that knows callers by it does not let it in"
        ),
        other => {
            let why = told(&other, "it");
            format!("a daemon that knows callers by {ca} does not let {own} in: {why}")
        }
    })
}

/// Makes a TLS connection for tonic.
#[derive(Clone)]
struct Connector(TlsConnector);

impl core::fmt::Debug for Connector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_names_two_names_nobody() {
        let named = |uris: &[&str]| {
            let mut params = rcgen::CertificateParams::default();
            let name = |uri: &&str| rcgen::SanType::URI((*uri).try_into().unwrap());
            params.subject_alt_names = uris.iter().map(name).collect();
            let key = rcgen::KeyPair::generate().unwrap();
            uri(params.self_signed(&key).unwrap().der())
        };
        let (ours, other) = (
            "spiffe://writ.test/service/policyd",
            "spiffe://writ.test/service/connectord",
        );
        assert_eq!(named(&[ours]).as_deref(), Some(ours));
        assert_eq!(named(&[ours, other]), None);
        assert_eq!(named(&[]), None);
    }
}
