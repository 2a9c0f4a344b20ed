//! One HTTP client for all systems: a pinned base URL, addresses that are checked when a name is
//! resolved, no redirects, bounded time and size.
//!
//! Retries: none, but for a token of OAuth that the system did not take. The credential is put on each request by `credentials.rs` and never seen here.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Method, Response, Url};
use tokio::sync::{Semaphore, SemaphorePermit};
use writ_proto::egress::{self, Named, is_private};

use super::token::Issuer;
use crate::clock;
use crate::credentials::Credential;
use crate::credentials::oauth::Token;
use crate::system::file::slot::{Scope, Slot};
use crate::system::file::{Answer, Bound, Request, Sent, VersionAt, clean};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const BODY_BYTES_MAX: usize = 1_024 * 1_024;
/// Most headers of an answer that are kept, and their longest value in bytes.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 4 * 1_024;
/// Longest time a system may ask to wait, in seconds.
const WAIT_SECONDS_MAX: u64 = 24 * 3_600;

/// The status that says that a token is not taken (RFC 9110 15.5.2).
pub(super) const UNAUTHORIZED: u16 = 401;

/// A client of one connection.
#[derive(Debug)]
pub struct HttpClient {
    client: Client,
    base: Url,
    bound: Arc<Bound>,
    headers: Vec<(String, String)>,
    credential: Credential,
    issuer: Option<Arc<Issuer>>,
    places: Semaphore,
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
    /// No byte was sent, since no token was given for the credential.
    #[error("no token: {0}")]
    Denied(String),
}

/// A place among the calls that are open at once, with what is shown to the system.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    _place: SemaphorePermit<'a>,
    token: Option<Token>,
}

impl Ready<'_> {
    /// Which token it is: if the system does not take it, the next one is asked for.
    pub(super) fn token(&self) -> Option<u64> {
        self.token.as_ref().map(Token::number)
    }
}

/// Checks a base URL: https, or http on loopback; a host, no user, no query. A private address is
/// taken only where the connection says so.
///
/// # Errors
/// What is wrong with it.
pub fn base_url(text: &str, private: bool) -> Result<Url, String> {
    if !text.contains("://") {
        return Err(format!(
            "base_url `{text}` begins with https://, or with http:// on loopback"
        ));
    }
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
        Err("a private address") if private => Ok(url),
        Err("a private address") => refuse(
            "a private address; if the system is in your own network, say private = true in the connection",
        ),
        Err(why) => refuse(why),
    }
}

/// The addresses of a name that may be connected to: what the name resolves to when it is
/// connected, not when it was checked.
fn usable(name: &str, private: bool, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let local = name == "localhost";
    let good = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        ip.is_loopback() == local && (private || !is_private(ip))
    };
    found.filter(good).collect()
}

/// Who tells the addresses of a name.
type LookUp = fn(&str) -> std::io::Result<Vec<SocketAddr>>;

fn look_up(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    (name, 0).to_socket_addrs().map(Iterator::collect)
}

/// A name may resolve to an address inside our own network: that is no system of record, unless the
/// connection says so.
#[derive(Debug, Clone, Copy)]
struct Checked {
    private: bool,
    look_up: LookUp,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { private, look_up } = *self;
        Box::pin(async move {
            let own = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || look_up(&own)).await??;
            let good = usable(name.as_str(), private, found.into_iter());
            if good.is_empty() {
                return Err("the name resolves to no address that may be used".into());
            }
            let addresses: Addrs = Box::new(good.into_iter());
            Ok(addresses)
        })
    }
}

/// `{base_url}`, and nothing else.
struct OfBase<'a>(&'a str);

impl Scope for OfBase<'_> {
    fn get(&self, slot: &Slot) -> Option<serde_json::Value> {
        (*slot == Slot::BaseUrl).then(|| serde_json::Value::String(self.0.to_owned()))
    }
}

/// The address of a request. Parsing must change nothing: whatever a value holds, the path stays the
/// one that the file says.
fn url(base: &Url, path: &str, query: &str) -> Result<Url, String> {
    let wanted = format!("{}{path}", base.path().trim_end_matches('/'));
    let mut text = format!("{}{wanted}", base.origin().ascii_serialization());
    if !query.is_empty() {
        text.push('?');
        text.push_str(query);
    }
    let url = Url::parse(&text).map_err(|error| error.to_string())?;
    if url.origin() != base.origin() || url.path() != wanted {
        return Err("the path leaves the base URL".to_owned());
    }
    Ok(url)
}

impl HttpClient {
    /// A client for a checked base URL.
    ///
    /// # Errors
    /// When the TLS library cannot be started.
    pub fn new(
        base: Url,
        bound: &Arc<Bound>,
        credential: Credential,
        private: bool,
    ) -> Result<Self, String> {
        Self::with(base, bound, credential, Checked { private, look_up })
    }

    fn with(
        base: Url,
        bound: &Arc<Bound>,
        credential: Credential,
        checked: Checked,
    ) -> Result<Self, String> {
        let built = |idle: usize| {
            let client = Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(bound.timeout)
                .pool_max_idle_per_host(idle)
                .no_proxy()
                .dns_resolver(checked)
                .user_agent("writ-connectord");
            client.build().map_err(|error| error.to_string())
        };
        let client = built(usize::MAX)?;
        let origin = base.origin().ascii_serialization();
        let mut headers = Vec::new();
        for (name, value) in &bound.headers {
            let value = value.plain(&OfBase(&origin));
            headers.push((name.clone(), value.ok_or("a header cannot be filled")?));
        }
        // A connection ends with the runtime that it was opened on, and a front's ends before an issuer has answered: no
        // request for a token takes one that is there.
        let apart = built(0)?;
        let known = (&apart, &credential, origin.as_str());
        let issuer = Issuer::of(bound, known, |path| url(&base, path, ""))?;
        Ok(Self {
            client,
            base,
            bound: Arc::clone(bound),
            headers,
            credential,
            issuer,
            places: Semaphore::new(bound.concurrent),
        })
    }

