//! What stands between connectord and the system in `conform`: a proxy on loopback that passes calls
//! on, keeps what could change something, and fails in a chosen way.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use reqwest::Url;

use crate::credentials::auth::Auth;
use crate::error::AppError;

use crate::lab::conform::answer::{Answer, Call, answered, cut, limited, redirected};
use crate::lab::conform::fail;
use crate::lab::conform::translator::Translator;
use crate::lab::conform::way::{Fault, Moment, Way};

/// Longest body that is passed on, in bytes.
const BODY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// Longer than any answer that connectord takes.
const OVERSIZED_BYTES: usize = 1_536 * 1_024;
/// Longest call to the system.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers that belong to one connection (RFC 9110 7.6.1), or that the client sets itself.
pub(crate) const OWN_HEADERS: [HeaderName; 5] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
];

/// The proxy; it ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    way: Way,
    client: reqwest::Client,
    upstream: Url,
    /// What stands before the system, where it does not speak as the file does.
    translator: Option<Translator>,
    /// Path at which tokens are asked for: that changes no record, and no fault is put there.
    token: Option<String>,
    origin: String,
}

impl Proxy {
    /// Listens on a free port of loopback.
    pub(crate) async fn start(
        way: &Way,
        (upstream, translator): (Url, Option<Translator>),
        auth: &Auth,
    ) -> Result<Self, AppError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(fail)?;
        let origin = format!("http://{}", listener.local_addr().map_err(fail)?);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(UPSTREAM_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(fail)?;
        let token = match auth {
            Auth::OAuth2(oauth) => {
                let base = upstream.path().trim_end_matches('/');
                Some(format!("{base}{}", oauth.path))
            }
            _ => None,
        };
        let proxy = Self {
            way: way.clone(),
            client,
            upstream,
            translator,
            token,
            origin,
        };
        let app = Router::new().fallback(handle).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(proxy)
    }

    /// Where connectord finds the system: the proxy, and the path of its base URL.
    pub(crate) fn base_url(&self) -> String {
        let path = self.upstream.path().trim_end_matches('/');
        format!("{}{path}", self.origin)
    }

    /// Passes a call on, translated where the system file names a plug-in.
    async fn pass(&self, call: &Call) -> Result<Answer, AppError> {
        match &self.translator {
            Some(translator) => {
                translator
                    .pass(call, |call| async move { self.sent(&call).await })
                    .await
            }
            None => self.sent(call).await,
        }
    }

    async fn sent(&self, call: &Call) -> Result<Answer, AppError> {
        let mut url = self.upstream.clone();
        url.set_path(&call.path);
        url.set_query(call.query.as_deref());
        let theirs = self.upstream.origin().ascii_serialization();
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            if OWN_HEADERS.contains(name) {
                continue;
            }
            // What a system holds against its own address must be its own address.
            let text = value
                .to_str()
                .map(|text| text.replace(&self.origin, &theirs));
            let value = text.ok().and_then(|text| HeaderValue::from_str(&text).ok());
            headers.append(name.clone(), value.ok_or_else(|| fail("a header"))?);
        }
        let sent = self
            .client
            .request(call.method.clone(), url)
            .headers(headers)
            .body(call.body.clone())
            .send();
        let answer = sent.await.map_err(fail)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(fail)?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Passes on what asks for a token; the address in the answer is that of the proxy.
    async fn issue(&self, call: &Call) -> Result<Response, AppError> {
        let mut answer = self.sent(call).await?;
        let theirs = self.upstream.origin().ascii_serialization();
        let text = String::from_utf8_lossy(&answer.body);
        answer.body = text.replace(&theirs, &self.origin).into();
        answer.response()
    }

    async fn write(&self, call: &Call) -> Result<Response, AppError> {
        let (fault, last) = {
            let mut held = self.way.held();
            let body = String::from_utf8_lossy(&call.body).into_owned();
            held.writes.push((call.line(), body));
            let fails = held.at == 0 || held.at == held.writes.len();
            let fault = if fails {
                held.fault.clone()
            } else {
                Fault::None
            };
            (fault, held.last.clone())
        };
        match fault {
            Fault::Instead(status, media, body) => return answered(status, media, body),
            Fault::Limits(wait) => return limited(wait),
            Fault::Redirects => return redirected(&self.origin),
            Fault::LostBefore | Fault::Unfiltered => return Ok(cut()),
            Fault::Late(span) => {
                let (proxy, call) = (self.clone(), call.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    drop(proxy.pass(&call).await);
                });
                return Ok(cut());
            }
            Fault::Pretends => {
                let (status, body) = last.unwrap_or((200, Bytes::from_static(b"{}")));
                return answered(status, "application/json", body);
            }
            _ => {}
        }
        self.way.held().passed += 1;
        let answer = self.pass(call).await?;
        self.way.meanwhile(Moment::AfterWrite).await;
        match fault {
            Fault::DoneBut(status) => {
                answered(status, "application/json", r#"{"message":"no"}"#.to_owned())
            }
            Fault::LostAfter | Fault::Lag(_) => Ok(cut()),
            Fault::Slow(span) => {
                tokio::time::sleep(span).await;
                answer.response()
            }
            Fault::Oversized => answered(
                200,
                "application/json",
                format!("\"{}\"", "x".repeat(OVERSIZED_BYTES)),
            ),
            _ => {
                self.way.held().last = Some((answer.status.as_u16(), answer.body.clone()));
                answer.response()
            }
        }
    }

    async fn read(&self, call: &mut Call) -> Result<Response, AppError> {
        let (fault, wrote) = {
            let held = self.way.held();
            (held.fault.clone(), !held.writes.is_empty())
        };
        if matches!(fault, Fault::Unfiltered) && wrote {
            call.query = None;
        }
        let mut answer = self.pass(call).await?;
        self.way.meanwhile(Moment::AfterLook).await;
        match fault {
            Fault::ReadLacks(at) => answer.change(&at, None),
            Fault::ReadShows(at, value) => answer.change(&at, Some(value)),
            Fault::ReadShowsAfter(at, value) if wrote => answer.change(&at, Some(value)),
            Fault::Lag(left) if wrote && left > 0 => {
                self.way.held().fault = Fault::Lag(left.saturating_sub(1));
                answer.empty_lists();
            }
            _ => {}
        }
        answer.response()
    }
}

async fn handle(State(proxy): State<Proxy>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return cut();
    };
    let mut call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
    };
    let answered = if proxy.token.as_ref() == Some(&call.path) {
        proxy.issue(&call).await
    } else {
        proxy.way.held().lines.push(call.line());
        if call.reads() {
            proxy.read(&mut call).await
        } else {
            proxy.write(&call).await
        }
    };
    answered.unwrap_or_else(|error| {
        tracing::warn!(%error, "a call could not be passed on");
        cut()
    })
}
