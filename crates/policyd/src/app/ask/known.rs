//! What the system of record says of a target: connectord is asked, once for all who wait for the same record, and an
//! answer is used no longer than the set says.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use moka::future::Cache;
use tokio::sync::Semaphore;
use writ_proto::Reason;
use writ_proto::ids::TenantId;
use writ_proto::value::Map;

use crate::app::App;
use crate::app::ask::grounds::{Check, Cited, Found};
use crate::clock;
use crate::domain::decide::facts::Facts;
use crate::domain::decide::grounds::Grounds;
use crate::domain::decide::known::{Known, Reading, id_in};
use crate::domain::decide::reaches_rules;
use crate::domain::policy::facts::{Asked, Need, READ_MS_MAX};
use crate::domain::request::Request;
use crate::error::AppError;

/// Longest wait of one decision for all that it reads.
pub(crate) const DEADLINE: Duration = Duration::from_millis(READ_MS_MAX);
/// Reads of one tenant at one connection that are under way at the same time.
const AT_ONCE: usize = 16;
/// Looks for evidence, likewise.
const LOOKS_AT_ONCE: usize = 4;
/// Bytes of answers of one tenant and connection that are kept.
const KEPT_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// What an answer takes beside its fields.
const KEPT_BYTES: u32 = 512;
/// Records of one connection whose last change is remembered.
const CHANGED_MAX: u64 = 10_000;
/// How often it is asked again where what came is no answer: the record was changed meanwhile.
const TRIES: usize = 3;
/// Longest that any answer is kept; the set says how long it is used.
const KEPT_MAX: Duration = Duration::from_secs(60);

/// A record, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Connection id.
    pub(crate) connection: String,
    /// Object of the system file.
    pub(crate) object: String,
    /// Its id.
    pub(crate) id: String,
    /// Fields of the system file.
    pub(crate) fields: Vec<String>,
}

/// What connectord read of a record; none where its system says that there is none.
pub(crate) type Read = Result<Option<Map>, AppError>;

/// Asks connectord.
pub(crate) type Source =
    Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Read> + Send>> + Send + Sync>;

/// An answer, or why there is none.
#[derive(Debug)]
struct Held {
    read: Read,
    /// Before it was asked for.
    asked: Instant,
    asked_ms: i64,
}

impl Held {
    /// Whether it answers its question still: not too old, and asked for after the last change that is known of.
    fn answers(&self, asked: &Asked, late: Duration, changed: Option<Instant>) -> bool {
        let max_age = Duration::from_secs(asked.max_age_seconds.into()).saturating_add(late);
        let after = changed.is_none_or(|changed| self.asked >= changed);
        after && self.asked.elapsed() <= max_age
    }
}

/// Object and id.
type Key = (String, String);
/// The same, and the fields that are asked for.
type Asking = (Key, Vec<String>);

/// What one tenant has of one connection: nobody waits for the reads of another tenant or system, or loses answers to them.
#[derive(Debug, Clone)]
struct Share {
    held: Cache<Asking, Arc<Held>>,
    /// When a record was last changed, as far as that is known: what was asked for before is no answer.
    changed: Cache<Key, Instant>,
    turns: Arc<Semaphore>,
    /// Those of looks for evidence.
    looks: Arc<Semaphore>,
    health: Arc<Mutex<Health>>,
}

/// Whether the system answers.
#[derive(Debug, Default)]
struct Health {
    /// Reads that failed one after the other because nobody answered.
    failed: u32,
    /// Until when nobody is asked.
    rests: Option<Instant>,
}

/// Longest wait for one read: shorter than the whole, so that a system that hangs is known to.
const CALL: Duration = Duration::from_millis(1_800);
/// Failures in a row after which a system is left alone for a moment, so that who waits for it does not keep others waiting.
const FAILED_MAX: u32 = 3;
const REST: Duration = Duration::from_secs(1);

