//! Halts in Redis, for many replicas: one hash that is read whole, so that it is there whole or
//! not at all, and changed by scripts, so that a change is made whole or not at all.
//!
//! A Redis without the positive `armed` field lost its data or never had any: not known. What was
//! read longer ago than `max_staleness` is not known either.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Pipeline};
use tokio::time::Instant;

use writ_proto::host::store::durable;
use writ_proto::host::store::owner::folder_of;

pub use place::RedisPlace;

use super::fields::{Fields, HAND, flags, parse};
use super::mark::ARM_AHEAD_SECONDS;
use super::roster::GONE_MS;
use super::{
    Act, CLEARED_MAX, Cleared, Flag, HaltError, HaltMark, HaltState, MEMBERS_MAX, Member, Probe,
    Scope,
};
use crate::ids;

mod place;

/// In braces, so that a cluster keeps them in one place.
const STATE: &str = "{writ}:halt";
const PROBE: &str = "{writ}:halt:probe";
const MEMBERS: &str = "{writ}:halt:members";
const CLEARED: &str = "{writ}:halt:cleared";
const KEPT_SECONDS: u64 = 3_600;
const PERIOD_MAX: Duration = Duration::from_millis(50);
const ANSWER_MAX: Duration = Duration::from_millis(500);

const SET: &str = include_str!("set.lua");
const CLEAR: &str = include_str!("clear.lua");
const ARM: &str = include_str!("arm.lua");

/// A Redis and what it last said.
#[derive(Debug, Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    connection: ConnectionManager,
    place: RedisPlace,
    last: Mutex<Last>,
    /// The epoch that was written down.
    kept: Mutex<u64>,
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared")
            .field("place", &self.place.max_staleness)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Last {
    seen: Option<Seen>,
    /// Why it is not known, whatever was read before.
    broken: Option<String>,
    mark: HaltMark,
    /// Whether it is behind that mark.
    is_lost: bool,
}

#[derive(Debug)]
struct Seen {
    state: HaltState,
    probe: Option<Probe>,
    /// When it was asked for, which is before it was true.
    at: Instant,
}

fn failed(why: impl core::fmt::Display) -> HaltError {
    HaltError(format!("redis: {why}"))
}

fn json(value: &impl serde::Serialize) -> Result<String, HaltError> {
    serde_json::to_string(value).map_err(failed)
}

