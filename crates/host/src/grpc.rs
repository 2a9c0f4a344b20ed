//! A gRPC server with its limits: what floods it is refused instead of buffered.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::server::Router;
use tonic::transport::{Error, Server, ServerTlsConfig};

use crate::fronts::{self, CONNECTIONS_MAX};

const STREAMS_MAX: u32 = 256;
const CALLS_PER_CONNECTION_MAX: usize = 256;
const HEADER_BYTES_MAX: u32 = 16 * 1_024;
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);

/// A server over mTLS. No call takes longer than `call_timeout`.
///
/// # Errors
/// When the certificates are unusable.
pub fn server(tls: ServerTlsConfig, call_timeout: Duration) -> Result<Server, Error> {
    Ok(Server::builder()
        .tls_config(tls)?
        .timeout(call_timeout)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .load_shed(true)
        .max_concurrent_streams(STREAMS_MAX)
        .max_connection_age(CONNECTION_AGE)
        .max_connection_age_grace(call_timeout)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT)))
}

/// Serves on one thread a core until `stop` is done, and waits for the calls in flight.
///
/// # Errors
/// When a thread cannot be started, or the server ends by itself.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let front = move |incoming, stop: fronts::Stop| {
        router
            .clone()
            .serve_with_incoming_shutdown(incoming, stop.requested())
    };
    fronts::serve(listener, (cores, CONNECTIONS_MAX), stop, front).await
}
