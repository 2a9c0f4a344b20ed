//! Streamable HTTP on loopback, for clients that start no process. Every user of a machine reaches
//! its loopback, and a web page may try to: so each request shows the secret of this bridge, and
//! Host and Origin must be ours. There are no sessions: each request stands for itself.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use subtle::ConstantTimeEq as _;
use writ_proto::Reason;
use zeroize::Zeroizing;

use super::Bridge;
use super::wire::{MESSAGE_BYTES_MAX, Received, read};
use crate::app::AppError;
use crate::{ids, keys};

/// Where messages are posted.
pub const PATH: &str = "/mcp";
/// Most requests at once; what comes beyond is refused.
const REQUESTS_MAX: usize = 64;

/// Whom a request may name and what it must show.
#[derive(Debug)]
struct Door {
    hosts: [String; 3],
    secret: Zeroizing<String>,
    places: tokio::sync::Semaphore,
}

fn unusable(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::KeyInvalid, format!("{}: {why}", path.display()))
}

/// The secret in a file of mode 0600, made if there is none.
///
/// # Errors
/// When the file cannot be made or read, others can read it, or it holds something else.
pub fn secret(path: &Path) -> Result<Zeroizing<String>, AppError> {
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let random = ids::salt().ok_or_else(|| AppError::of(Reason::Internal))?;
            let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random));
            std::io::Write::write_all(&mut file, text.as_bytes())
                .map_err(|error| unusable(path, error))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(path, error)),
    }
    let text =
        keys::read_private(path).map_err(|error| AppError::new(error.reason, error.detail))?;
    let text = Zeroizing::new(text.trim().to_owned());
    match URL_SAFE_NO_PAD.decode(text.as_bytes()) {
        Ok(bytes) if bytes.len() == 32 => Ok(text),
        _ => Err(unusable(path, "it does not hold the secret of a bridge")),
    }
}

impl Door {
    fn of(addr: SocketAddr, secret: Zeroizing<String>) -> Self {
        let port = addr.port();
        Self {
            hosts: [
                format!("localhost:{port}"),
                format!("127.0.0.1:{port}"),
                format!("[::1]:{port}"),
            ],
            secret,
            places: tokio::sync::Semaphore::new(REQUESTS_MAX),
        }
    }

    /// Why a request stays outside, or nothing.
    fn refuses(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let one = |name| {
            let mut all = headers.get_all(name).iter();
            let first = all.next();
            (
                first.and_then(|value| value.to_str().ok()),
                all.next().is_some(),
            )
        };
        let is_ours = |host: &str| self.hosts.iter().any(|own| own == host);
        match one(header::HOST) {
            (Some(host), false) if is_ours(host) => {}
            _ => return Some((StatusCode::FORBIDDEN, "this Host is not served here")),
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = one(header::ORIGIN);
            let host = origin.0.and_then(|origin| origin.strip_prefix("http://"));
            if origin.1 || !host.is_some_and(is_ours) {
                return Some((StatusCode::FORBIDDEN, "this Origin is not served here"));
            }
        }
        let shown = match one(header::AUTHORIZATION) {
            (Some(text), false) => text.strip_prefix("Bearer ").unwrap_or_default(),
            _ => "",
        };
        if bool::from(shown.as_bytes().ct_eq(self.secret.as_bytes())) {
            None
        } else {
            Some((StatusCode::UNAUTHORIZED, "show the secret of this bridge"))
        }
    }
}

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
    let Ok(bytes) = to_bytes(body, MESSAGE_BYTES_MAX).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the message is too long").into_response();
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
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
        .map_err(|error| AppError::new(Reason::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> Option<u16> {
        let addr = "127.0.0.1:7370".parse().unwrap();
        let door = Door::of(addr, Zeroizing::new("the-secret".to_owned()));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: header::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        door.refuses(&headers).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn host_origin_and_secret_must_all_be_ours() {
        let (host, key) = (
            ("host", "127.0.0.1:7370"),
            ("authorization", "Bearer the-secret"),
        );
        assert_eq!(refused(&[host, key]), None);
        assert_eq!(
            refused(&[host, key, ("origin", "http://localhost:7370")]),
            None
        );
        for other in [
            "evil.example:7370",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:7370.evil.example",
            "",
        ] {
            assert_eq!(refused(&[("host", other), key]), Some(403), "{other}");
        }
        assert_eq!(refused(&[key]), Some(403), "no Host");
        assert_eq!(refused(&[host, ("host", "evil.example"), key]), Some(403));
        for origin in [
            "null",
            "https://127.0.0.1:7370",
            "http://evil.example",
            "http://127.0.0.1:7371",
        ] {
            assert_eq!(
                refused(&[host, key, ("origin", origin)]),
                Some(403),
                "{origin}"
            );
        }
        for wrong in [
            "Bearer other",
            "bearer the-secret",
            "the-secret",
            "Bearer the-secret2",
            "Bearer ",
        ] {
            assert_eq!(
                refused(&[host, ("authorization", wrong)]),
                Some(401),
                "{wrong}"
            );
        }
        assert_eq!(refused(&[host, key, key]), Some(401), "two of them");
        assert_eq!(refused(&[host]), Some(401));
    }

    #[test]
    fn the_secret_is_made_once_and_must_be_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = secret(&path).unwrap();
        assert_eq!(*first, *secret(&path).unwrap());
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, open).unwrap();
        assert_eq!(secret(&path).unwrap_err().reason, Reason::KeyFileMode);
        let path = folder.path().join("other");
        std::fs::write(&path, "password").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(secret(&path).unwrap_err().reason, Reason::KeyInvalid);
    }
}
