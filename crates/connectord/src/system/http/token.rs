//! The token of OAuth that a connection shows: kept in memory, asked for by one call at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::{Client, Url};
use secrecy::SecretString;
use serde_json::Value as Json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use writ_proto::Reason;

use super::client::{CallError, read, without_url};
use crate::clock;
use crate::credentials::auth::Auth;
use crate::credentials::oauth::{Given, Grant, Held, OAuth2, REFUSED_FOR, Token, next_refresh};
use crate::credentials::{Credential, Turn};
use crate::domain::gate::Refusal;
use crate::system::file::{Answer, Bound, clean};

/// Longest text of an issuer that is told.
const SAID_CHARS_MAX: usize = 200;

/// How long an issuer that did not answer is not asked again.
const AWAY_FOR: Duration = Duration::from_secs(3);
/// How long an issuer has to answer: whoever gives up earlier loses a refresh token that is good once.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How long the end of this process tries to store what could not be stored before.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of this process waits for what is under way: an answer, and the lock under which it is stored.
const SETTLED_WITHIN: Duration = Duration::from_secs(55);

/// Who gives the tokens of a connection.
#[derive(Debug)]
pub(super) struct Issuer {
    client: Client,
    url: Url,
    /// What an answer may say that the token is for.
    origin: String,
    credential: Credential,
    oauth: OAuth2,
    held: Mutex<Held<CallError>>,
    /// Whether the process ends.
    process: &'static UnderWays,
}

