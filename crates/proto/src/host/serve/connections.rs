//! Who comes in: the TLS handshake with a client certificate, and a share of the connections for each
//! caller. Raw sockets that never shake hands push out only each other; one caller takes no place that is
//! kept for others; and a connection ends when its certificate does.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future as _;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::host::serve::incoming::{Counted, Incoming};
use crate::host::serve::rate::{Pace, Quota, Rates};

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Most connections of one front that shake hands at once; one more ends the oldest.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// Connections that are ready and not served yet.
const READY_MAX: usize = 64;
/// Longest life of a certificate that is counted, so that no timer overflows.
const VALID_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// What is known of a caller by its certificate.
#[derive(Debug, Clone)]
pub struct Guest {
    /// What its connection counts as, and how many of each there may be.
    pub shares: Vec<(String, usize)>,
    /// How much it may ask for: its own quota first, then those that it shares.
    pub quotas: Vec<(String, Quota)>,
    /// How long its certificate is valid.
    pub valid: Duration,
}

/// What every call of a connection knows of it.
#[derive(Debug, Clone)]
pub struct Known {
    pub(crate) tls: TlsConnectInfo<TcpConnectInfo>,
    pub(crate) pace: Pace,
}

/// Reads a certificate (DER) that the CA has signed; none for one that names no caller.
pub type Reads = Arc<dyn Fn(&[u8]) -> Option<Guest> + Send + Sync>;

/// TLS with client certificates of one CA. PEM texts.
///
/// # Errors
/// Which of them cannot be used.
pub fn mutual_tls(chain: &Path, key: &str, ca: &Path) -> Result<Arc<rustls::ServerConfig>, String> {
    let read = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        let wrong = |error: &dyn core::fmt::Display| format!("{}: {error}", path.display());
        let all = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
        let all: Result<Vec<_>, _> = all.collect();
        let all = all.map_err(|error| wrong(&error))?;
        if all.is_empty() {
            return Err(wrong(&"it holds no certificate"));
        }
        Ok(all)
    };
    let text = |error: &dyn core::fmt::Display| error.to_string();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in read(ca)? {
        if !is_authority(&root) {
            return Err(format!(
                "{}: it is no certificate of an authority",
                ca.display()
            ));
        }
        roots.add(root).map_err(|error| text(&error))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.build().map_err(|error| text(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| text(&error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(read(chain)?, key)
        .map_err(|error| format!("the key does not belong to {}: {error}", chain.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether a certificate may sign others (RFC 5280, basic constraints).
pub(crate) fn is_authority(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let basic = certificate.basic_constraints().ok().flatten();
    basic.is_some_and(|basic| basic.value.ca)
}

/// The door of a server, shared by its fronts.
#[derive(Clone)]
pub struct Door {
    acceptor: TlsAcceptor,
    reads: Reads,
    shares: Shares,
    rates: Rates,
    /// Longest handshake.
    handshake: Duration,
}

impl core::fmt::Debug for Door {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// With a configuration that demands client certificates.
    #[must_use]
    pub fn new(tls: Arc<rustls::ServerConfig>, reads: Reads) -> Self {
        Self {
            acceptor: tls.into(),
            reads,
            shares: Shares::default(),
            rates: Rates::default(),
            handshake: HANDSHAKE,
        }
    }

    /// The connections of one front that came in.
    pub(crate) fn admit(&self, mut incoming: Incoming) -> ReceiverStream<io::Result<Served>> {
        let (ready, served) = mpsc::channel(READY_MAX);
        let door = self.clone();
        tokio::spawn(async move {
            let mut shaking: VecDeque<AbortHandle> = VecDeque::new();
            while let Some(accepted) = incoming.next().await {
                let Ok(stream) = accepted else { continue };
                shaking.retain(|task| !task.is_finished());
                if shaking.len() >= HANDSHAKES_MAX
                    && let Some(oldest) = shaking.pop_front()
                {
                    oldest.abort();
                }
                let (door, ready) = (door.clone(), ready.clone());
                let task = tokio::spawn(async move {
                    if let Some(served) = door.shake(stream).await {
                        // A front that ends serves nobody any more.
                        drop(ready.send(Ok(served)).await);
                    }
                });
                shaking.push_back(task.abort_handle());
            }
        });
        ReceiverStream::new(served)
    }

    async fn shake(&self, stream: Counted) -> Option<Served> {
        let shaken = tokio::time::timeout(self.handshake, self.acceptor.accept(stream)).await;
        let stream = shaken.ok()?.ok()?;
        let leaf = stream.get_ref().1.peer_certificates()?.first()?;
        let guest = (self.reads)(leaf.as_ref())?;
        let Some(share) = self.shares.take(&guest.shares) else {
            tracing::warn!(shares = ?guest.shares, "a caller has too many connections");
            return None;
        };
        Some(Served {
            stream,
            until: Box::pin(tokio::time::sleep(guest.valid.min(VALID_MAX))),
            pace: self.rates.pace(&guest.quotas),
            read: 0,
            pause: None,
            _share: share,
        })
    }
}

/// How many connections each share has.
#[derive(Debug, Clone, Default)]
struct Shares(Arc<Mutex<BTreeMap<String, usize>>>);

/// A place in some shares, until it is dropped.
#[derive(Debug)]
struct Share(Shares, Vec<String>);

impl Shares {
    fn take(&self, wanted: &[(String, usize)]) -> Option<Share> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full =
            |(name, most): &(String, usize)| counts.get(name).is_some_and(|count| *count >= *most);
        if wanted.iter().any(full) {
            return None;
        }
        for (name, _) in wanted {
            let count = counts.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
        }
        let names = wanted.iter().map(|(name, _)| name.clone()).collect();
        Some(Share(self.clone(), names))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.1 {
            let left = counts.get(name).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.remove(name);
            } else {
                counts.insert(name.clone(), left);
            }
        }
    }
}

/// A connection of a known caller.
#[derive(Debug)]
pub struct Served {
    stream: TlsStream<Counted>,
    until: Pin<Box<Sleep>>,
    pace: Pace,
    /// Bytes that were read and not counted yet.
    read: usize,
    /// While it is not read.
    pause: Option<Pin<Box<Sleep>>>,
    _share: Share,
}

impl Served {
    /// Whether its caller is over its rate, and so not read for a moment.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() {
            let until = self.pace.paused();
            self.pause = until.map(|until| Box::pin(tokio::time::sleep_until(until.into())));
        }
        match &mut self.pause {
            Some(pause) => pause.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Connected for Served {
    type ConnectInfo = Known;

    fn connect_info(&self) -> Self::ConnectInfo {
        Known {
            tls: self.stream.connect_info(),
            pace: self.pace.clone(),
        }
    }
}

impl AsyncRead for Served {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.until.as_mut().poll(cx).is_ready() {
            let why = "the client certificate has expired";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
        }
        std::task::ready!(self.poll_pause(cx));
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.pause = None;
        }
        let read = self
            .read
            .saturating_add(buf.filled().len().saturating_sub(before));
        self.read = self.pace.read(read);
        polled
    }
}

impl AsyncWrite for Served {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
