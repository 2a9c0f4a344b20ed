//! The halt state and who obeys it, in a store of its own: a folder of flag files, or Redis. It
//! imports nothing else of this crate, and needs no database, no policyd and no CRM.
//!
//! What cannot be read, or is not known for sure, is halted. Times come from the caller.

mod fields;
mod files;
mod mark;
mod redis;
mod room;
mod roster;
mod scope_text;
mod text;

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

pub use mark::HaltMark;
use mark::Mark;
use serde::{Deserialize, Serialize};
pub use writ_proto::scope::{Customer, Part, SCOPES, Scope, Subject};

pub use files::Files;
pub use redis::{Redis, RedisPlace};
pub use room::FULL;
pub use roster::{Drill, GONE_MS, Member, Probe, host};

/// Most flags at once; beyond that the state is not known.
pub const FLAGS_MAX: usize = 10_000;
/// Most processes in a roster.
pub const MEMBERS_MAX: usize = 1_000;
/// Most cleared halts that are kept to be told of.
pub const CLEARED_MAX: usize = 1_000;
/// How long a writ can outlive its issue, with room: what was halted since is remembered so long.
const WRIT_SECONDS_MAX: i64 = 600;
/// How old what a Redis said may be, where nothing else is said.
pub const STALENESS: Duration = Duration::from_secs(2);
/// Why an expired halt ended.
const TIME_OVER: &str = "its time was over";
/// Most scopes remembered for that; beyond it the epoch is raised, which kills every writ.
const RECENT_MAX: usize = 256;
/// Of one tenant.
const RECENT_OF_TENANT_MAX: usize = 64;
/// Most flags of parts of one tenant; halting all of it is always possible.
pub const FLAGS_OF_TENANT_MAX: usize = 1_000;
const ID_BYTES_MAX: usize = 64;

/// One halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// What it covers.
    #[serde(with = "scope_text", default = "Scope::global")]
    pub scope: Scope,
    /// Who, as `tenant/operator`, `budget`, `incident` or a user of the machine; empty for a file
    /// made by hand.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Unix seconds at which it was set.
    #[serde(default)]
    pub since: i64,
    /// The same in Unix milliseconds; 0 where it is not known so exactly.
    #[serde(default)]
    pub at_ms: i64,
    /// Unix seconds at which it ends by itself; 0 where it stays until it is cleared.
    #[serde(default)]
    pub until: i64,
    /// One for each act of halting, so that many watchers tell of it once.
    #[serde(default)]
    pub id: String,
}

impl Flag {
    /// A halt that stays until it is cleared.
    #[must_use]
    pub fn new(scope: Scope, act: &Act, id: impl Into<String>) -> Self {
        Self {
            scope,
            by: act.by.clone(),
            reason: act.reason.clone(),
            since: act.at,
            at_ms: 0,
            until: 0,
            id: id.into(),
        }
    }

    /// Whether it has its time: one that a hand made in Redis gets it a moment later.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.id != fields::HAND
    }

    /// The latest moment at which it can have been set, in Unix milliseconds.
    #[must_use]
    pub fn moment_ms(&self) -> i64 {
        if self.at_ms > 0 {
            self.at_ms
        } else {
            self.since.saturating_mul(1_000).saturating_add(999)
        }
    }
}

/// Who does something, why and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Act {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Unix seconds.
    pub at: i64,
}

/// A halt that was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// The halt.
    pub flag: Flag,
    /// Who ended it, why and when.
    pub act: Act,
}

/// A scope that was halted a short while ago, or still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// What was halted.
    #[serde(with = "scope_text")]
    pub scope: Scope,
    /// Unix milliseconds: a writ for it that was issued then or earlier is dead.
    pub at_ms: i64,
}

/// What is halted right now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HaltState {
    /// Raised by every global halt; a writ of another epoch is refused. Never goes back.
    pub epoch: u64,
    /// Counts changes made through a program. Never goes back.
    pub generation: u64,
    /// Halts in force, sorted by scope.
    pub flags: Vec<Flag>,
    /// What was halted lately, whether or not it still is.
    pub recent: Vec<Recent>,
}

impl HaltState {
    /// The first halt that covers a call.
    #[must_use]
    pub fn covering(&self, subject: &Subject<'_>) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.scope.covers(subject))
    }

    /// The scope whose halt killed a writ of a call, issued at some Unix millisecond.
    #[must_use]
    pub fn revoking(&self, subject: &Subject<'_>, issued_ms: i64) -> Option<&Scope> {
        let kills = |recent: &&Recent| issued_ms <= recent.at_ms && recent.scope.covers(subject);
        self.recent.iter().find(kills).map(|recent| &recent.scope)
    }

    /// The halt of exactly a scope. Where several flags stand for it, as after a lock that could not be had, it bears the
    /// ids of all.
    #[must_use]
    pub fn standing(&self, scope: &Scope) -> Option<Flag> {
        let same = self.flags.iter().filter(|flag| flag.scope == *scope);
        as_one(same)
    }