/// What an issuer said (RFC 6749 5.2). What must not be seen is taken out before anything is cut: a part of it would
/// not be known again.
fn said(answer: &Answer, hide: impl Fn(&str) -> String) -> String {
    let text = |name: &str| {
        let body = answer.body.as_ref()?;
        let text = body.get(name)?.as_str()?;
        // Once more: what stood between its characters is gone now.
        Some(hide(&clean(&hide(text))))
    };
    let words = [
        Some(answer.described()),
        text("error"),
        text("error_description"),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    words.join(": ").chars().take(SAID_CHARS_MAX).collect()
}

/// Nothing of a request for a token changes a record, so an answer that is lost is no doubt.
fn no_token(why: &dyn core::fmt::Display) -> CallError {
    CallError::NotSent(format!("no token: {why}"))
}

fn refused(refusal: &Refusal) -> CallError {
    let why = format!("{} {}", refusal.reason.code(), refusal.detail);
    if refusal.reason == Reason::CredentialMissing {
        return CallError::Denied(why);
    }
    no_token(&why)
}

impl Issuer {
    /// The issuer of a connection; none where the credential itself is shown. `url` makes an address of
    /// a path under the base URL.
    ///
    /// # Errors
    /// When the path leads elsewhere.
    pub(super) fn of(
        bound: &Bound,
        (client, credential, origin): (&Client, &Credential, &str),
        url: impl Fn(&str) -> Result<Url, String>,
    ) -> Result<Option<Arc<Self>>, String> {
        let Auth::OAuth2(oauth) = &bound.auth else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Self {
            client: client.clone(),
            url: url(&oauth.path)?,
            origin: origin.to_owned(),
            credential: credential.clone(),
            oauth: (**oauth).clone(),
            held: Mutex::default(),
            process: &UNDER_WAY,
        })))
    }

    /// The token to show. `worn` is one that the system did not take.
    ///
    /// # Errors
    /// When the issuer gives none.
    pub(super) async fn token(self: &Arc<Self>, worn: Option<u64>) -> Result<Token, CallError> {
        if let Ok(held) = self.held.try_lock()
            && let Some(token) = held.usable(worn)
        {
            return Ok(token.clone());
        }
        let own = Arc::clone(self);
        let under_way = UnderWay::begin()?;
        // A caller that hangs up ends neither the request nor what has to be stored of its answer; nor does the end of
        // the threads that serve callers.
        let runtime = LASTS.get().cloned();
        let runtime = runtime.unwrap_or_else(Handle::current);
        let asked = runtime.spawn(async move {
            let next = own.next(worn).await;
            drop(under_way);
            next
        });
        asked.await.map_err(|error| no_token(&error))?
    }

    async fn next(&self, worn: Option<u64>) -> Result<Token, CallError> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.usable(worn) {
            return Ok(token.clone());
        }
        if let Some(error) = held.refused() {
            return Err(error);
        }
        if !held.replaces(worn) {
            let why = "the system does not take the token that its issuer has just given";
            return Err(CallError::Denied(why.to_owned()));
        }
        let asked = self.asked().await;
        if let Err(error) = &asked {
            let span = match error {
                CallError::Denied(_) => REFUSED_FOR,
                _ => AWAY_FOR,
            };
            held.refuse(error.clone(), span);
        }
        asked.map(|given| held.take(given))
    }

    async fn asked(&self) -> Result<Given, CallError> {
        let own = self.credential.clone();
        if let Err(gone) = blocking(move || own.stands()).await {
            // What came of a credential that is gone is of no use to anybody, and others wait for the turn.
            if matches!(gone, CallError::Denied(_)) {
                drop(unsaved().remove(&self.credential.slot()));
            }
            return Err(gone);
        }
        // So is what came of one whose place this credential has taken; nobody replaces it while that is let go.
        let (own, of) = self.credential.slot();
        let is_older = move |(connection, other): &Slot| *connection == own && *other != of;
        if unsaved().keys().any(&is_older) {
            let own = self.credential.clone();
            let let_go = move || unsaved().retain(|slot, _| !is_older(slot));
            blocking(move || own.while_it_stands(let_go)).await?;
        }
        let body = match self.oauth.grant {
            Grant::RefreshToken => self.refreshed().await?,
            _ => self.answer(None).await?,
        };
        let given = self.oauth.given(&body, &self.origin);
        given.map_err(CallError::Denied)
    }

    /// Shows the newest refresh token, and stores the one that takes its place before anything else
    /// is done: the issuer may have forgotten the old one already. Processes that share the sealed
    /// file do this one after the other, since a token that is shown twice is taken for stolen.
    async fn refreshed(&self) -> Result<Json, CallError> {
        let left = unsaved().remove(&self.credential.slot());
        let turn = match left {
            Some(left) => kept(left).await?,
            None => {
                let own = self.credential.clone();
                blocking(move || own.turn()).await?
            }
        };
        UnderWay::goes_on(self.process)?;
        let own = self.credential.clone();
        let newer = blocking(move || own.newer()).await?;
        // It may have been waited for: what is not asked for is not lost.
        UnderWay::goes_on(self.process)?;
        let body = self.answer(newer.as_ref()).await?;
        if let Some(refresh) = next_refresh(&body).map_err(CallError::Denied)? {
            let credential = self.credential.clone();
            drop(
                kept(Unsaved {
                    credential,
                    refresh,
                    turn,
                })
                .await?,
            );
        }
        Ok(body)
    }

    async fn answer(&self, refresh: Option<&SecretString>) -> Result<Json, CallError> {
        // The clock that never goes back may be ahead of that of the issuer.
        let now = clock::of_machine().timestamp();
        let request = self.client.post(self.url.clone());
        let request = request.timeout(ANSWERS_WITHIN);
        let request = self.credential.ask(request, &self.oauth, (now, refresh));
        let request = request.map_err(|why| no_token(&why))?;
        let response = request.send().await;
        let response = response.map_err(|error| no_token(&without_url(error)))?;
        let answer = match read(response, &[]).await {
            Ok(answer) => answer,
            Err(CallError::Lost(why)) => return Err(no_token(&why)),
            Err(other) => return Err(other),
        };
        let hide = |text: &str| self.credential.hidden_from(text, &self.oauth, refresh);
        let said = said(&answer, hide);
        match (answer.status, answer.body) {
            (200, Some(body)) => Ok(body),
            // Who asks too often is asked to wait as long as who is refused.
            (400 | 401 | 403, Some(_)) | (429, _) => Err(CallError::Denied(said)),
            _ => Err(no_token(&said)),
        }
    }
}

/// A refresh token that could not be stored yet. Only this process has it, and the one in the file is used up: until it
/// is stored nobody else has the turn. It outlives the connection that is made anew when its file changes.
struct Unsaved {
    credential: Credential,
    refresh: SecretString,
    turn: Turn,
}

/// Connection and credential.
type Slot = (String, [u8; 32]);
type Left = BTreeMap<Slot, Unsaved>;

