//! An HTTP/1.1 server with its limits, for pages that people and probes read and for the MCP bridge. `axum::serve` has no
//! header timeout and no limit of connections, so the connections are driven here.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Most open connections; one more is closed at once.
pub const CONNECTIONS_MAX: usize = 256;
/// Most open connections of one address, so that nobody alone can use up all.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 32;
/// Longest request line with all headers, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Longest wait for a TLS handshake, or for a request to have arrived up to its body.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a request, its body and its answer, of a page.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
const AGE: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What differs between servers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most open connections of one address.
    pub of_address: usize,
    /// Longest time for a request, its body and its answer.
    pub request: Duration,
    /// Longest time that a connection takes new requests. Who reads no answers keeps no place for longer than this and one
    /// request.
    pub age: Duration,
    /// How long the end of the server waits for requests under way.
    pub drain: Duration,
}

impl Limits {
    /// Of a server of pages.
    pub const PAGES: Self = Self {
        of_address: CONNECTIONS_PER_ADDRESS_MAX,
        request: REQUEST_TIMEOUT,
        age: AGE,
        drain: DRAIN,
    };
}

/// TLS without client certificates: phones have none.
///
/// # Errors
/// When the chain or the key cannot be used.
pub fn tls(chain: &Path, key_pem: &str) -> Result<Arc<rustls::ServerConfig>, String> {
    let wrong = |error: &dyn core::fmt::Display| format!("{}: {error}", chain.display());
    let certificates = CertificateDer::pem_file_iter(chain)
        .map_err(|error| wrong(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// One network of a caller: an address, or a /64 of IPv6, of which everybody has plenty.
#[must_use]
pub fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX))),
        addr => addr,
    }
}

/// How many connections each network has open.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// The slots of a connection, given back when it ends.
struct Slot {
    counts: Counts,
    network: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Counts {
    fn take(&self, all: &Arc<Semaphore>, addr: IpAddr, most: usize) -> Option<Slot> {
        let permit = Arc::clone(all).try_acquire_owned().ok()?;
        let network = network(addr);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count = count.saturating_add(1);
        drop(counts);
        Some(Slot {
            counts: self.clone(),
            network,
            _permit: permit,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// Serves until `stop` is done, and waits a moment for the requests in flight.
///
/// # Errors
/// Never at present; a listener that fails is asked again.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (ending, ends) = tokio::sync::watch::channel(false);
    let counts = Counts::default();
    let all = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let acceptor = tls.map(TlsAcceptor::from);
    let in_time = move |request: Request, next: Next| in_time(limits.request, request, next);
    let router = router.layer(from_fn(in_time));
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        if let Some(slot) = counts.take(&all, peer.ip(), limits.of_address) {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            let ends = ends.clone();
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => {
                        let handshake = timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await;
                        if let Ok(Ok(stream)) = handshake {
                            drive(stream, peer, router, (limits, ends)).await;
                        }
                    }
                    None => drive::<TcpStream>(stream, peer, router, (limits, ends)).await,
                }
                drop(slot);
            });
        }
    }
    drop(listener);
    ending.send_replace(true);
    let places = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    if timeout(limits.drain, all.acquire_many(places))
        .await
        .is_err()
    {
        tracing::warn!("connections were cut off at the end");
    }
    Ok(())
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    (limits, mut ends): (Limits, Receiver<bool>),
) {
    let router = router.layer(Extension(ConnectInfo(peer)));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = tokio::time::sleep(limits.age) => None,
        _ = ends.changed() => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            // What is asked by then is answered; what is not read by then is not waited for.
            connection.as_mut().graceful_shutdown();
            timeout(limits.request, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
        Err(_) => tracing::debug!("a connection that takes no answer is cut off"),
    }
}

/// No request takes for ever, whatever arrives how slowly.
async fn in_time(most: Duration, request: Request, next: Next) -> Response {
    timeout(most, next.run(request))
        .await
        .unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn start() -> SocketAddr {
        start_with(Limits::PAGES).await
    }

    async fn start_with(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", axum::routing::get(|| async { "here" }))
            .route(
                "/long",
                axum::routing::get(|| async { "x".repeat(1 << 20) }),
            );
        let stop = std::future::pending();
        tokio::spawn(serve(listener, None, router, limits, stop));
        addr
    }

    #[tokio::test]
    async fn who_reads_no_answer_keeps_no_place() {
        let addr = start_with(Limits {
            of_address: 1,
            age: Duration::from_millis(100),
            request: Duration::from_millis(100),
            ..Limits::PAGES
        })
        .await;
        let mut deaf = TcpStream::connect(addr).await.unwrap();
        let asked = "GET /long HTTP/1.1\r\nhost: a\r\n\r\n".repeat(50);
        deaf.write_all(asked.as_bytes()).await.unwrap();
        let fine = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let served = async {
            while !said(addr, fine).await.ends_with("here") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), served).await.unwrap();
        drop(deaf);
    }

    async fn said(addr: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A server that refuses may reset what it did not read.
        let _reset = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn heads_are_limited_in_bytes_and_number() {
        let addr = start().await;
        let close = "host: a\r\nconnection: close\r\n\r\n";
        let fine = said(addr, format!("GET / HTTP/1.1\r\n{close}").as_bytes()).await;
        assert!(fine.ends_with("here"), "{fine}");
        let long = format!("GET /{} HTTP/1.1\r\n{close}", "x".repeat(HEAD_BYTES_MAX));
        assert!(!said(addr, long.as_bytes()).await.contains("200 OK"));
        let many = "x: y\r\n".repeat(HEADERS_MAX);
        let many = said(addr, format!("GET / HTTP/1.1\r\n{many}{close}").as_bytes()).await;
        assert!(!many.contains("200 OK"), "{many}");
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_connection() {
        let addr = start().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
            held.push(stream);
        }
        let more = said(addr, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(more, "", "closed at once");
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let (counts, all) = (Counts::default(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        let most = CONNECTIONS_PER_ADDRESS_MAX;
        let mine: Vec<_> = (0..40)
            .filter_map(|_| counts.take(&all, addr.ip(), most))
            .collect();
        assert_eq!(mine.len(), CONNECTIONS_PER_ADDRESS_MAX);
        assert!(
            counts.take(&all, other, most).is_some(),
            "another one has room"
        );
        drop(mine);
        assert!(counts.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
