//! Calls and answers as they pass through the proxy of `conform`.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value as Json;

use super::fail;
use super::proxy::OWN_HEADERS;
use crate::app::AppError;

/// A call that came.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn line(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        format!("{} {}{}", self.method, self.path, query.unwrap_or_default())
    }
}

/// What the system answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// Changes or removes a member, if the body is JSON that has it.
    pub(super) fn change(&mut self, at: &str, value: Option<Json>) {
        let Ok(mut body) = serde_json::from_slice::<Json>(&self.body) else {
            return;
        };
        let Some((parent, member)) = at.rsplit_once('/') else {
            return;
        };
        let Some(members) = body.pointer_mut(parent).and_then(Json::as_object_mut) else {
            return;
        };
        match value {
            Some(value) if members.contains_key(member) => {
                members.insert(member.to_owned(), value);
            }
            Some(_) => {}
            None => drop(members.remove(member)),
        }
        self.body = body.to_string().into();
    }

    /// Makes every list of the answer an empty one.
    pub(super) fn empty_lists(&mut self) {
        fn emptied(value: &mut Json) {
            match value {
                Json::Array(items) => items.clear(),
                Json::Object(members) => members.values_mut().for_each(emptied),
                _ => {}
            }
        }
        if let Ok(mut body) = serde_json::from_slice::<Json>(&self.body) {
            emptied(&mut body);
            self.body = body.to_string().into();
        }
    }

    pub(super) fn response(self) -> Result<Response, AppError> {
        let mut built = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            if !OWN_HEADERS.contains(name) {
                built = built.header(name, value);
            }
        }
        built.body(Body::from(self.body)).map_err(fail)
    }
}

pub(super) fn answered(
    status: u16,
    media: &str,
    body: impl Into<Body>,
) -> Result<Response, AppError> {
    let built = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, media);
    built.body(body.into()).map_err(fail)
}

pub(super) fn limited(wait: Option<u32>) -> Result<Response, AppError> {
    let mut built = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
    if let Some(wait) = wait {
        built = built.header(header::RETRY_AFTER, wait);
    }
    built.body(Body::empty()).map_err(fail)
}

pub(super) fn redirected(origin: &str) -> Result<Response, AppError> {
    let built = Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(header::LOCATION, format!("{origin}{ELSEWHERE}"));
    built.body(Body::empty()).map_err(fail)
}

/// Where nobody may be sent to.
pub(super) const ELSEWHERE: &str = "/elsewhere";

/// An answer that ends before it is whole.
pub(super) fn cut() -> Response {
    let broken: Result<Bytes, std::io::Error> = Err(std::io::ErrorKind::ConnectionReset.into());
    Response::new(Body::from_stream(tokio_stream::once(broken)))
}