static UNSAVED: LazyLock<StdMutex<Left>> = LazyLock::new(StdMutex::default);

fn unsaved() -> MutexGuard<'static, Left> {
    // What a panic left is a map, whole.
    UNSAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One is stored after the other, each to its end: what is stored late would take the place of a newer one.
static STORING: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// Stores a refresh token and gives the turn back, or keeps both.
async fn kept(left: Unsaved) -> Result<Turn, CallError> {
    let turn = put_down(left).await?;
    turn.ok_or_else(|| no_token(&"another call of this process has the turn"))
}

/// The same; no turn where another call took what was to be stored.
async fn put_down(left: Unsaved) -> Result<Option<Turn>, CallError> {
    let slot = left.credential.slot();
    // First of all, so that it is there at the end of the process, whatever this waits for.
    unsaved().insert(slot.clone(), left);
    let one = Arc::clone(&STORING).lock_owned().await;
    let turn = blocking(move || {
        let _one = one;
        stored(&slot)
    });
    turn.await
}

/// Stores what is left; nothing where another call has. What came of a credential that is gone is not kept: the turn
/// is that of its connection, which may have another one by now.
fn stored(slot: &Slot) -> Result<Option<Turn>, Refusal> {
    let of = |left: &Unsaved| (left.credential.clone(), left.refresh.clone());
    let Some((credential, refresh)) = unsaved().get(slot).map(of) else {
        return Ok(None);
    };
    let stored = credential.renew(&refresh);
    if let Err(refusal) = &stored
        && refusal.reason != Reason::CredentialMissing
    {
        return Err(refusal.clone());
    }
    let left = unsaved().remove(slot);
    stored?;
    Ok(left.map(|left| left.turn))
}

/// What runs as long as the process.
static LASTS: OnceLock<Handle> = OnceLock::new();

/// Says that this runtime is the one that lasts; the first one that is said to be is.
pub fn lasts() {
    drop(LASTS.set(Handle::current()));
}

/// How many requests for tokens are under way in a process, and whether it ends.
type UnderWays = watch::Sender<(usize, bool)>;

/// Those of this process.
static UNDER_WAY: LazyLock<UnderWays> = LazyLock::new(|| watch::Sender::new((0, false)));

/// One of them, until it is dropped.
struct UnderWay;

impl UnderWay {
    /// Where the process ends, nothing is begun.
    fn begin() -> Result<Self, CallError> {
        Self::goes_on(&UNDER_WAY)?;
        UNDER_WAY.send_modify(|(count, _)| *count = count.saturating_add(1));
        Ok(Self)
    }

    fn goes_on(process: &UnderWays) -> Result<(), CallError> {
        let (_, ends) = *process.borrow();
        if ends {
            return Err(no_token(&"this process is ending"));
        }
        Ok(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.send_modify(|(count, _)| *count = count.saturating_sub(1));
    }
}

/// Begins no further request, and waits until what issuers were asked for is stored, but not for ever: the last thing a
/// process does.
pub async fn settled() {
    UNDER_WAY.send_modify(|(_, ends)| *ends = true);
    let mut count = UNDER_WAY.subscribe();
    let none = count.wait_for(|(count, _)| *count == 0);
    drop(tokio::time::timeout(SETTLED_WITHIN, none).await);
    let left = std::mem::take(&mut *unsaved());
    let mut all = tokio::task::JoinSet::new();
    for left in left.into_values() {
        all.spawn(stored_at_last(left));
    }
    while all.join_next().await.is_some() {}
}

async fn stored_at_last(left: Unsaved) {
    let connection = left.credential.slot().0;
    let error = match tokio::time::timeout(STORED_WITHIN, put_down(left)).await {
        Ok(Ok(_) | Err(CallError::Denied(_))) => return,
        Ok(Err(error)) => error.to_string(),
        Err(late) => late.to_string(),
    };
    tracing::error!(
        error,
        connection,
        "a refresh token could not be stored; if it cannot be before this process has ended, authorize anew"
    );
}

/// Work on files, apart from the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, CallError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| no_token(&error))?;
    done.map_err(|refusal| refused(&refusal))
}

#[cfg(test)]
mod tests;
