//! The sandbox CRM: a small CRM over HTTP in a process of its own, to rehearse and to test with.
//!
//! It has versions (ETag), a history, idempotency keys, faults to switch on, and a table of
//! effects that nothing can change: tests count what really happened there, not in our own books.

pub(crate) mod copy;
pub(crate) mod export;
mod faults;
mod page;
pub(crate) mod scrub;
mod seed;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use serde_json::{Value as Json, json};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;

pub use faults::Fault;
use faults::Faults;
pub(crate) use store::KINDS;
pub use store::{Store, Stored};

const BODY_BYTES_MAX: usize = 64 * 1_024;

/// A running sandbox.
#[derive(Debug)]
struct Sandbox {
    store: Store,
    secret: String,
    faults: Faults,
}

type Shared = Arc<Sandbox>;

/// Serves on a listener until told to stop.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    secret: String,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let sandbox = Arc::new(Sandbox {
        store,
        secret,
        faults: Faults::default(),
    });
    let app = Router::new()
        .route("/", get(show))
        .route("/_sandbox/effects", get(effects))
        .route("/_sandbox/faults", post(set_fault))
        .route("/{kind}", get(list).post(create))
        .route("/{kind}/{id}", get(read).patch(change))
        .with_state(sandbox);
    // Head and body of an answer leave in two packets: the second must not wait for a late ACK.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays with Nagle's algorithm");
        }
    });
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await
}

/// Binds a loopback address.
///
/// # Errors
/// When the address is not loopback or is taken.
pub async fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    if !addr.ip().is_loopback() {
        return Err(std::io::Error::other(
            "the sandbox listens on loopback only",
        ));
    }
    TcpListener::bind(addr).await
}

fn fail(status: StatusCode, message: impl core::fmt::Display) -> Response {
    (
        status,
        axum::Json(json!({ "message": message.to_string() })),
    )
        .into_response()
}

fn internal(error: impl core::fmt::Display) -> Response {
    fail(StatusCode::INTERNAL_SERVER_ERROR, error)
}

impl Sandbox {
    /// Only the holder of the credential gets further.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let shown = shown
            .and_then(|text| text.strip_prefix("Bearer "))
            .unwrap_or_default();
        if bool::from(shown.as_bytes().ct_eq(self.secret.as_bytes())) {
            return Ok(());
        }
        Err(Box::new(fail(
            StatusCode::UNAUTHORIZED,
            "no such credential",
        )))
    }
}

fn by(headers: &HeaderMap) -> String {
    let named = headers.get("x-actor").and_then(|value| value.to_str().ok());
    named.unwrap_or("connectord").chars().take(64).collect()
}

fn answer(status: StatusCode, record: &Stored) -> Response {
    let etag = format!("\"v{}\"", record.version);
    let mut body = record.fields.clone();
    if let Some(object) = body.as_object_mut() {
        object.insert("id".to_owned(), Json::String(record.id.clone()));
    }
    (status, [(header::ETAG, etag)], axum::Json(body)).into_response()
}

async fn show(State(sandbox): State<Shared>) -> Response {
    match page::render(&sandbox.store).await {
        Ok(html) => Html(html).into_response(),
        Err(error) => internal(error),
    }
}

async fn effects(State(sandbox): State<Shared>, headers: HeaderMap) -> Response {
    if let Err(refused) = sandbox.admit(&headers) {
        return *refused;
    }
    match sandbox.store.effects().await {
        Ok(effects) => axum::Json(effects).into_response(),
        Err(error) => internal(error),
    }
}

async fn set_fault(State(sandbox): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refused) = sandbox.admit(&headers) {
        return *refused;
    }
    match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => {
            sandbox.faults.set(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => fail(StatusCode::BAD_REQUEST, error),
    }
}

