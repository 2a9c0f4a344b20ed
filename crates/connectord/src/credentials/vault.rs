//! Credentials out of a Vault (HashiCorp Vault, OpenBao), by its HTTP API: the secrets engine KV, version 2 or 1, and a
//! token from AppRole or from a file that an agent of the Vault keeps. What is read stays in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Client, Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use writ_proto::egress::{self, Named};
use zeroize::Zeroizing;

use super::source::{Slot, given};

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
const SAID_CHARS_MAX: usize = 200;
/// So long what a token may is what its role may.
const YOUNG: Duration = Duration::from_secs(600);
/// Paths that are asked for at the same time.
const AT_ONCE: usize = 8;
/// A token is asked for anew when less than this part of its life is left.
const LEFT_PART: u32 = 3;

/// Where a Vault is, and who we are there.
#[derive(Debug, Clone)]
pub struct Place {
    /// https, or http on loopback.
    pub addr: String,
    /// Certificate authority of the Vault, PEM; the machine's own if absent.
    pub ca: Option<PathBuf>,
    /// Namespace, or empty.
    pub namespace: String,
    /// Who we are.
    pub login: Login,
}

/// Who we are at a Vault.
#[derive(Debug, Clone)]
pub enum Login {
    /// A token that somebody keeps in a file, and renews.
    TokenFile(PathBuf),
    /// AppRole.
    AppRole {
        /// Where it is mounted, such as `approle`.
        mount: String,
        /// The role.
        role_id: String,
        /// File of its secret id.
        secret_id_file: PathBuf,
    },
}

/// A Vault, and the paths that are read there.
#[derive(Debug)]
pub struct Vault {
    place: Place,
    slots: Vec<Arc<Slot>>,
    client: Result<(Client, Url), String>,
    token: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    secret: SecretString,
    /// When it ends, and how long it lasts; none where it does not end, or others renew it.
    lasts: Option<(Instant, Duration)>,
    /// When it was given.
    made: Instant,
}

impl Token {
    /// One that somebody else renews.
    fn of(secret: SecretString) -> Self {
        Self {
            secret,
            lasts: None,
            made: Instant::now(),
        }
    }
}

/// Why nothing was read.
enum Failed {
    /// There is nothing for us, for certain.
    Gone(String),
    /// The token is not taken, or may not.
    Denied(String),
    /// Nobody knows.
    Away(String),
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// A secret whose version was deleted.
#[derive(Deserialize)]
struct Deleted {
    data: DeletedData,
}

#[derive(Deserialize)]
struct DeletedData {
    data: Option<serde::de::IgnoredAny>,
    #[serde(rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
}

/// Whether a 404 is the Vault's own word that there is nothing: a proxy before it has no such word.
fn is_nothing(body: &[u8]) -> bool {
    let none = serde_json::from_slice::<Errors>(body).is_ok_and(|said| said.errors.is_empty());
    none || serde_json::from_slice::<Deleted>(body).is_ok_and(|deleted| deleted.data.data.is_none())
}

type Parts = BTreeMap<String, Zeroizing<String>>;

/// KV version 2, which nests.
#[derive(Deserialize)]
struct Second {
    data: SecondData,
}

#[derive(Deserialize)]
struct SecondData {
    data: Parts,
    #[serde(rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
}

/// KV version 1.
#[derive(Deserialize)]
struct First {
    data: Parts,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Lease,
}

#[derive(Deserialize)]
struct Lease {
    client_token: Zeroizing<String>,
    lease_duration: u64,
}

#[derive(Serialize)]
struct AppRole<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

fn clean(text: &str) -> String {
    let plain = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(SAID_CHARS_MAX).collect()
}

/// A client that goes to that Vault and nowhere else.
fn client(place: &Place) -> Result<(Client, Url), String> {
    let url = Url::parse(&place.addr).map_err(|error| format!("vault.addr: {error}"))?;
    let host = url.host_str().ok_or("vault.addr: no host")?;
    match egress::check(Named {
        scheme: url.scheme(),
        host,
    }) {
        // It stands in one's own network.
        Ok(()) | Err("a private address") => {}
        Err(why) => return Err(format!("vault.addr: {why}")),
    }
    let mut built = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .no_proxy()
        .user_agent("writ-connectord");
    if let Some(ca) = &place.ca {
        let wrong = |why: &dyn core::fmt::Display| format!("vault.ca: {}: {why}", ca.display());
        let pem = std::fs::read(ca).map_err(|error| wrong(&error))?;
        let ca = Certificate::from_pem(&pem).map_err(|error| wrong(&error))?;
        built = built.tls_certs_only([ca]);
    }
    let client = built.build().map_err(|error| error.to_string())?;
    Ok((client, url))
}

/// The secret in an answer of KV, as named parts in JSON.
fn parts(body: &[u8]) -> Result<Option<SecretString>, String> {
    let second = serde_json::from_slice::<Second>(body).map(|second| second.data.data);
    let first = || serde_json::from_slice::<First>(body).map(|first| first.data);
    let parts = second.or_else(|_| first());
    let parts =
        parts.map_err(|_| "it holds something else than texts, each under a name".to_owned())?;
    let named: BTreeMap<&str, &str> = parts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let text = serde_json::to_string(&named).map_err(|error| error.to_string())?;
    Ok((!named.is_empty()).then(|| SecretString::from(text)))
}

impl Vault {
    /// Over the paths of these slots. Nothing is asked yet.
    #[must_use]
    pub fn new(place: Place, slots: Vec<Arc<Slot>>) -> Self {
        Self {
            client: client(&place),
            place,
            slots,
            token: Mutex::new(None),
        }
    }

