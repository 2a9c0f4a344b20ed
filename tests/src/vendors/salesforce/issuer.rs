//! Its issuer of tokens: client credentials, signed assertions, and refresh tokens of which each is good once.

use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value as Json, json};

use super::super::pairs;
use super::Shared;

pub const CLIENT: &str = "3MVG9.writ";
/// With a colon, as secrets may have one.
pub const SECRET: &str = "s3cret:with/colon";
/// Longest time that an assertion may live, in seconds.
const ASSERTION_SECONDS_MAX: i64 = 300;

/// Tokens that were given.
#[derive(Debug, Default)]
pub struct Issuer {
    /// Address in its answers.
    pub instance: String,
    /// Public key of assertions.
    pub key: Vec<u8>,
    /// Audience of assertions.
    pub audience: String,
    /// The refresh token that is good now.
    pub refresh: String,
    /// Of every request the grant, in order.
    pub asked: Vec<String>,
    /// Whether refresh tokens that were used are found out, and all tokens ended with them.
    pub stolen: bool,
    /// Of every request for a refresh the token that was shown, in order.
    pub shown: Vec<String>,
    /// So long an answer is under way; what it says is decided before.
    pub slow: Duration,
    /// Status, `Location` and body that come instead of its own answer; no token is given then.
    pub instead: Option<(u16, Option<String>, String)>,
    /// Whether its answers end in the middle of the body.
    pub hangs_up: bool,
    valid: Vec<String>,
    count: u32,
}

impl Issuer {
    pub fn knows(&self, token: &str) -> bool {
        self.valid.iter().any(|known| known == token)
    }

    /// Ends every session.
    pub fn end(&mut self) {
        self.valid.clear();
    }

    /// An answer with one more token.
    pub fn give(&mut self, refresh: bool) -> Json {
        self.count += 1;
        let token = format!("00DHs0000{:03}!AQ.{}", self.count, "x".repeat(40));
        self.valid.push(token.clone());
        let mut given = json!({"access_token": token, "instance_url": self.instance, "token_type": "Bearer",
            "id": "https://login.example/id/00D/005", "issued_at": "1795000000000", "signature": "c2ln"});
        if refresh {
            self.refresh = format!("refresh-{}", self.count);
            given["refresh_token"] = self.refresh.clone().into();
        }
        given
    }

    /// Whether an assertion is signed by the key, for this issuer, and short.
    fn believes(&self, assertion: &str) -> bool {
        let claims = || -> Option<Json> {
            let (text, signature) = assertion.rsplit_once('.')?;
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key);
            key.verify(text.as_bytes(), &signature).ok()?;
            let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
            serde_json::from_slice(&claims).ok()
        };
        let now = chrono::Utc::now().timestamp();
        claims().is_some_and(|claims| {
            let until = claims["exp"].as_i64().unwrap_or(0);
            let names = claims["iss"] == CLIENT && claims["aud"] == self.audience.as_str();
            names
                && claims["sub"] == "ada@acme.example"
                && until > now
                && until <= now + ASSERTION_SECONDS_MAX
        })
    }
}

fn refused(code: &str, why: &str) -> Response {
    let body = json!({"error": code, "error_description": why});
    (StatusCode::BAD_REQUEST, Body(body)).into_response()
}

/// Client and secret, from `Authorization: Basic` or the form.
fn client(headers: &HeaderMap, form: &[(String, String)]) -> Option<(String, String)> {
    let part = |name: &str| {
        form.iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Some((part("client_id")?, part("client_secret")?));
    };
    let value = value.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (client, secret) = text.split_once(':')?;
    let plain = |text: &str| {
        pairs(&format!("x={text}"))
            .into_iter()
            .next()
            .map(|(_, text)| text)
    };
    Some((plain(client)?, plain(secret)?))
}

pub(super) async fn token(
    State(held): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let (answer, slow) = {
        let mut held = held.lock().unwrap();
        let issuer = &mut held.issuer;
        let mut answer = answered(issuer, &headers, &body);
        if issuer.hangs_up {
            let head = answer.headers_mut();
            // More than there is, and then the connection ends.
            head.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5000"));
            head.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        (answer, issuer.slow)
    };
    tokio::time::sleep(slow).await;
    answer
}

/// What came instead of an answer.
fn other(status: u16, location: Option<String>, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let mut answer = (status, kind, body).into_response();
    if let Some(location) = location {
        let location = HeaderValue::from_str(&location).unwrap();
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

fn answered(issuer: &mut Issuer, headers: &HeaderMap, body: &str) -> Response {
    let form = pairs(body);
    let part = |name: &str| {
        form.iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value.as_str())
    };
    let grant = part("grant_type").to_owned();
    issuer.asked.push(grant.clone());
    if grant == "refresh_token" {
        issuer.shown.push(part("refresh_token").to_owned());
    }
    if let Some((status, location, body)) = issuer.instead.clone() {
        return other(status, location, body);
    }
    let known = client(headers, &form) == Some((CLIENT.to_owned(), SECRET.to_owned()));
    match grant.as_str() {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" if issuer.believes(part("assertion")) => {
            Body(issuer.give(false)).into_response()
        }
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            refused("invalid_grant", "invalid assertion")
        }
        _ if !known => refused("invalid_client", "invalid client credentials"),
        "client_credentials" => Body(issuer.give(false)).into_response(),
        "refresh_token" if issuer.refresh == part("refresh_token") => {
            Body(issuer.give(true)).into_response()
        }
        "refresh_token" => {
            issuer.stolen = true;
            issuer.end();
            refused("invalid_grant", "expired access/refresh token")
        }
        _ => refused("unsupported_grant_type", "grant type not supported"),
    }
}
