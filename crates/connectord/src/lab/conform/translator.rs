//! The plug-in of a system file in `conform`: behind the way that fails, so that a case sees calls and answers as the file
//! makes and judges them.

use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::Url;

use crate::error::AppError;
use crate::lab::conform::answer::{Answer, Call};
use crate::lab::conform::fail;
use crate::system::file::{Answer as Judged, Bound, Request, Sent, is_own_header};
use crate::system::http::Plugin;

/// Headers that the client sets on every call, and no file.
const CLIENT: [&str; 2] = ["accept", "user-agent"];

/// A plug-in, and where the system is.
#[derive(Debug, Clone)]
pub(crate) struct Translator {
    plugin: Plugin,
    bound: Arc<Bound>,
    /// Path of the base URL.
    below: String,
}

/// The headers that a file sets, and those that connectord does.
fn parted(bound: &Bound, headers: &HeaderMap) -> (Vec<(String, String)>, HeaderMap) {
    let (mut of_file, mut own) = (Vec::new(), HeaderMap::new());
    for (name, value) in headers {
        let shown = bound
            .auth
            .header()
            .is_some_and(|shown| shown.eq_ignore_ascii_case(name.as_str()));
        let always = bound
            .headers
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name.as_str()));
        if is_own_header(name.as_str()) || CLIENT.contains(&name.as_str()) || shown || always {
            own.append(name.clone(), value.clone());
        } else if let Ok(value) = value.to_str() {
            of_file.push((name.to_string(), value.to_owned()));
        }
    }
    (of_file, own)
}

impl Translator {
    pub(crate) fn new(plugin: Plugin, bound: &Bound, upstream: &Url) -> Self {
        Self {
            plugin,
            bound: Arc::new(bound.clone()),
            below: upstream.path().trim_end_matches('/').to_owned(),
        }
    }

    /// Passes a call on as the system wants it.
    pub(crate) async fn pass<F: Future<Output = Result<Answer, AppError>>>(
        &self,
        call: &Call,
        send: impl FnOnce(Call) -> F,
    ) -> Result<Answer, AppError> {
        let methods = ["GET", "POST", "PUT", "PATCH"];
        let method = methods
            .into_iter()
            .find(|method| call.method.as_str() == *method);
        let path = call.path.strip_prefix(&self.below).unwrap_or(&call.path);
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let (headers, own) = parted(&self.bound, &call.headers);
        let request = Request {
            method: method.ok_or_else(|| fail("a method"))?,
            path: path.to_owned(),
            query: call.query.clone().unwrap_or_default(),
            headers,
            body: if body.is_empty() {
                Sent::Nothing
            } else {
                Sent::Json(body)
            },
        };
        let send = |planned: Request| async move {
            let call = self
                .call(&planned, own)
                .map_err(|error| error.to_string())?;
            let answer = send(call).await.map_err(|error| error.to_string())?;
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let headers = answer
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)));
            Ok(Judged {
                status: answer.status.as_u16(),
                headers: headers.collect(),
                wait: None,
                body: serde_json::from_slice(&answer.body).ok(),
                media: answer
                    .headers
                    .get(header::CONTENT_TYPE)
                    .map_or_else(String::new, text),
            })
        };
        let translated = self
            .plugin
            .translate((&request, !call.reads()), &self.bound, send)
            .await;
        answer(translated.map_err(fail)?)
    }

    fn call(&self, planned: &Request, own: HeaderMap) -> Result<Call, AppError> {
        let mut headers = own;
        for (name, value) in &planned.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(fail)?;
            headers.append(name, HeaderValue::from_str(value).map_err(fail)?);
        }
        let body = match &planned.body {
            Sent::Nothing => Bytes::new(),
            Sent::Json(body) | Sent::Form(body) => {
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                );
                body.clone().into()
            }
        };
        Ok(Call {
            method: Method::from_bytes(planned.method.as_bytes()).map_err(fail)?,
            path: format!("{}{}", self.below, planned.path),
            query: Some(planned.query.clone()).filter(|query| !query.is_empty()),
            headers,
            body,
        })
    }
}

/// An answer as it goes back to connectord.
fn answer(judged: Judged) -> Result<Answer, AppError> {
    let mut headers = HeaderMap::new();
    let media = match &judged.body {
        Some(_) => "application/json".to_owned(),
        None => judged.media.clone(),
    };
    for (name, value) in judged
        .headers
        .iter()
        .filter(|(name, _)| !is_own_header(name))
    {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(fail)?;
        headers.append(name, HeaderValue::from_str(value).map_err(fail)?);
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&media).map_err(fail)?,
    );
    Ok(Answer {
        status: StatusCode::from_u16(judged.status).map_err(fail)?,
        headers,
        body: judged
            .body
            .map_or_else(Bytes::new, |body| body.to_string().into()),
    })
}
