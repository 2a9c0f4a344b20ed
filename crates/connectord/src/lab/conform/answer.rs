//! Calls and answers as they pass through the proxy of `conform`.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value as Json;

use crate::error::AppError;
use crate::lab::conform::fail;
use crate::lab::conform::proxy::OWN_HEADERS;

/// A call that came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// Whether it only reads: GraphQL asks by POST, and says which of the two it does.
    pub(crate) fn reads(&self) -> bool {
        let body: Option<Json> = serde_json::from_slice(&self.body).ok();
        let document = body.as_ref().and_then(|body| body.get("query")?.as_str());
        let asks = document.is_some_and(|text| text.trim_start().starts_with("query"));
        self.method == Method::GET || asks
    }

    pub(crate) fn line(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        format!("{} {}{}", self.method, self.path, query.unwrap_or_default())
    }
}

/// What the system answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Changes or removes a member, if the body is JSON that has it.
    pub(crate) fn change(&mut self, at: &str, value: Option<Json>) {
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
    pub(crate) fn empty_lists(&mut self) {
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

    pub(crate) fn response(self) -> Result<Response, AppError> {
        let mut built = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            if !OWN_HEADERS.contains(name) {
                built = built.header(name, value);
            }
        }
        built.body(Body::from(self.body)).map_err(fail)
    }
}

pub(crate) fn answered(
    status: u16,
    media: &str,
    body: impl Into<Body>,
) -> Result<Response, AppError> {
    let built = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, media);
    built.body(body.into()).map_err(fail)
}

pub(crate) fn limited(wait: Option<u32>) -> Result<Response, AppError> {
    let mut built = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
    if let Some(wait) = wait {
        built = built.header(header::RETRY_AFTER, wait);
    }
    built.body(Body::empty()).map_err(fail)
}

pub(crate) fn redirected(origin: &str) -> Result<Response, AppError> {
    let built = Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(header::LOCATION, format!("{origin}{ELSEWHERE}"));
    built.body(Body::empty()).map_err(fail)
}

/// Where nobody may be sent to.
pub(crate) const ELSEWHERE: &str = "/elsewhere";

/// An answer that ends before it is whole.
pub(crate) fn cut() -> Response {
    let broken: Result<Bytes, std::io::Error> = Err(std::io::ErrorKind::ConnectionReset.into());
    Response::new(Body::from_stream(tokio_stream::once(broken)))
}
