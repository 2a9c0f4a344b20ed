//! OAuth 2.0 as a client (RFC 6749, RFC 7523): how a token is asked for with a sealed credential,
//! what an answer must hold, and the token in use. Nothing here speaks HTTP.

mod assertion;

use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::Credential;

/// Longest token that is taken, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// Longest time a token is used, whatever its issuer says.
pub const LIVES_MAX: Duration = Duration::from_secs(24 * 3_600);
/// So much earlier than its end a token is asked for anew.
const EARLIER: Duration = Duration::from_secs(30);
/// Longest time that a refusal of the issuer stands before it is asked again: some lock who asks too often.
pub const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Parts of a credential that are no secret.
const PUBLIC: [&str; 2] = ["client_id", "username"];

/// Which grant a token is asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// RFC 6749 4.4.
    ClientCredentials,
    /// RFC 7523 2.1, with the `aud` of the assertion.
    JwtBearer(String),
    /// RFC 6749 6; the issuer may give another refresh token each time.
    RefreshToken,
}

impl Grant {
    /// The parts that its credential has.
    #[must_use]
    pub const fn parts(&self) -> &'static [&'static str] {
        match self {
            Self::ClientCredentials => &["client_id", "client_secret"],
            Self::JwtBearer(_) => &["client_id", "username", "private_key"],
            Self::RefreshToken => &["client_id", "client_secret", "refresh_token"],
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// How a token is asked for, as a system file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2 {
    /// Path of the token endpoint under the base URL.
    pub path: String,
    /// With what.
    pub grant: Grant,
    /// Client and secret go as `Authorization: Basic`, else in the form (RFC 6749 2.3.1).
    pub basic: bool,
    /// What the token may do; nothing is sent where it is empty.
    pub scope: String,
    /// Pointer to where the answer names the address that the token is for: it must be the base URL's.
    pub origin_at: Option<String>,
    /// How long a token is used where the answer does not say.
    pub lives: Duration,
    /// The header that the system takes a token in; `Authorization: Bearer` (RFC 6750) where there is none.
    pub header: Option<String>,
    /// Names of the parts of the credential, in their order.
    pub parts: Vec<String>,
}

/// A token that was given.
#[derive(Clone)]
pub struct Token {
    value: Arc<SecretString>,
    header: Option<String>,
    until: Instant,
    number: u64,
}

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Token({})", self.number)
    }
}

impl Token {
    /// Puts it on a request.
    pub fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        let value = self.value.expose_secret();
        let Some(name) = &self.header else {
            return request.bearer_auth(value);
        };
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request.header(name.as_str(), value)
            }
            // A token is plain ASCII, so there is none of this kind.
            Err(_) => request,
        }
    }

    /// Which of the tokens of this connection it is.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// What an answer of the issuer holds.
#[derive(Debug)]
pub struct Given {
    token: SecretString,
    header: Option<String>,
    lives: Duration,
}

/// Why no token is there, and until when that stands.
#[derive(Debug)]
struct Refused<E> {
    until: Instant,
    error: E,
}

/// The token in use; who holds the lock asks for the next one.
#[derive(Debug)]
pub struct Held<E> {
    token: Option<Token>,
    refused: Option<Refused<E>>,
    /// How many were given.
    count: u64,
    /// When a token was last asked for because the system did not take the one before.
    replaced: Option<Instant>,
}

impl<E> Default for Held<E> {
    fn default() -> Self {
        Self {
            token: None,
            refused: None,
            count: 0,
            replaced: None,
        }
    }
}

impl<E: Clone> Held<E> {
    /// The token in use, unless its time is over or it is the one that the system did not take.
    #[must_use]
    pub fn usable(&self, worn: Option<u64>) -> Option<&Token> {
        let token = self.token.as_ref()?;
        let fresh = worn != Some(token.number) && Instant::now() < token.until;
        fresh.then_some(token)
    }

    /// Whether a token that the system did not take is to be replaced. A moment after the last one that
    /// took the place of such a token another one would not help.
    pub fn replaces(&mut self, worn: Option<u64>) -> bool {
        let own = self.token.as_ref().map(Token::number);
        if worn.is_none() || worn != own {
            return true;
        }
        let long_ago = self
            .replaced
            .is_none_or(|last| last.elapsed() >= REFUSED_FOR);
        // What was not asked for holds nothing up.
        if long_ago {
            self.replaced = Some(Instant::now());
        }
        long_ago
    }

    /// What became of it a moment ago, and still would.
    #[must_use]
    pub fn refused(&self) -> Option<E> {
        let refused = self.refused.as_ref()?;
        (Instant::now() < refused.until).then(|| refused.error.clone())
    }

    /// Keeps what became of it for so long. A token that others still use stays.
    pub fn refuse(&mut self, error: E, span: Duration) {
        let until = Instant::now() + span.min(REFUSED_FOR);
        self.refused = Some(Refused { until, error });
    }

    /// Takes a token into use.
    pub fn take(&mut self, given: Given) -> Token {
        self.count = self.count.saturating_add(1);
        self.refused = None;
        let lives = given.lives.min(LIVES_MAX);
        let token = Token {
            value: Arc::new(given.token),
            header: given.header,
            until: Instant::now() + lives.saturating_sub(EARLIER.min(lives / 2)),
            number: self.count,
        };
        self.token = Some(token.clone());
        token
    }
}

/// A text of an answer that can be shown to a system again (RFC 6749 appendix A): bytes from `least` on.
fn token_text(body: &Json, name: &str, least: u8) -> Option<SecretString> {
    let text = body.get(name)?.as_str()?;
    let plain = (1..=TOKEN_BYTES_MAX).contains(&text.len());
    let plain = plain && text.bytes().all(|byte| (least..=0x7e).contains(&byte));
    plain.then(|| SecretString::from(text.to_owned()))
}