    /// The halts that somebody of a tenant may know of.
    pub fn concerning<'a>(&'a self, tenant: &'a str) -> impl Iterator<Item = &'a Flag> {
        self.flags.iter().filter(|flag| flag.scope.concerns(tenant))
    }
}

/// The flags of one scope as one that bears the ids of all.
fn as_one<'a>(flags: impl Iterator<Item = &'a Flag>) -> Option<Flag> {
    let mut all: Vec<&Flag> = flags.collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let ids: Vec<&str> = all.iter().map(|flag| flag.id.as_str()).collect();
    let first = all.first().copied()?;
    Some(Flag {
        id: ids.join(" "),
        ..first.clone()
    })
}

/// Why the state is not known, or could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HaltError(pub String);

/// Where halts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of flag files.
    Folder(PathBuf),
    /// A Redis.
    Redis(RedisPlace),
}

impl Place {
    /// The same place for somebody else than the daemon, whose file that is.
    #[must_use]
    pub fn without_epoch_file(self) -> Self {
        match self {
            Self::Redis(mut redis) => {
                redis.epoch_file = None;
                Self::Redis(redis)
            }
            folder @ Self::Folder(_) => folder,
        }
    }

    /// Reads `file://FOLDER` or `redis://HOST:PORT/DB`.
    ///
    /// # Errors
    /// When the text is of another form, or a Redis that may not be used.
    pub fn parse(text: &str) -> Result<Self, HaltError> {
        if let Some(folder) = text.strip_prefix("file://").filter(|name| !name.is_empty()) {
            return Ok(Self::Folder(PathBuf::from(folder)));
        }
        if !text.starts_with("redis") {
            let why = format!("`{text}` is not file://FOLDER or redis://HOST:PORT/DB");
            return Err(HaltError(why));
        }
        RedisPlace::check(text)?;
        Ok(Self::Redis(RedisPlace {
            url: text.to_owned(),
            max_staleness: STALENESS,
            epoch_file: None,
        }))
    }
}

/// The store.
#[derive(Debug, Clone)]
pub enum HaltStore {
    /// A folder of flag files.
    Files(Files),
    /// A Redis.
    Redis(Redis),
}

impl HaltStore {
    /// The store at a place.
    ///
    /// # Errors
    /// When it can never be used; one that is only away is opened, and is not known until it is
    /// back.
    pub async fn open(place: &Place) -> Result<Self, HaltError> {
        match place {
            Place::Folder(folder) => Ok(Self::Files(Files::new(folder.clone()))),
            Place::Redis(place) => Redis::open(place).await.map(Self::Redis),
        }
    }

    /// Reads the state; what has expired at `now` (Unix seconds) is left out. Cheap enough for
    /// every call.
    ///
    /// # Errors
    /// When any part of it is not known: callers treat that as halted.
    pub fn read(&self, now: i64) -> Result<Arc<HaltState>, HaltError> {
        match self {
            Self::Files(files) => files.read(now),
            Self::Redis(redis) => redis.read(now).map(Arc::new),
        }
    }

    /// The same, with a look of its own: nothing is answered from one that was kept. What is written into a flag
    /// that halts already may be seen a moment later.
    ///
    /// # Errors
    /// As with [`Self::read`].
    pub fn look(&self, now: i64) -> Result<HaltState, HaltError> {
        match self {
            Self::Files(files) => files.look(now),
            Self::Redis(redis) => redis.read(now),
        }
    }

    /// Sets a halt, durably. A global one raises the epoch; every one kills the writs of its scope
    /// that were issued before it. One that stands is not ended by another one that ends earlier: resuming
    /// takes a reason.
    ///
    /// # Errors
    /// When it could not be made durable; it may halt all the same.
    pub async fn set(&self, flag: &Flag) -> Result<HaltState, HaltError> {
        match self {
            Self::Files(files) => {
                let flag = flag.clone();
                blocking(files, move |files| files.set(&flag)).await
            }
            Self::Redis(redis) => redis.set(flag).await,
        }
    }

    /// Ends a halt; gives the state after it, and the halt if it was set. The epoch stays.
    ///
    /// # Errors
    /// When the state is not known or could not be changed.
    pub async fn clear(
        &self,
        scope: &Scope,
        act: &Act,
    ) -> Result<(HaltState, Option<Flag>), HaltError> {
        self.clear_if(scope, act, None).await
    }

    /// The same of the halt that was seen, not of one that somebody sets while this waits. Where the state could not be read
    /// whole, and cannot be now, whatever there is of the scope is ended.
    ///
    /// # Errors
    /// As with [`Self::clear`].
    pub async fn clear_standing(
        &self,
        scope: &Scope,
        act: &Act,
        seen: Option<Arc<HaltState>>,
    ) -> Result<(HaltState, Option<Flag>), HaltError> {
        let Some(state) = seen else {
            return match self.read(act.at) {
                Ok(state) => Ok((Arc::unwrap_or_clone(state), None)),
                Err(_) => self.clear(scope, act).await,
            };
        };
        match state.standing(scope) {
            Some(standing) => self.clear_if(scope, act, Some(&standing)).await,
            // What is there by now was not seen: it is told, and stays.
            None => match self {
                Self::Files(files) => Ok((files.look(act.at)?, None)),
                Self::Redis(redis) => Ok((redis.look(act.at).await?, None)),
            },
        }
    }

