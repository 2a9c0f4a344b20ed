//! Each call of a connection costs one of its caller's rate, before its message is taken apart, and
//! what cannot be taken apart is refused in the words of the daemon.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tonic::codegen::{BoxFuture, Service, http};
use tower_layer::Layer;

use crate::host::serve::connections::Known;

/// The header with which a codec says that no service saw the message, and why.
pub(crate) const UNREAD: &str = "writ-unread";

/// Makes the refusal of a call that came too early, from how long it has to wait.
pub type Refuse = fn(Duration) -> Status;

/// Makes the refusal of a message that no service saw, from what the connection left with it and why it was not read.
pub type Unread = Arc<
    dyn Fn(http::Extensions, String) -> Pin<Box<dyn Future<Output = Status> + Send>> + Send + Sync,
>;

/// What a server says to calls that end before a service sees them.
#[derive(Clone)]
pub struct Refusals {
    /// To a call that came too early.
    pub early: Refuse,
    /// To a message that is not exactly one of its method.
    pub unread: Unread,
}

impl core::fmt::Debug for Refusals {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

/// Puts a rate before a server.
#[derive(Debug, Clone)]
pub struct Paced(pub(crate) Refusals);

impl<S> Layer<S> for Paced {
    type Service = PacedService<S>;

    fn layer(&self, inner: S) -> PacedService<S> {
        PacedService {
            inner,
            refusals: self.0.clone(),
        }
    }
}

/// A server behind its rate.
#[derive(Debug, Clone)]
pub struct PacedService<S> {
    inner: S,
    refusals: Refusals,
}

/// The refusal in the words of its protocol.
fn refused(is_grpc: bool, status: Status, wait: Duration) -> http::Response<tonic::body::Body> {
    if is_grpc {
        return status.into_http();
    }
    let mut response = http::Response::new(tonic::body::Body::empty());
    *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
    let seconds = wait.as_secs().saturating_add(1);
    let headers = response.headers_mut();
    headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from(seconds));
    response
}

impl<S, B> Service<http::Request<B>> for PacedService<S>
where
    S: Service<http::Request<B>, Response = http::Response<tonic::body::Body>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that said it is ready.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let Refusals { early, unread } = self.refusals.clone();
        let kind = request.headers().get(http::header::CONTENT_TYPE);
        let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let known = request.extensions_mut().remove::<Known>();
        Box::pin(async move {
            let mut met = None;
            if let Some(known) = known {
                if let Err(wait) = known.pace.spend(1).await {
                    return Ok(refused(is_grpc, early(wait), wait));
                }
                met = Some(known.tls.clone());
                request.extensions_mut().insert(known.tls);
                request.extensions_mut().insert(known.pace);
            }
            let answer = inner.call(request).await?;
            let why = answer.headers().get(UNREAD);
            let why = why.and_then(|why| why.to_str().ok()).map(str::to_owned);
            match why {
                None => Ok(answer),
                Some(why) => {
                    let mut left = http::Extensions::new();
                    if let Some(met) = met {
                        left.insert(met);
                    }
                    Ok(unread(left, why).await.into_http())
                }
            }
        })
    }
}