/// The refresh token that takes the place of the one that was shown. It is kept whatever else the answer
/// holds: the issuer may have forgotten the old one.
///
/// # Errors
/// When there is one, and it can be no token.
pub fn next_refresh(body: &Json) -> Result<Option<SecretString>, String> {
    match body.get("refresh_token") {
        None | Some(Json::Null) => Ok(None),
        Some(_) => match token_text(body, "refresh_token", b' ') {
            Some(refresh) => Ok(Some(refresh)),
            None => Err("the answer holds a refresh token that cannot be one".to_owned()),
        },
    }
}

impl OAuth2 {
    /// What an answer gives.
    ///
    /// # Errors
    /// What it lacks, without anything of a token.
    pub fn given(&self, body: &Json, origin: &str) -> Result<Given, String> {
        let kind = body.get("token_type").and_then(Json::as_str);
        let is_bearer = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        // A token for a header of the system's own need not say of which type it is.
        let is_own = self.header.is_some() && body.get("token_type").is_none();
        if !is_bearer && !is_own {
            return Err("the answer holds no token of the type Bearer".to_owned());
        }
        if let Some(at) = &self.origin_at {
            let named = body.pointer(at).and_then(Json::as_str);
            let named = named.and_then(|named| Url::parse(named).ok());
            if named
                .map(|named| named.origin().ascii_serialization())
                .as_deref()
                != Some(origin)
            {
                return Err(format!("the token is for another address: {at}"));
            }
        }
        let token = token_text(body, "access_token", b'!');
        let token = token.ok_or("the answer holds no access_token")?;
        let seconds = match body.get("expires_in") {
            None | Some(Json::Null) => None,
            Some(Json::Number(number)) => number.as_f64(),
            // RFC 6749 wants a number; some send its digits.
            Some(text) => text.as_str().and_then(|text| text.parse().ok()),
        };
        // Zero is how some say "for ever", and would mean a request for each call.
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        let lives =
            seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LIVES_MAX));
        Ok(Given {
            token,
            header: self.header.clone(),
            lives: lives.unwrap_or(self.lives),
        })
    }
}

/// A pair of a form, percent-encoded.
fn pair(out: &mut Zeroizing<String>, name: &str, value: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    let encoded = Zeroizing::new(utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
    out.push_str(name);
    out.push('=');
    out.push_str(&encoded);
}

impl Credential {
    /// A text of an issuer without anything of what was shown to it: some repeat what they refuse.
    #[must_use]
    pub fn hidden_from(
        &self,
        text: &str,
        oauth: &OAuth2,
        refresh: Option<&SecretString>,
    ) -> String {
        let parts = self.parts(&oauth.parts);
        let named = oauth.parts.iter().zip(&parts);
        let secret = named.filter(|(name, _)| !PUBLIC.contains(&name.as_str()));
        let secret = secret.map(|(_, part)| part.as_str());
        let shown = secret.chain(refresh.map(|refresh| refresh.expose_secret()));
        let shown = shown.filter(|part| !part.is_empty());
        shown.fold(text.to_owned(), |text, part| text.replace(part, "***"))
    }

    /// Puts what asks for a token on a request to the issuer. `refresh` is the newest refresh token, if
    /// the sealed one was replaced.
    ///
    /// # Errors
    /// Which part of the credential cannot be used.
    pub fn ask(
        &self,
        request: RequestBuilder,
        oauth: &OAuth2,
        (now, refresh): (i64, Option<&SecretString>),
    ) -> Result<RequestBuilder, String> {
        let parts = self.parts(&oauth.parts);
        let part = |name: &str| {
            let at = oauth.parts.iter().position(|known| known == name);
            let part = at.and_then(|at| parts.get(at));
            part.ok_or_else(|| format!("the credential has no part {name}"))
        };
        let mut form = Zeroizing::new(String::new());
        pair(&mut form, "grant_type", oauth.grant.name());
        match &oauth.grant {
            Grant::ClientCredentials => {}
            Grant::RefreshToken => match refresh {
                Some(newer) => pair(&mut form, "refresh_token", newer.expose_secret()),
                None => pair(&mut form, "refresh_token", part("refresh_token")?),
            },
            Grant::JwtBearer(audience) => {
                let names = assertion::Names {
                    issuer: part("client_id")?,
                    subject: part("username")?,
                    audience,
                };
                let signed = assertion::signed(&names, part("private_key")?, now)?;
                pair(&mut form, "assertion", &signed);
            }
        }
        if !oauth.scope.is_empty() {
            pair(&mut form, "scope", &oauth.scope);
        }
        let mut request = request;
        if !matches!(oauth.grant, Grant::JwtBearer(_)) {
            let (client, secret) = (part("client_id")?, part("client_secret")?);
            if oauth.basic {
                request = request.header(AUTHORIZATION, basic(client, secret)?);
            } else {
                pair(&mut form, "client_id", client);
                pair(&mut form, "client_secret", secret);
            }
        }
        Ok(request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form.as_bytes().to_vec()))
    }
}

/// Client and secret, each encoded as in a form before they are joined (RFC 6749 2.3.1).
fn basic(client: &str, secret: &str) -> Result<HeaderValue, String> {
    use base64::Engine as _;
    let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let joined = Zeroizing::new(format!("{}:{}", encoded(client), encoded(secret)));
    let text = base64::engine::general_purpose::STANDARD.encode(joined.as_bytes());
    let value = HeaderValue::from_str(&format!("Basic {text}"));
    let mut value = value.map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

/// What stays as it is in a form (RFC 3986 2.3).
const UNRESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests;