    /// The same, if it is still the expected one ([`HaltState::standing`]); nothing is ended otherwise.
    ///
    /// # Errors
    /// As with [`Self::clear`].
    pub async fn clear_if(
        &self,
        scope: &Scope,
        act: &Act,
        expected: Option<&Flag>,
    ) -> Result<(HaltState, Option<Flag>), HaltError> {
        match self {
            Self::Files(files) => {
                let (scope, act, expected) = (scope.clone(), act.clone(), expected.cloned());
                let work = move |files: &Files| files.clear(&scope, &act, expected.as_ref());
                blocking(files, work).await
            }
            Self::Redis(redis) => redis.clear(scope, act, expected).await,
        }
    }

    /// Ends what has expired at `now`, and takes account of flags that were made by hand: they
    /// kill the writs issued before them too.
    ///
    /// # Errors
    /// When the state is not known or could not be changed.
    pub async fn tend(&self, now: i64) -> Result<(), HaltError> {
        match self {
            Self::Files(files) => blocking(files, move |files| files.tend(now)).await,
            Self::Redis(redis) => redis.tend(now).await,
        }
    }

    /// Says that a store which lost or never had its data is right as it stands: writes go on,
    /// unless a flag is set. The epoch rises above every earlier one.
    ///
    /// # Errors
    /// When the flags cannot be read, or the store could not be changed.
    pub async fn arm(&self, act: &Act) -> Result<HaltState, HaltError> {
        match self {
            Self::Files(files) => {
                let act = act.clone();
                blocking(files, move |files| files.arm(&act)).await
            }
            Self::Redis(redis) => redis.arm(act).await,
        }
    }

    /// The latest halts that were ended, at most [`CLEARED_MAX`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn cleared(&self) -> Result<Vec<Cleared>, HaltError> {
        match self {
            Self::Files(files) => blocking(files, Files::cleared).await,
            Self::Redis(redis) => redis.cleared().await,
        }
    }

    /// Asks every connectord to answer a nonce.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn probe(&self, probe: &Probe) -> Result<(), HaltError> {
        match self {
            Self::Files(files) => {
                let probe = probe.clone();
                blocking(files, move |files| files.probe(&probe)).await
            }
            Self::Redis(redis) => redis.probe(probe).await,
        }
    }

    /// The latest nonce that was asked for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn asked(&self) -> Result<Option<Probe>, HaltError> {
        match self {
            Self::Files(files) => files.asked(),
            Self::Redis(redis) => Ok(redis.asked()),
        }
    }

    /// Writes a connectord's entry.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn enroll(&self, member: &Member) -> Result<(), HaltError> {
        match self {
            Self::Files(files) => {
                let member = member.clone();
                blocking(files, move |files| files.enroll(&member)).await
            }
            Self::Redis(redis) => redis.enroll(member).await,
        }
    }

    /// Removes a connectord's entry.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn leave(&self, instance: &str) -> Result<(), HaltError> {
        match self {
            Self::Files(files) => {
                let instance = instance.to_owned();
                blocking(files, move |files| files.leave(&instance)).await
            }
            Self::Redis(redis) => redis.leave(instance).await,
        }
    }

    /// Every connectord of the store, sorted by instance. One that has not been seen for
    /// [`GONE_MS`] is left out; one that is silent for a shorter time is not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn roster(&self, now_ms: i64) -> Result<Vec<Member>, HaltError> {
        match self {
            Self::Files(files) => blocking(files, move |files| files.roster(now_ms)).await,
            Self::Redis(redis) => redis.roster(now_ms).await,
        }
    }

    /// Asks every connectord to answer a fresh nonce and waits until all did, or for `patience`.
    /// Who answers has read the state after the nonce was written: a halt set before it is known.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn drill(
        &self,
        nonce: &str,
        now_ms: fn() -> i64,
        patience: Duration,
    ) -> Result<Drill, HaltError> {
        roster::drill(self, nonce, now_ms, patience).await
    }
}

async fn blocking<T: Send + 'static>(
    files: &Files,
    work: impl FnOnce(&Files) -> Result<T, HaltError> + Send + 'static,
) -> Result<T, HaltError> {
    let files = files.clone();
    let done = tokio::task::spawn_blocking(move || work(&files)).await;
    done.map_err(|error| HaltError(error.to_string()))?
}

/// No writ that was issued before lives at `now`, in Unix milliseconds.
const fn oldest_ms(now: i64) -> i64 {
    now.saturating_sub(WRIT_SECONDS_MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