impl Redis {
    /// Opens it and keeps what it says fresh as long as the handle lives. It may be away.
    ///
    /// # Errors
    /// When the address is wrong or the epoch file cannot be read.
    pub async fn open(place: &RedisPlace) -> Result<Self, HaltError> {
        RedisPlace::check(&place.url)?;
        let client = Client::open(place.url.as_str()).map_err(failed)?;
        let limit = Some(ANSWER_MAX.min(place.max_staleness));
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100))
            .set_response_timeout(limit)
            .set_connection_timeout(limit);
        let connection = ConnectionManager::new_lazy_with_config(client, config);
        let epoch = place.epoch_file.as_deref().map_or(Ok(0), kept_epoch)?;
        let mark = HaltMark {
            epoch,
            ..HaltMark::default()
        };
        let last = Last {
            mark,
            ..Last::default()
        };
        let shared = Arc::new(Shared {
            connection: connection.map_err(failed)?,
            place: place.clone(),
            last: Mutex::new(last),
            kept: Mutex::new(epoch),
        });
        shared.refresh().await;
        tokio::spawn(keep_fresh(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// See [`super::HaltStore::remember`].
    pub(super) async fn remember(&self, earlier: HaltMark) {
        {
            let mut last = self.shared.last();
            last.mark = last.mark.or_higher(earlier);
            // What was read before this was known may have gone back: it answers nobody.
            let seen = last.seen.as_ref().map(|seen| HaltMark::of(&seen.state));
            if seen.is_some_and(|seen| seen.or_higher(last.mark) != seen) {
                last.seen = None;
            }
        }
        self.shared.refresh().await;
    }

    /// See [`super::HaltStore::reached`].
    pub(super) fn reached(&self) -> HaltMark {
        self.shared.last().mark
    }

    /// See [`super::HaltStore::read`].
    pub(super) fn read(&self, now: i64) -> Result<HaltState, HaltError> {
        let last = self.shared.last();
        if let Some(why) = &last.broken {
            return Err(failed(why));
        }
        let seen = last.seen.as_ref().ok_or_else(|| failed("no answer yet"))?;
        let age = seen.at.elapsed();
        if age > self.shared.place.max_staleness {
            return Err(failed(format!(
                "the last answer is {} ms old",
                age.as_millis()
            )));
        }
        let mut state = seen.state.clone();
        drop(last);
        state
            .flags
            .retain(|flag| flag.until == 0 || flag.until > now);
        Ok(state)
    }

    /// See [`super::HaltStore::set`].
    pub(super) async fn set(&self, flag: &Flag) -> Result<HaltState, HaltError> {
        self.place(flag, false).await?;
        self.fresh(flag.since).await
    }

    /// Sets a flag, or only gives its time to one that a hand made.
    async fn place(&self, flag: &Flag, is_made: bool) -> Result<i64, HaltError> {
        let scope = flag.scope.to_string();
        let oldest = super::oldest_ms(flag.since);
        let args = [
            scope.clone(),
            json(flag)?,
            flag.moment_ms().to_string(),
            oldest.to_string(),
            u8::from(flag.scope.is_global()).to_string(),
            super::RECENT_MAX.to_string(),
            super::RECENT_OF_TENANT_MAX.to_string(),
            u8::from(is_made).to_string(),
        ];
        self.script(SET, &args).await
    }

    /// See [`super::HaltStore::clear`].
    pub(super) async fn clear(
        &self,
        scope: &Scope,
        act: &Act,
        expected: Option<&Flag>,
    ) -> Result<(HaltState, Option<Flag>), HaltError> {
        let expected = expected.map(|flag| flag.id.as_str());
        let cleared = self
            .remove(scope, act, expected.unwrap_or_default())
            .await?;
        Ok((self.fresh(act.at).await?, cleared))
    }

    /// Ends a halt, if it is still the one of the expected id; an empty one is any.
    async fn remove(
        &self,
        scope: &Scope,
        act: &Act,
        expected: &str,
    ) -> Result<Option<Flag>, HaltError> {
        let hand = json(&Flag::new(scope.clone(), &Act::default(), HAND))?;
        let args = [
            scope.to_string(),
            json(act)?,
            expected.to_owned(),
            hand,
            CLEARED_MAX.to_string(),
        ];
        let text: Option<String> = self.script(CLEAR, &args).await?;
        text.map(|text| serde_json::from_str(&text).map_err(failed))
            .transpose()
    }

    /// See [`super::HaltStore::tend`].
    pub(super) async fn tend(&self, now: i64) -> Result<(), HaltError> {
        let due: Vec<Flag> = {
            let last = self.shared.last();
            let flags = last.seen.as_ref().map(|seen| seen.state.flags.as_slice());
            let is_due = |flag: &&Flag| flag.until > 0 && flag.until <= now || !flag.is_counted();
            flags
                .unwrap_or_default()
                .iter()
                .filter(is_due)
                .cloned()
                .collect()
        };
        for flag in due {
            if !flag.is_counted() {
                // Whoever takes it away by hand again has halted all the same.
                let id = format!("hand-{}", ids::new_id());
                let flag = Flag {
                    since: now,
                    id,
                    ..flag
                };
                self.place(&flag, true).await?;
                continue;
            }
            let act = Act {
                by: String::new(),
                reason: super::TIME_OVER.to_owned(),
                at: flag.until,
            };
            self.remove(&flag.scope, &act, &flag.id).await?;
        }
        Ok(())
    }

    /// See [`super::HaltStore::arm`].
    pub(super) async fn arm(&self, act: &Act) -> Result<HaltState, HaltError> {
        let (fields, _) = self.shared.fetch().await?;
        flags(&fields)?;
        let seen = self.reached();
        let above = HaltMark::armed_at(act.at.saturating_add(ARM_AHEAD_SECONDS))
            .epoch
            .max(seen.epoch.saturating_add(1))
            .max(seen.generation.saturating_add(1));
        let _: i64 = self.script(ARM, &[json(act)?, above.to_string()]).await?;
        self.fresh(act.at).await
    }

    /// See [`super::HaltStore::cleared`].
    pub(super) async fn cleared(&self) -> Result<Vec<Cleared>, HaltError> {
        let texts: Vec<String> = self
            .ask(redis::cmd("LRANGE").arg(CLEARED).arg(0).arg(-1))
            .await?;
        Ok(texts
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok())
            .collect())
    }

    /// See [`super::HaltStore::probe`].
    pub(super) async fn probe(&self, probe: &Probe) -> Result<(), HaltError> {
        let mut set = redis::cmd("SET");
        set.arg(PROBE).arg(json(probe)?).arg("EX").arg(KEPT_SECONDS);
        self.ask(&set).await
    }

    /// See [`super::HaltStore::asked`].
    pub(super) fn asked(&self) -> Option<Probe> {
        self.shared.last().seen.as_ref()?.probe.clone()
    }

    /// See [`super::HaltStore::enroll`].
    pub(super) async fn enroll(&self, member: &Member) -> Result<(), HaltError> {
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("HSET")
            .arg(MEMBERS)
            .arg(&member.instance)
            .arg(json(member)?)
            .ignore();
        both.cmd("EXPIRE").arg(MEMBERS).arg(KEPT_SECONDS).ignore();
        self.shared.run(&both).await
    }

    /// See [`super::HaltStore::leave`].
    pub(super) async fn leave(&self, instance: &str) -> Result<(), HaltError> {
        self.ask(redis::cmd("HDEL").arg(MEMBERS).arg(instance))
            .await
    }

    /// See [`super::HaltStore::roster`].
    pub(super) async fn roster(&self, now_ms: i64) -> Result<Vec<Member>, HaltError> {
        let entries: Fields = self.ask(redis::cmd("HGETALL").arg(MEMBERS)).await?;
        if entries.len() > MEMBERS_MAX {
            return Err(failed("too many members"));
        }
        let mut members = Vec::new();
        for (instance, text) in entries {
            let member: Member = serde_json::from_str(&text)
                .map_err(|_| failed(format!("the entry of {instance} cannot be read")))?;
            if now_ms.saturating_sub(member.seen_ms) > GONE_MS {
                self.leave(&instance).await?;
            } else {
                members.push(member);
            }
        }
        members.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(members)
    }

    /// The state as it answers now, or why it does not.
    pub(super) async fn look(&self, now: i64) -> Result<HaltState, HaltError> {
        self.shared.renew().await?;
        self.read(now)
    }

    async fn fresh(&self, now: i64) -> Result<HaltState, HaltError> {
        self.shared.refresh().await;
        self.read(now)
    }

    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, HaltError> {
        let mut connection = self.shared.connection.clone();
        command.query_async(&mut connection).await.map_err(failed)
    }

    async fn script<T: FromRedisValue>(&self, text: &str, args: &[String]) -> Result<T, HaltError> {
        let mut eval = redis::cmd("EVAL");
        eval.arg(text).arg(2).arg(STATE).arg(CLEARED).arg(args);
        self.ask(&eval).await
    }
}

