//! A gRPC server with its limits: what floods it is refused instead of buffered.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower_layer::{Identity, Stack};

use crate::host::serve::connections::{Door, HANDSHAKES_MAX};
use crate::host::serve::fronts;
use crate::host::serve::fronts::CONNECTIONS_MAX;
use crate::host::serve::paced::{Paced, Refusals};

const STREAMS_MAX: u32 = 256;
const CALLS_PER_CONNECTION_MAX: usize = 256;
const HEADER_BYTES_MAX: u32 = 16 * 1_024;
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);

/// A server whose callers have a rate.
pub type PacedServer = Server<Stack<Paced, Identity>>;

/// The same with its services.
pub type PacedRouter = Router<Stack<Paced, Identity>>;

/// A server behind a door. No call takes longer than `call_timeout`; `refusals` are what a call is
/// told that no service sees.
#[must_use]
pub fn server(call_timeout: Duration, refusals: Refusals) -> PacedServer {
    Server::builder()
        .layer(Paced(refusals))
        .timeout(call_timeout)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .load_shed(true)
        .max_concurrent_streams(STREAMS_MAX)
        .max_connection_age(CONNECTION_AGE)
        .max_connection_age_grace(call_timeout)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// Serves on one thread a core until `stop` is done, and waits for the calls in flight.
///
/// # Errors
/// When a thread cannot be started, or the server ends by itself.
pub async fn serve(
    router: PacedRouter,
    listener: TcpListener,
    door: Door,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let front = move |incoming, stop: fronts::Stop| {
        let served = door.admit(incoming);
        router
            .clone()
            .serve_with_incoming_shutdown(served, stop.requested())
    };
    // Those that shake hands take no place of those that are served.
    let most = CONNECTIONS_MAX.saturating_add(HANDSHAKES_MAX.saturating_mul(cores));
    fronts::serve(listener, (cores, most), stop, front).await
}

#[cfg(test)]
mod tests;