    /// Asks for every path once, some at a time; whether all answered.
    pub async fn refresh(self: &Arc<Self>) -> bool {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut asked = JoinSet::new();
        for slot in &self.slots {
            let (vault, slot, places) = (Arc::clone(self), Arc::clone(slot), Arc::clone(&places));
            asked.spawn(async move {
                let _place = places.acquire_owned().await;
                vault.refresh_one(&slot).await
            });
        }
        let mut all = true;
        while let Some(answered) = asked.join_next().await {
            all &= answered.unwrap_or(false);
        }
        all
    }

    async fn refresh_one(&self, slot: &Slot) -> bool {
        let asked = Instant::now();
        match self.read(&slot.path).await {
            Ok(Some(secret)) => slot.put(secret, asked),
            Ok(None) => slot.gone("it holds nothing".to_owned()),
            Err(Failed::Gone(why)) => slot.gone(why),
            Err(Failed::Denied(why) | Failed::Away(why)) => {
                tracing::warn!(path = slot.path, "the Vault was not read: {why}");
                slot.away(&why);
                return false;
            }
        }
        true
    }

    /// Reads a path. A refusal says that the token is none, or that it may not: only of one that the Vault takes, and that
    /// is not old, it is said of the path.
    async fn read(&self, path: &str) -> Result<Option<SecretString>, Failed> {
        let token = self.token().await?;
        let why = match self.read_with(&token.secret, path).await {
            Err(Failed::Denied(why)) => why,
            other => return other,
        };
        let taken = self.call(
            Method::GET,
            "auth/token/lookup-self",
            Some(&token.secret),
            None,
        );
        let is_taken = match taken.await {
            Ok(_) => true,
            Err(Failed::Denied(_)) => false,
            Err(other) => return Err(other),
        };
        // What a token may was settled when it was given.
        let is_young = !self.logs_in() || token.made.elapsed() < YOUNG;
        if is_taken && is_young {
            return Err(Failed::Gone(why));
        }
        if !self.logs_in() {
            return Err(Failed::Denied(why));
        }
        self.give_up(&token).await;
        let token = self.token().await?;
        match self.read_with(&token.secret, path).await {
            Err(Failed::Denied(why)) if is_taken => Err(Failed::Gone(why)),
            other => other,
        }
    }

    async fn read_with(
        &self,
        token: &SecretString,
        path: &str,
    ) -> Result<Option<SecretString>, Failed> {
        let body = self.call(Method::GET, path, Some(token), None).await?;
        parts(&body).map_err(Failed::Away)
    }

    /// Forgets a token, unless another one took its place.
    async fn give_up(&self, token: &Token) {
        let mut held = self.token.lock().await;
        let same = held
            .as_ref()
            .is_some_and(|held| held.secret.expose_secret() == token.secret.expose_secret());
        if same {
            *held = None;
        }
    }

    const fn logs_in(&self) -> bool {
        matches!(self.place.login, Login::AppRole { .. })
    }