impl Shared {
    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, HaltError> {
        let mut connection = self.connection.clone();
        pipeline.query_async(&mut connection).await.map_err(failed)
    }

    /// State and question, as they stood at one moment.
    async fn fetch(&self) -> Result<(Fields, Option<String>), HaltError> {
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("HGETALL").arg(STATE).cmd("GET").arg(PROBE);
        self.run(&both).await
    }

    async fn refresh(&self) {
        // No answer is no news: what is known grows stale. A wrong answer is known at once.
        drop(self.renew().await);
    }

    async fn renew(&self) -> Result<(), HaltError> {
        let (at, earlier) = (Instant::now(), self.last().mark);
        let answer = self.fetch().await?;
        self.take(at, earlier, answer);
        Ok(())
    }

    /// Takes an answer to a question of some moment, before which so much was reached.
    fn take(&self, at: Instant, earlier: HaltMark, (fields, probe): (Fields, Option<String>)) {
        let mut is_lost = false;
        let read = parse(&fields).and_then(|state| {
            let own = HaltMark::of(&state);
            if own.or_higher(earlier) != own {
                is_lost = true;
                return Err(failed(
                    "the epoch went back; look at the flags, then arm it",
                ));
            }
            self.keep(state.epoch)?;
            Ok(state)
        });
        let mut last = self.last();
        // A later question may have been answered already.
        if last.seen.as_ref().is_some_and(|seen| seen.at > at) {
            return;
        }
        if is_lost && !last.is_lost {
            // Only arming is believed from now on. The time is that of the question: this may have stood still since.
            let ago = i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX);
            let now = crate::clock::now().timestamp().saturating_sub(ago);
            (last.mark, last.is_lost) = (last.mark.beyond(now), true);
        }
        let own = read.as_ref().map(HaltMark::of).unwrap_or_default();
        if last.is_lost && read.is_ok() && own.or_higher(last.mark) != own {
            // An answer from before the loss.
            return;
        }
        match read {
            Err(error) => {
                if last.broken.as_ref() != Some(&error.0) {
                    tracing::error!(%error, "the halt state is not known");
                }
                last.broken = Some(error.0);
            }
            Ok(state) => {
                (last.broken, last.is_lost) = (None, false);
                last.mark = last.mark.or_higher(HaltMark::of(&state));
                let probe = probe.and_then(|text| serde_json::from_str(&text).ok());
                last.seen = Some(Seen { state, probe, at });
            }
        }
    }

    /// Writes a higher epoch down, before it is believed.
    fn keep(&self, epoch: u64) -> Result<(), HaltError> {
        let Some(file) = &self.place.epoch_file else {
            return Ok(());
        };
        // One after the other: what is written late would be a lower one.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch <= *kept {
            return Ok(());
        }
        let wrong = |error: std::io::Error| failed(format!("{}: {error}", file.display()));
        std::fs::create_dir_all(folder_of(file)).map_err(wrong)?;
        durable::replace(file, epoch.to_string().as_bytes()).map_err(wrong)?;
        *kept = epoch;
        Ok(())
    }
}

fn kept_epoch(file: &Path) -> Result<u64, HaltError> {
    let wrong = |why: &dyn core::fmt::Display| failed(format!("{}: {why}", file.display()));
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map_err(|error| wrong(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(wrong(&error)),
    }
}

async fn keep_fresh(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.refresh().await;
        let pause = PERIOD_MAX.min(shared.place.max_staleness / 4);
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