/// Records of a kind; `key` names the idempotency key they were made under, every other
/// parameter a field and its exact text.
async fn list(
    State(sandbox): State<Shared>,
    Path(kind): Path<String>,
    Query(mut query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = sandbox.admit(&headers) {
        return *refused;
    }
    let key = query.remove("key");
    match sandbox.store.list(&kind, key.as_deref()).await {
        Ok(records) => {
            let has = |fields: &Json| {
                let text = |name: &String| fields.get(name).and_then(Json::as_str);
                query
                    .iter()
                    .all(|(name, value)| text(name) == Some(value.as_str()))
            };
            let found = records.iter().filter(|record| has(&record.fields));
            let items = found.map(|record| {
                let mut body = record.fields.clone();
                if let Some(object) = body.as_object_mut() {
                    object.insert("id".to_owned(), Json::String(record.id.clone()));
                }
                body
            });
            axum::Json(Json::Array(items.collect())).into_response()
        }
        Err(error) => internal(error),
    }
}

async fn read(
    State(sandbox): State<Shared>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = sandbox.admit(&headers) {
        return *refused;
    }
    match sandbox.store.read(&kind, &id).await {
        Ok(Some(record)) => answer(StatusCode::OK, &record),
        Ok(None) => fail(StatusCode::NOT_FOUND, "no such record"),
        Err(error) => internal(error),
    }
}

fn parsed(body: &Bytes) -> Result<serde_json::Map<String, Json>, Box<Response>> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Box::new(fail(StatusCode::PAYLOAD_TOO_LARGE, "too large")));
    }
    match serde_json::from_slice(body) {
        Ok(Json::Object(object)) => Ok(object),
        _ => Err(Box::new(fail(
            StatusCode::BAD_REQUEST,
            "the body is not an object",
        ))),
    }
}

async fn change(
    State(sandbox): State<Shared>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = sandbox.admit(&headers) {
        return *refused;
    }
    let fields = match parsed(&body) {
        Ok(fields) => fields,
        Err(refused) => return *refused,
    };
    let expected = headers
        .get(header::IF_MATCH)
        .and_then(|value| value.to_str().ok());
    let Some(expected) = expected.map(str::to_owned) else {
        return fail(StatusCode::PRECONDITION_REQUIRED, "If-Match is required");
    };
    let (inner, actor) = (Arc::clone(&sandbox), by(&headers));
    let key = headers
        .get("x-change-key")
        .and_then(|value| value.to_str().ok());
    let key = key.map(|key| key.chars().take(128).collect::<String>());
    let work = async move {
        let act = (expected.as_str(), actor.as_str(), key.as_deref());
        match inner.store.change((&kind, &id), act, &fields).await {
            Ok(store::Changed::Done(record)) => answer(StatusCode::OK, &record),
            Ok(store::Changed::Missing) => fail(StatusCode::NOT_FOUND, "no such record"),
            Ok(store::Changed::Stale) => {
                fail(StatusCode::PRECONDITION_FAILED, "the record changed")
            }
            Ok(store::Changed::Refused(why)) => fail(StatusCode::UNPROCESSABLE_ENTITY, why),
            Err(error) => internal(error),
        }
    };
    sandbox.faults.around(work).await
}

async fn create(
    State(sandbox): State<Shared>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(refused) = sandbox.admit(&headers) {
        return *refused;
    }
    let fields = match parsed(&body) {
        Ok(fields) => fields,
        Err(refused) => return *refused,
    };
    let key = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    let (inner, actor) = (Arc::clone(&sandbox), by(&headers));
    let key = key.map(str::to_owned);
    let work = async move {
        match inner
            .store
            .create(&kind, (key.as_deref(), &actor), &fields)
            .await
        {
            Ok(store::Changed::Done(record)) => answer(StatusCode::CREATED, &record),
            Ok(store::Changed::Missing) => fail(StatusCode::NOT_FOUND, "no such kind or target"),
            Ok(store::Changed::Stale) => fail(StatusCode::CONFLICT, "the key was used otherwise"),
            Ok(store::Changed::Refused(why)) => fail(StatusCode::UNPROCESSABLE_ENTITY, why),
            Err(error) => internal(error),
        }
    };
    sandbox.faults.around(work).await
}
