//! Vendors' systems in this process, one file each: versions, idempotency, errors, limits and lag as the vendor
//! documents them. What was asked and answered is kept, so that a test can hold it against the published
//! description, and what a vendor holds is looked at directly.

pub mod hubspot;
pub mod salesforce;
pub mod shopify;
pub mod slack;
pub mod stripe;
pub mod zendesk;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value as Json;

/// Longest body of a request or an answer.
const BODY_BYTES_MAX: usize = 1_024 * 1_024;

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Heard {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
    pub status: u16,
    /// Null where it was no JSON.
    pub answer: Json,
}

type Log = Arc<Mutex<Vec<Heard>>>;

/// A vendor that listens on loopback until the test ends.
#[derive(Debug, Clone)]
pub struct Served {
    pub port: u16,
    log: Log,
}

impl Served {
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.log.lock().unwrap().clone()
    }

    /// Serves it.
    pub async fn start(app: Router) -> Self {
        let log = Log::default();
        let app = app.layer(from_fn_with_state(Arc::clone(&log), kept));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, log }
    }
}

async fn kept(State(log): State<Log>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut heard = Heard {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
        status: 0,
        answer: Json::Null,
    };
    let request = Request::from_parts(head, Body::from(body));
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    heard.status = head.status.as_u16();
    heard.answer = serde_json::from_slice(&body).unwrap_or_default();
    log.lock().unwrap().push(heard);
    Response::from_parts(head, Body::from(body))
}

/// The pairs of a form, or of a query.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let uri: Uri = format!("/?{text}").parse().unwrap_or_default();
    Query::try_from_uri(&uri).map_or_else(|_| Vec::new(), |Query(pairs)| pairs)
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
}
