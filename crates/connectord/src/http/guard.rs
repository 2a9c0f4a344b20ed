//! What holds for every request: names of hosts, where a form came from, and the headers of every
//! answer.

use std::sync::LazyLock;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, uri::Authority};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use writ_proto::Reason;

use super::{Rules, SharedSite, page};

const STATIC_HEADERS: [(HeaderName, &str); 8] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: with that a browser sends `Origin: null` with our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
];

/// Nothing is loaded and nothing runs; one style sheet, named by its digest, applies.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(page::CSS));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::from_str(&text).ok()
});

/// Checks host and origin, then puts the headers on whatever the answer is.
pub async fn guard(State(site): State<SharedSite>, request: Request, next: Next) -> Response {
    // Probes ask by address, change nothing and are told nothing.
    let probe = matches!(request.uri().path(), "/livez" | "/readyz");
    let refused = check(&site.rules, request.method(), request.headers());
    let mut answer = match refused {
        Ok(()) => next.run(request).await,
        Err(_) if probe && request.method() == Method::GET => next.run(request).await,
        Err(reason) => page::refused(StatusCode::FORBIDDEN, reason),
    };
    let headers = answer.headers_mut();
    for (name, value) in STATIC_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(policy) = POLICY.clone() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if !site.rules.plaintext {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    answer
}

fn check(rules: &Rules, method: &Method, headers: &HeaderMap) -> Result<(), Reason> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).and_then(|host| host.parse::<Authority>().ok());
    let host = host.ok_or(Reason::CrossSite)?;
    if !host_is_ours(rules, &host) {
        return Err(Reason::CrossSite);
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let origin = text(header::ORIGIN);
    let fetched = site.is_none_or(|site| site == "same-origin");
    let sent = origin.is_none_or(|origin| origin_is(rules, origin, &host));
    // Every browser of the last years sends one of the two with a form.
    if fetched && sent && (site.is_some() || origin.is_some()) {
        Ok(())
    } else {
        Err(Reason::CrossSite)
    }
}

fn host_is_ours(rules: &Rules, host: &Authority) -> bool {
    let named = |name: &str| {
        name.eq_ignore_ascii_case(host.as_str()) || name.eq_ignore_ascii_case(host.host())
    };
    if rules.hosts.iter().any(|name| named(name)) {
        return true;
    }
    // A name that was made to point at loopback is not loopback.
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    rules.hosts.is_empty() && (!rules.plaintext || loopback.contains(&host.host()))
}

/// An origin is scheme, host and port; behind a proxy that ends TLS the scheme is the browser's.
fn origin_is(rules: &Rules, origin: &str, host: &Authority) -> bool {
    let rest = origin.strip_prefix("https://");
    let rest = rest.or_else(|| origin.strip_prefix("http://").filter(|_| rules.plaintext));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
}

/// Whether the browser speaks TLS, with us or with the proxy before us.
#[must_use]
pub fn is_secure(rules: &Rules, headers: &HeaderMap) -> bool {
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|value| value.to_str().ok());
    !rules.plaintext || origin.is_some_and(|origin| origin.starts_with("https://"))
}

#[cfg(test)]
mod tests;