impl Share {
    fn new() -> Self {
        let size = |_: &Asking, held: &Arc<Held>| {
            let fields = held.read.as_ref().ok().and_then(Option::as_ref);
            let bytes = fields.map_or(0, |fields| fields.encode().len());
            u32::try_from(bytes)
                .unwrap_or(u32::MAX)
                .saturating_add(KEPT_BYTES)
        };
        let cache = Cache::builder().max_capacity(KEPT_BYTES_MAX).weigher(size);
        Self {
            held: cache.time_to_live(KEPT_MAX).build(),
            changed: Cache::builder()
                .max_capacity(CHANGED_MAX)
                .time_to_live(KEPT_MAX)
                .build(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            looks: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            health: Arc::default(),
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to ask a system that did not answer a moment ago.
    fn awake(&self) -> Result<(), AppError> {
        let rests = self.health().rests;
        if rests.is_some_and(|until| Instant::now() < until) {
            let why = "it did not answer a moment ago";
            return Err(AppError::new(Reason::SystemUnavailable, why));
        }
        Ok(())
    }

    /// Asks, unless the system did not answer a moment ago.
    async fn ask(&self, source: &Source, question: Question) -> Read {
        self.awake()?;
        let _turn = self.turns.acquire().await;
        let read = tokio::time::timeout(CALL, source(question)).await;
        let read = read.unwrap_or_else(|_| {
            let why = format!("connectord did not answer within {} ms", CALL.as_millis());
            Err(AppError::new(Reason::Deadline, why))
        });
        let silent = |error: &AppError| {
            use Reason as R;
            matches!(
                error.reason,
                R::Deadline | R::Unavailable | R::PeerUnreachable
            )
        };
        let mut health = self.health();
        if read.as_ref().is_err_and(silent) {
            health.failed = health.failed.saturating_add(1);
            if health.failed >= FAILED_MAX {
                // After the rest it takes as many again.
                *health = Health {
                    failed: 0,
                    rests: Some(Instant::now() + REST),
                };
            }
        } else {
            *health = Health::default();
        }
        read
    }
}

/// Asks, and keeps what was answered.
#[derive(Default)]
pub struct Systems {
    source: OnceLock<Source>,
    check: OnceLock<Check>,
    tenants: Mutex<BTreeMap<(TenantId, String), Share>>,
}

impl fmt::Debug for Systems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Systems")
            .field("tenants", &self.tenants)
            .finish_non_exhaustive()
    }
}

impl Systems {
    /// Says who is asked, and who looks for evidence; only the first ones count.
    pub(crate) fn ask_at(&self, (source, check): (Source, Check)) {
        drop(self.source.set(source));
        drop(self.check.set(check));
    }

    /// Looks for one item of evidence: as many at once as there are reads of facts.
    pub(super) async fn look(&self, tenant: &TenantId, cited: Cited) -> Result<Found, AppError> {
        let check = self.check.get().ok_or_else(|| {
            let why = "policyd.toml names no connectord, which reads the system of record";
            AppError::new(Reason::PeerUnreachable, why)
        })?;
        let [connection, ..] = &cited.cites.source;
        let share = self.share(tenant, connection);
        share.awake()?;
        let _turn = share.looks.acquire().await;
        check(cited).await
    }

    fn share(&self, tenant: &TenantId, connection: &str) -> Share {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), connection.to_owned());
        tenants.entry(key).or_insert_with(Share::new).clone()
    }

    /// A record as its system says it is now, or said a moment ago.
    async fn reading(
        &self,
        (request, asked): (&Request, &Asked),
        id: &str,
    ) -> Result<Reading, AppError> {
        let source = self.source.get().ok_or_else(|| {
            let why = "policyd.toml names no connectord, which reads the system of record";
            AppError::new(Reason::PeerUnreachable, why)
        })?;
        let share = self.share(&request.caller_tenant, &request.connection);
        let key = (asked.object.clone(), id.to_owned());
        for _ in 0..TRIES {
            let question = Question {
                tenant: request.caller_tenant.clone(),
                connection: request.connection.clone(),
                object: asked.object.clone(),
                id: id.to_owned(),
                fields: asked.names(),
            };
            let read = async {
                let (now, now_ms) = (Instant::now(), clock::now().timestamp_millis());
                Arc::new(Held {
                    read: share.ask(source, question).await,
                    asked: now,
                    asked_ms: now_ms,
                })
            };
            let changed = share.changed.get(&key).await;
            let stale = |held: &Arc<Held>| {
                // That there was nothing a moment ago says nothing of now.
                let is_there = matches!(held.read, Ok(Some(_)));
                !is_there || !held.answers(asked, Duration::ZERO, changed)
            };
            let entry = share.held.entry((key.clone(), asked.names()));
            let held = entry.or_insert_with_if(read, stale).await.into_value();
            // Whoever waits for the question of another gets its answer, however old it is.
            if !held.answers(asked, DEADLINE, share.changed.get(&key).await) {
                continue;
            }
            let found = held.read.clone()?;
            return Ok(Reading {
                kind: asked.kind.clone(),
                id: id.to_owned(),
                object: asked.object.clone(),
                names: asked.names(),
                asked_ms: held.asked_ms,
                exists: found.is_some(),
                fields: found.unwrap_or_default(),
            });
        }
        let why = "it changes faster than it is read";
        Err(AppError::new(Reason::SystemUnavailable, why))
    }

    /// Forgets what is known of a record, because it was changed or is about to be.
    pub(crate) async fn forget(&self, tenant: &TenantId, connection: &str, key: Key) {
        let known = {
            let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants
                .get(&(tenant.clone(), connection.to_owned()))
                .cloned()
        };
        if let Some(share) = known {
            share.changed.insert(key, Instant::now()).await;
        }
    }
}

