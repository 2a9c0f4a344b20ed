//! What a credential may do, as its system says: asked when it is first used, kept for a while, and held against what the system
//! file needs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use writ_proto::card::Card;

use super::{System, SystemError};
use crate::clock;

/// How long an answer holds at most: rights are widened at the vendor without a new credential.
pub const HOLDS: Duration = Duration::from_secs(30 * 60);
/// After so long it is asked again in the background, so that no write waits for it.
pub const STALE: Duration = Duration::from_secs(10 * 60);
/// How long a question that failed is not asked anew by calls: who waited for one that hangs does not wait for the next.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Longest pause of the background after questions that failed.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// Names of what a credential may do.
pub(super) type Scopes = Arc<BTreeSet<String>>;

/// A moment by both clocks: one stands still while a machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
struct Moment(Instant, i64);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), clock::now().timestamp_millis())
    }

    /// How long ago it was, by the clock that says more.
    fn elapsed(self) -> Duration {
        let wall = clock::now().timestamp_millis().saturating_sub(self.1);
        let wall = Duration::from_millis(u64::try_from(wall).unwrap_or(0));
        self.0.elapsed().max(wall)
    }
}

/// What was answered last, and what came instead of an answer since.
#[derive(Debug, Default)]
struct Seen {
    good: Option<(Moment, Scopes)>,
    failed: Option<(Moment, SystemError)>,
    /// Failures in a row.
    failures: u32,
}

impl Seen {
    fn good_within(&self, within: Duration) -> Option<Scopes> {
        let (at, held) = self.good.as_ref()?;
        (at.elapsed() < within).then(|| Arc::clone(held))
    }

    /// Why it is not asked again yet.
    fn rests(&self) -> Option<SystemError> {
        let (at, error) = self.failed.as_ref()?;
        let wait = match error {
            SystemError::Limited {
                wait: Some(wait), ..
            } => Duration::from_secs(*wait),
            _ => FAILED_FOR,
        };
        (at.elapsed() < wait).then(|| error.clone())
    }

    fn note(&mut self, asked: Moment, answer: &Result<Scopes, SystemError>) {
        match answer {
            Ok(held) => {
                *self = Self {
                    good: Some((asked, Arc::clone(held))),
                    ..Self::default()
                };
            }
            Err(error) => {
                self.failed = Some((asked, error.clone()));
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// Whether the background asks. A credential that is refused is shown seldom: a system may lock it.
    fn is_due(&self) -> bool {
        if self.good_within(STALE).is_some() || self.rests().is_some() {
            return false;
        }
        let Some((at, error)) = &self.failed else {
            return true;
        };
        let doubled =
            FAILED_FOR.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        let pause = if matches!(error, SystemError::Denied(_)) {
            STALE
        } else {
            doubled.min(PAUSE_MAX)
        };
        at.elapsed() >= pause
    }
}

/// What is known of a credential. One asks, and only who has no answer that holds waits.
#[derive(Debug, Default)]
pub struct Standing {
    seen: Mutex<Seen>,
    asking: tokio::sync::Mutex<()>,
}

impl Standing {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System {
    /// The credential's standing, where the system can say it.
    fn standing(&self) -> Option<&Standing> {
        match self {
            Self::Http(system) if system.bound().scopes.is_some() => Some(&system.standing),
            Self::Postgres(system) => Some(&system.standing),
            Self::Http(_) | Self::Document(_) => None,
        }
    }

    /// Whether the system says what the credential may do.
    #[must_use]
    pub fn says_scopes(&self) -> bool {
        self.standing().is_some()
    }

    /// Whether what the credential may do is one word, such as that of a role, which may hold what is needed under another name.
    #[must_use]
    pub fn says_a_role(&self) -> bool {
        matches!(self, Self::Http(system) if system.bound().scopes.as_ref().is_some_and(super::file::ScopesAt::is_one))
    }

    /// What the credential may do, as the system said no longer than `within` ago; none where it cannot say.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that can be understood.
    pub async fn scopes(&self, within: Duration) -> Result<Option<Scopes>, SystemError> {
        let Some(standing) = self.standing() else {
            return Ok(None);
        };
        let known = |within| standing.seen().good_within(within);
        if let Some(held) = known(within) {
            return Ok(Some(held));
        }
        let waits = Instant::now();
        let _asking = standing.asking.lock().await;
        // Somebody may have asked while this call waited.
        if let Some(held) = known(within.max(waits.elapsed())) {
            return Ok(Some(held));
        }
        if let Some(error) = standing.seen().rests() {
            return Err(error);
        }
        let asked = Moment::now();
        let answer = Box::pin(self.probe()).await;
        let answer = answer.map(|held| Arc::new(held.unwrap_or_default()));
        standing.seen().note(asked, &answer);
        answer.map(Some)
    }

    /// Whether nobody has asked for a while what the credential may do, and nobody is asking.
    #[must_use]
    pub fn is_to_be_asked(&self) -> bool {
        let due =
            |standing: &Standing| standing.asking.try_lock().is_ok() && standing.seen().is_due();
        self.standing().is_some_and(due)
    }

    /// What the file needs of a credential for one card.
    #[must_use]
    pub fn needs(&self, card: &Card) -> BTreeSet<String> {
        match self {
            Self::Http(system) => system.bound().needs(&card.target, card.verb.name()),
            Self::Postgres(system) => system.needs(card),
            Self::Document(_) => BTreeSet::new(),
        }
    }

    /// What the file needs of it at most.
    #[must_use]
    pub fn needs_at_most(&self) -> BTreeSet<String> {
        match self {
            Self::Http(system) => system.bound().needs_at_most(),
            Self::Postgres(system) => system.needs_at_most(),
            Self::Document(_) => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests;