    /// A token that lasts a while still.
    async fn token(&self) -> Result<Token, Failed> {
        let (mount, role_id, secret_id_file) = match &self.place.login {
            Login::TokenFile(path) => return private(path).map(Token::of),
            Login::AppRole {
                mount,
                role_id,
                secret_id_file,
            } => (mount, role_id, secret_id_file),
        };
        let mut held = self.token.lock().await;
        let mut left = None;
        if let Some(token) = held.as_ref() {
            let lasts = token
                .lasts
                .map(|(end, life)| (end.saturating_duration_since(Instant::now()), life));
            match lasts {
                Some((remains, life)) if remains < life / LEFT_PART => {
                    if let Some(renewed) = self.renew(token, life).await {
                        *held = Some(renewed.clone());
                        return Ok(renewed);
                    }
                    left = (!remains.is_zero()).then(|| token.clone());
                }
                _ => return Ok(token.clone()),
            }
        }
        match self.log_in(mount, role_id, secret_id_file).await {
            Ok(token) => {
                *held = Some(token.clone());
                Ok(token)
            }
            // What is left of the old one is good still.
            Err(failed) => left.ok_or(failed),
        }
    }

    async fn log_in(
        &self,
        mount: &str,
        role_id: &str,
        secret_id_file: &Path,
    ) -> Result<Token, Failed> {
        let secret_id = private(secret_id_file)?;
        let login = AppRole {
            role_id,
            secret_id: secret_id.expose_secret(),
        };
        let body = serde_json::to_vec(&login).map(Zeroizing::new);
        let body = body.map_err(|error| Failed::Away(error.to_string()))?;
        let path = format!("auth/{mount}/login");
        match self.call(Method::POST, &path, None, Some(&body)).await {
            Err(Failed::Gone(why) | Failed::Denied(why)) => {
                Err(Failed::Away(format!("no token: {why}")))
            }
            answer => lease(&answer?),
        }
    }

    /// The same token for longer, where the Vault lets it live on for most of its life.
    async fn renew(&self, token: &Token, life: Duration) -> Option<Token> {
        let renewed = self
            .call(
                Method::POST,
                "auth/token/renew-self",
                Some(&token.secret),
                None,
            )
            .await;
        let renewed = lease(&renewed.ok()?).ok()?;
        let long = renewed
            .lasts
            .is_none_or(|(_, lasts)| lasts >= life / LEFT_PART);
        long.then(|| Token {
            lasts: renewed.lasts.map(|(end, _)| (end, life)),
            made: token.made,
            ..renewed
        })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&SecretString>,
        body: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let (client, base) = self
            .client
            .as_ref()
            .map_err(|why| Failed::Away(why.clone()))?;
        let mut url = base.clone();
        url.set_path(&format!("{}/v1/{path}", base.path().trim_end_matches('/')));
        let mut request = client
            .request(method, url)
            .header("x-vault-request", "true");
        if !self.place.namespace.is_empty() {
            request = request.header("x-vault-namespace", &self.place.namespace);
        }
        if let Some(token) = token {
            let marked = HeaderValue::from_str(token.expose_secret());
            let mut marked =
                marked.map_err(|_| Failed::Away("a token that is no text".to_owned()))?;
            marked.set_sensitive(true);
            request = request.header("x-vault-token", marked);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_vec());
        }
        let away = |error: reqwest::Error| Failed::Away(clean(&error.without_url().to_string()));
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status().as_u16();
        let mut bytes = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if bytes.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                return Err(Failed::Away("an answer that is too long".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        let said = || {
            let errors = serde_json::from_slice::<Errors>(&bytes)
                .map_or_else(|_| Vec::new(), |said| said.errors);
            clean(&format!("HTTP {status} {}", errors.join("; ")))
        };
        match status {
            200 => Ok(bytes),
            404 if is_nothing(&bytes) => Err(Failed::Gone(said())),
            403 if serde_json::from_slice::<Errors>(&bytes).is_ok() => Err(Failed::Denied(said())),
            _ => Err(Failed::Away(said())),
        }
    }
}

fn private(path: &Path) -> Result<SecretString, Failed> {
    given(path).map_err(|refusal| Failed::Away(refusal.detail))
}

/// The token in an answer to a login or a renewal.
fn lease(body: &[u8]) -> Result<Token, Failed> {
    let read = serde_json::from_slice::<LoggedIn>(body);
    let read = read.map_err(|_| Failed::Away("an answer without a token".to_owned()))?;
    let life = Duration::from_secs(read.auth.lease_duration);
    Ok(Token {
        secret: SecretString::from(read.auth.client_token.as_str()),
        // One that ends in a time that no clock knows does not end.
        lasts: Instant::now()
            .checked_add(life)
            .filter(|_| !life.is_zero())
            .map(|end| (end, life)),
        made: Instant::now(),
    })
}

#[cfg(test)]
mod tests;
