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
use writ_proto::value::{Map, Value};

use crate::app::App;
use crate::clock;
use crate::domain::decide::facts::Facts;
use crate::domain::decide::known::{Known, Reading, id_in};
use crate::domain::decide::wants;
use crate::domain::policy::facts::Asked;
use crate::domain::request::Request;
use crate::error::AppError;

/// Longest wait of one decision for all that it reads.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
/// Reads of one tenant that are under way at the same time.
const AT_ONCE: usize = 16;
/// Bytes of answers of one tenant that are kept.
const KEPT_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// What an answer takes beside its fields.
const KEPT_BYTES: u32 = 512;
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
    fields: Vec<String>,
    read: Read,
    /// Before it was asked for.
    asked: Instant,
    asked_ms: i64,
}

impl Held {
    /// Whether it answers such a question still.
    fn answers(&self, asked: &Asked) -> bool {
        let max_age = Duration::from_secs(asked.max_age_seconds.into());
        let same = self.fields.iter().eq(asked.fields.keys());
        self.read.is_ok() && same && self.asked.elapsed() <= max_age
    }
}

/// Connection, object and id.
type Key = (String, String, String);

/// What one tenant has of it: no tenant waits for the reads of another, or loses its answers to them.
#[derive(Debug, Clone)]
struct Share {
    held: Cache<Key, Arc<Held>>,
    turns: Arc<Semaphore>,
}

impl Share {
    fn new() -> Self {
        let size = |_: &Key, held: &Arc<Held>| {
            let fields = held.read.as_ref().ok().and_then(Option::as_ref);
            let bytes = fields.map_or(0, |fields| fields.encode().len());
            u32::try_from(bytes)
                .unwrap_or(u32::MAX)
                .saturating_add(KEPT_BYTES)
        };
        let cache = Cache::builder().max_capacity(KEPT_BYTES_MAX).weigher(size);
        Self {
            held: cache.time_to_live(KEPT_MAX).build(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

/// Asks, and keeps what was answered.
#[derive(Default)]
pub struct Systems {
    source: OnceLock<Source>,
    tenants: Mutex<BTreeMap<TenantId, Share>>,
}

impl fmt::Debug for Systems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Systems")
            .field("tenants", &self.tenants)
            .finish_non_exhaustive()
    }
}

impl Systems {
    /// Says who is asked; only the first one counts.
    pub(crate) fn ask_at(&self, source: Source) {
        drop(self.source.set(source));
    }

    fn share(&self, tenant: &TenantId) -> Share {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants
            .entry(tenant.clone())
            .or_insert_with(Share::new)
            .clone()
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
        let share = self.share(&request.caller_tenant);
        let question = Question {
            tenant: request.caller_tenant.clone(),
            connection: request.connection.clone(),
            object: asked.object.clone(),
            id: id.to_owned(),
            fields: asked.fields.keys().cloned().collect(),
        };
        let key = (
            question.connection.clone(),
            question.object.clone(),
            id.to_owned(),
        );
        let turns = Arc::clone(&share.turns);
        let read = async move {
            let _turn = turns.acquire().await;
            let (now, now_ms) = (Instant::now(), clock::now().timestamp_millis());
            Arc::new(Held {
                fields: question.fields.clone(),
                read: source(question).await,
                asked: now,
                asked_ms: now_ms,
            })
        };
        let stale = |held: &Arc<Held>| !held.answers(asked);
        let entry = share.held.entry(key).or_insert_with_if(read, stale).await;
        let held = entry.into_value();
        let found = held.read.clone()?;
        Ok(Reading {
            kind: asked.kind.clone(),
            id: id.to_owned(),
            asked_ms: held.asked_ms,
            exists: found.is_some(),
            fields: found.unwrap_or_default(),
        })
    }

    /// Forgets what is known of a record, because it was changed or is about to be.
    pub(crate) async fn forget(&self, tenant: &TenantId, key: Key) {
        let known = {
            let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.get(tenant).cloned()
        };
        if let Some(share) = known {
            share.held.invalidate(&key).await;
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
        let Some(asked) = wants(request, &facts) else {
            return Ok(facts);
        };
        let known = tokio::time::timeout(DEADLINE, self.readings(request, &facts, asked)).await;
        let late = |_| {
            let why = format!("connectord did not answer within {} s", DEADLINE.as_secs());
            Err(AppError::new(Reason::Deadline, why))
        };
        let known = match known.unwrap_or_else(late) {
            Ok(readings) => Known::Read(readings),
            Err(error) => Known::Unread {
                reason: error.reason,
                why: error.public,
            },
        };
        let facts = self.facts_here(request, at.unwrap_or_else(clock::now))?;
        Ok(Facts { known, ..facts })
    }

    async fn readings(
        &self,
        request: &Request,
        facts: &Facts,
        asked: &Asked,
    ) -> Result<Vec<Reading>, AppError> {
        let (_, id) = request.target.clone().unwrap_or_default();
        let target = self.systems.reading((request, asked), &id).await?;
        let named = |name: &str| id_in(target.fields.get(name).unwrap_or(&Value::Null));
        let links = facts.policies.links(request, asked, named);
        let mut readings = vec![target.clone()];
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
        let object = {
            let table = self.policies.load();
            table
                .get(tenant)
                .and_then(|set| set.object_asked(kind).map(str::to_owned))
        };
        if let Some(object) = object {
            let key = (connection.to_owned(), object, id.clone());
            self.systems.forget(tenant, key).await;
        }
    }
}

#[cfg(test)]
mod tests;
