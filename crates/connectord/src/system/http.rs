//! One HTTP client for all systems: a pinned base URL, no redirects, bounded time and size.
//!
//! Retries: none. The credential is put on each request by `credentials.rs` and never seen here.

use std::time::Duration;

use reqwest::{Client, Method, Response, Url};
use serde_json::Value as Json;
use writ_host::egress::{self, Named};

use crate::credentials::Credential;

use super::file::{Auth, SystemFile};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than any system here takes to answer, shorter than a person waits.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(8);
const BODY_BYTES_MAX: usize = 1_024 * 1_024;

/// A client of one connection.
#[derive(Debug)]
pub struct HttpClient {
    client: Client,
    base: Url,
    auth: Auth,
    headers: Vec<(String, String)>,
    credential: Credential,
}

/// An answer that was read whole.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `ETag`, if there is one.
    pub etag: Option<String>,
    /// `Retry-After`, if there is one.
    pub retry_after: Option<String>,
    /// The body; null where it is not JSON.
    pub body: Json,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No byte of the request was sent.
    #[error("no connection: {0}")]
    NotSent(String),
    /// It may have been sent.
    #[error("no answer: {0}")]
    Lost(String),
}

/// Checks a base URL: https, or http on loopback; a host, no user, no query.
///
/// # Errors
/// What is wrong with it.
pub fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("base_url `{text}`: {error}"))?;
    let refuse = |why: &str| Err(format!("base_url `{text}`: {why}"));
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("no user or password in a URL");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("no query and no fragment");
    }
    let Some(host) = url.host_str() else {
        return refuse("no host");
    };
    let scheme = url.scheme();
    match egress::check(Named { scheme, host }) {
        Ok(()) => Ok(url),
        Err(why) => refuse(why),
    }
}

impl HttpClient {
    /// A client for a checked base URL.
    ///
    /// # Errors
    /// When the TLS library cannot be started.
    pub fn new(base: Url, file: &SystemFile, credential: Credential) -> Result<Self, String> {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .no_proxy()
            .user_agent("writ-connectord")
            .build()
            .map_err(|error| error.to_string())?;
        let origin = base.origin().ascii_serialization();
        let fill = |(name, value): (&String, &String)| {
            (name.clone(), value.replace("{base_url}", &origin))
        };
        let headers = file.headers.iter().map(fill).collect();
        Ok(Self {
            client,
            base,
            auth: file.auth,
            headers,
            credential,
        })
    }

    /// Makes one call.
    ///
    /// # Errors
    /// Whether the request can have been sent or not.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Answer, CallError> {
        let not_sent = |error: &dyn core::fmt::Display| CallError::NotSent(error.to_string());
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| not_sent(&error))?;
        let text = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|error| not_sent(&error))?;
        if url.origin() != self.base.origin() {
            return Err(CallError::NotSent(
                "the path leaves the base URL".to_owned(),
            ));
        }
        let mut request = self.client.request(method, url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = self.credential.put_on(request, self.auth);
        if let Some(body) = body {
            request = request.json(body);
        }
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                Err(CallError::NotSent(without_url(error)))
            }
            Err(error) => Err(CallError::Lost(without_url(error))),
        }
    }
}

/// The text of an error and its causes; the URL may hold ids of customers.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

async fn read(mut response: Response) -> Result<Answer, CallError> {
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (etag, retry_after) = (header("etag"), header("retry-after"));
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    loop {
        let chunk = response
            .chunk()
            .await
            .map_err(|error| CallError::Lost(without_url(error)))?;
        let Some(chunk) = chunk else { break };
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_BYTES_MAX {
            return Err(CallError::Lost("an answer that is too long".to_owned()));
        }
    }
    let body = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
    Ok(Answer {
        status,
        etag,
        retry_after,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback_is_a_base_url() {
        for good in [
            "https://crm.example",
            "http://127.0.0.1:7380",
            "http://[::1]:1/t1",
            "http://localhost:1",
        ] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://crm.example",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "gopher://x",
            "http://10.0.0.1",
            "http://169.254.169.254",
            "https://169.254.169.254",
            "https://10.1.2.3",
            "https://192.168.1.1",
            "https://[::ffff:10.0.0.1]",
            "https://[fe80::1]",
            "https://[fd00::1]",
            "https://0x0a000001",
            "https://167772161",
            "https://0.0.0.0",
            "https://u:p@crm.example",
            "https://crm.example/?a=b",
            "https://crm.example/#a",
            "https://100.64.0.1",
            "not a url",
            "https://172.16.0.1",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }
}