    /// Which credential is shown.
    pub(super) const fn fingerprint(&self) -> [u8; 32] {
        self.credential.fingerprint()
    }

    /// The base URL.
    pub(super) const fn base(&self) -> &Url {
        &self.base
    }

    /// Whether a request stays under the base URL.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn check(&self, request: &Request) -> Result<(), String> {
        url(&self.base, &request.path, &request.query).map(drop)
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Waits for a place among the calls that are open at once, and for a token where one is shown.
    /// `worn` is one that the system did not take.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn ready(&self, worn: Option<u64>) -> Result<Ready<'_>, CallError> {
        let place = tokio::time::timeout(self.bound.timeout, self.places.acquire()).await;
        let Ok(Ok(place)) = place else {
            let why = "too many calls to this system are open";
            return Err(CallError::NotSent(why.to_owned()));
        };
        let token = match &self.issuer {
            Some(issuer) => {
                let given = tokio::time::timeout(self.bound.timeout, issuer.token(worn)).await;
                let late = "no token: it is being asked for, and that takes long";
                Some(given.map_err(|_| CallError::NotSent(late.to_owned()))??)
            }
            None => None,
        };
        Ok(Ready {
            _place: place,
            token,
        })
    }

    /// Makes one call that only reads. A token that the system does not take is asked for anew, once.
    ///
    /// # Errors
    /// Whether the request can have been sent or not.
    pub async fn call(&self, request: &Request) -> Result<Answer, CallError> {
        let ready = self.ready(None).await?;
        let shown = ready.token();
        let answer = self.call_at(ready, request).await?;
        if answer.status != UNAUTHORIZED || shown.is_none() {
            return Ok(answer);
        }
        let ready = self.ready(shown).await?;
        self.call_at(ready, request).await
    }

    /// The same at a place that is ours already, once: nothing is waited for before it goes out.
    ///
    /// # Errors
    /// Whether the request can have been sent or not.
    pub(super) async fn call_at(
        &self,
        ready: Ready<'_>,
        request: &Request,
    ) -> Result<Answer, CallError> {
        let not_sent = |error: &dyn core::fmt::Display| CallError::NotSent(error.to_string());
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|error| not_sent(&error))?;
        let url = url(&self.base, &request.path, &request.query);
        let url = url.map_err(|error| not_sent(&error))?;
        let mut built = self.client.request(method, url);
        for (name, value) in self.headers.iter().chain(&request.headers) {
            built = built.header(name, value);
        }
        let shown = match &ready.token {
            Some(token) => Some(token.put_on(built)),
            None => self.credential.put_on(built, &self.bound.auth),
        };
        built = shown.ok_or_else(|| {
            let why = "the credential has fewer parts than the system file names";
            CallError::NotSent(why.to_owned())
        })?;
        built = match &request.body {
            Sent::Nothing => built,
            Sent::Json(body) => built
                .header("content-type", "application/json")
                .body(body.clone()),
            Sent::Form(body) => built
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone()),
        };
        match built.send().await {
            Ok(response) => read(response, &self.bound.retry_after).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                Err(CallError::NotSent(without_url(error)))
            }
            Err(error) => Err(CallError::Lost(without_url(error))),
        }
    }
}

/// The text of an error and its causes; the URL may hold ids of customers.
pub(super) fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    clean(&text)
}

/// Seconds of a `Retry-After`: a number, or a moment as HTTP writes it.
fn seconds(text: &str) -> Option<u64> {
    if let Ok(number) = text.trim().parse::<u64>() {
        return Some(number.min(WAIT_SECONDS_MAX));
    }
    let until = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
    let ahead = until.timestamp().saturating_sub(clock::now().timestamp());
    Some(u64::try_from(ahead).unwrap_or(0).min(WAIT_SECONDS_MAX))
}

pub(super) async fn read(mut response: Response, waits: &[VersionAt]) -> Result<Answer, CallError> {
    let short = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        let value = value
            .to_str()
            .ok()
            .filter(|value| value.len() <= HEADER_BYTES_MAX)?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    let headers: Vec<_> = response
        .headers()
        .iter()
        .take(HEADERS_MAX)
        .filter_map(short)
        .collect();
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
    let mut answer = Answer {
        status,
        headers,
        wait: None,
        body: None,
        media: String::new(),
    };
    let media = answer.header("content-type").unwrap_or_default();
    answer.media = clean(media.split(';').next().unwrap_or_default());
    if answer.media.is_empty() || answer.media.contains("json") {
        answer.body = serde_json::from_slice(&bytes).ok();
    }
    answer.wait = asked_to_wait(&answer, waits);
    Ok(answer)
}

/// Seconds that an answer asks to wait: where the file says, or in `Retry-After`.
pub(super) fn asked_to_wait(answer: &Answer, waits: &[VersionAt]) -> Option<u64> {
    let own = waits.iter().find_map(|at| seconds(&at.read(answer)?));
    own.or_else(|| answer.header("retry-after").and_then(seconds))
}

#[cfg(test)]
mod tests;