impl App {
    /// What a request is decided by. Where its rules need it, the system of record is asked, and then everything else is
    /// taken as it is now.
    ///
    /// # Errors
    /// When the caller's tenant has no policies.
    pub(crate) async fn facts(
        &self,
        request: &Request,
        at: Option<DateTime<Utc>>,
    ) -> Result<Facts, AppError> {
        let facts = self.facts_here(request, at.unwrap_or_else(clock::now))?;
        let cites = request.cited().next().is_some();
        // Most sets ask nobody, and most requests cite nothing: their decisions look at halts and card once.
        if !facts.policies.asks_anybody() && !cites {
            return Ok(facts);
        }
        let Some(card) = reaches_rules(request, &facts) else {
            return Ok(facts);
        };
        let known = async {
            match facts.asks(request, card) {
                None => Ok(None),
                Some(need) => self.readings(request, &facts, need).await.map(Some),
            }
        };
        let known = tokio::time::timeout(DEADLINE, known);
        let grounds = tokio::time::timeout(DEADLINE, self.grounds(request, &facts.policies));
        let (known, grounds) = tokio::join!(known, grounds);
        let late = || {
            let why = format!(
                "connectord did not answer within {} ms",
                DEADLINE.as_millis()
            );
            AppError::new(Reason::Deadline, why)
        };
        let (known, grounds) = (
            known.unwrap_or_else(|_| Err(late())),
            grounds.unwrap_or_else(|_| Err(late())),
        );
        let facts = self.facts_here(request, at.unwrap_or_else(clock::now))?;
        let known = known.and_then(|read| read.map(|read| fresh(read, &facts)).transpose());
        let known = match known {
            Ok(None) => Known::NotAsked,
            Ok(Some(readings)) => Known::Read(readings),
            Err(error) => Known::Unread {
                reason: error.reason,
                why: error.public,
            },
        };
        let grounds = match grounds {
            Ok(found) => found,
            Err(error) => Grounds::Unread {
                reason: error.reason,
                why: error.public,
            },
        };
        Ok(Facts {
            known,
            grounds,
            ..facts
        })
    }

    async fn readings(
        &self,
        request: &Request,
        facts: &Facts,
        need: Need<'_>,
    ) -> Result<Vec<Reading>, AppError> {
        let (_, id) = request.target.clone().unwrap_or_default();
        let mut readings = Vec::new();
        if let Some(asked) = need.target {
            // It is the facts of what others name; a target of that kind is another object of its own system.
            if asked.object != asked.kind {
                let (kind, object) = (&asked.kind, &asked.object);
                let why = format!(
                    "the facts of a {kind} come from the object {object}, and the target is none"
                );
                return Err(AppError::new(Reason::FieldUnreadable, why));
            }
            readings.push(self.systems.reading((request, asked), &id).await?);
        }
        let own = readings.first().cloned();
        let told = |name: &str| id_in(own.as_ref()?.fields.get(name)?);
        let links = facts.policies.links(request, need.target, told);
        let links = links.map_err(|why| AppError::new(Reason::FieldUnreadable, why))?;
        for (linked, id) in links {
            readings.push(self.systems.reading((request, linked), &id).await?);
        }
        Ok(readings)
    }

    /// Forgets what is known of the target of an act.
    pub(crate) async fn forget_target(
        &self,
        tenant: &TenantId,
        connection: &str,
        target: Option<&(String, String)>,
    ) {
        let Some((kind, id)) = target else { return };
        // The type of a target is the object of its system.
        let key = (kind.clone(), id.clone());
        self.systems.forget(tenant, connection, key).await;
    }
}

/// What is not too old by now, also where this process stood still since it was read.
fn fresh(readings: Vec<Reading>, facts: &Facts) -> Result<Vec<Reading>, AppError> {
    let now_ms = clock::now().timestamp_millis();
    if readings
        .iter()
        .all(|reading| reading.is_fresh(&facts.policies, now_ms))
    {
        return Ok(readings);
    }
    let why = "what the system said is too old by now";
    Err(AppError::new(Reason::Deadline, why))
}

#[cfg(test)]
mod tests;
