//! Streamable HTTP on loopback, for clients that start no process. Every user of a machine reaches
//! its loopback, and a web page may try to: so each request shows the secret of this bridge, and
//! Host and Origin must be ours. There are no sessions: each request stands for itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::time::timeout;
use writ_proto::Reason;
use writ_proto::host::serve::http::{self, Limits};
use zeroize::Zeroizing;

use crate::error::AppError;
use crate::mcp::Bridge;
use crate::mcp::wire::guard::Door;
pub use crate::mcp::wire::guard::secret;
use crate::mcp::wire::{MESSAGE_BYTES_MAX, Received, read};

/// Where messages are posted.
pub const PATH: &str = "/mcp";
/// Longest time in which a message must have come.
const BODY_MAX: Duration = Duration::from_secs(5);
/// Every client is on this machine. A call has its own limit, which is told to the client, before this one.
const LIMITS: Limits = Limits {
    of_address: 64,
    request: Duration::from_secs(30),
    age: Duration::from_secs(600),
    drain: Duration::from_secs(25),
};

async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if let Some((status, why)) = door.refuses(request.headers()) {
        let mut response = (status, why).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Bearer realm=\"writ\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        return response;
    }
    let Ok(_place) = door.places.try_acquire() else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many requests at once").into_response();
    };
    let (parts, body) = request.into_parts();
    let bytes = match timeout(BODY_MAX, to_bytes(body, MESSAGE_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            return (StatusCode::PAYLOAD_TOO_LARGE, "the message is too long").into_response();
        }
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the message is too slow").into_response(),
    };
    if parts.method == axum::http::Method::POST
        && let Received::Refused(answer) = read(&bytes)
    {
        let text = serde_json::to_string(&answer).unwrap_or_default();
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (StatusCode::BAD_REQUEST, json, text).into_response();
    }
    next.run(Request::from_parts(parts, Body::from(bytes)))
        .await
}

/// Serves until told to stop. `told` hears the address.
///
/// # Errors
/// For an address beyond loopback, or one that is taken.
pub async fn serve(
    bridge: Bridge,
    addr: SocketAddr,
    secret: Zeroizing<String>,
    stop: impl Future<Output = ()> + Send + 'static,
    told: impl FnOnce(SocketAddr),
) -> Result<(), AppError> {
    if !addr.ip().is_loopback() {
        let message = format!("{addr} is not on loopback; the bridge serves no network");
        return Err(AppError::new(Reason::ConfigInvalid, message));
    }
    let taken =
        |error: std::io::Error| AppError::new(Reason::PortInUse, format!("{addr}: {error}"));
    let listener = tokio::net::TcpListener::bind(addr).await.map_err(taken)?;
    let addr = listener.local_addr().map_err(taken)?;
    let door = Arc::new(Door::of(addr, secret));
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts(door.hosts.clone())
        .with_allowed_origins(door.hosts.iter().map(|host| format!("http://{host}")))
        .with_max_request_body_bytes(MESSAGE_BYTES_MAX);
    let manager = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(bridge.clone()), manager, config);
    let router = Router::new()
        .route_service(PATH, service)
        .layer(from_fn_with_state(door, guard));
    told(addr);
    http::serve(listener, None, router, LIMITS, stop)
        .await
        .map_err(|error| AppError::new(Reason::Internal, error.to_string()))
}

#[cfg(test)]
mod tests;
