//! What a credential may do, as its system says: asked when it is first used, kept for a while, and held against what the system
//! file needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{System, SystemError};

/// How long an answer holds at most: rights are widened at the vendor without a new credential.
pub const HOLDS: Duration = Duration::from_secs(30 * 60);
/// After so long it is asked again in the background, so that no write waits for it.
pub const STALE: Duration = Duration::from_secs(10 * 60);
/// How long a question that failed is not asked anew: who waits for one that hangs does not wait for the next.
const FAILED_FOR: Duration = Duration::from_secs(2);

/// Names of what a credential may do.
pub(super) type Scopes = Arc<BTreeSet<String>>;

/// What was answered last, and when. One asks, the others wait for it.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Option<(Instant, Result<Scopes, SystemError>)>>);

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

    /// What the credential may do, as the system said no longer than `within` ago; none where it cannot say.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that can be understood.
    pub async fn scopes(&self, within: Duration) -> Result<Option<Scopes>, SystemError> {
        let Some(standing) = self.standing() else {
            return Ok(None);
        };
        let mut seen = standing.0.lock().await;
        if let Some((at, answer)) = &*seen {
            let holds = if answer.is_ok() { within } else { FAILED_FOR };
            if at.elapsed() < holds {
                return answer.clone().map(Some);
            }
        }
        let answer = self.probe().await;
        let answer = answer.map(|held| Arc::new(held.unwrap_or_default()));
        *seen = Some((Instant::now(), answer.clone()));
        answer.map(Some)
    }

    /// Whether nobody has asked for a while what the credential may do.
    pub fn is_to_be_asked(&self) -> bool {
        let seen = self.standing().map(|standing| standing.0.try_lock());
        match seen {
            // Somebody is asking.
            None | Some(Err(_)) => false,
            Some(Ok(seen)) => (seen.as_ref()).is_none_or(|(at, answer)| {
                let holds = if answer.is_ok() { STALE } else { FAILED_FOR };
                at.elapsed() >= holds
            }),
        }
    }

    /// What the file needs of a credential for one verb on an object.
    #[must_use]
    pub fn needs(&self, object: &str, verb: &str) -> BTreeSet<String> {
        match self {
            Self::Http(system) => system.bound().needs(object, verb),
            Self::Postgres(system) => system.needs(object, Some(verb)),
            Self::Document(_) => BTreeSet::new(),
        }
    }

    /// What the file needs of it at most.
    #[must_use]
    pub fn needs_at_most(&self) -> BTreeSet<String> {
        match self {
            Self::Http(system) => system.bound().needs_at_most(),
            Self::Postgres(system) => {
                let objects = system.bound().objects.keys();
                let needs = objects.flat_map(|object| system.needs(object, None));
                needs.collect()
            }
            Self::Document(_) => BTreeSet::new(),
        }
    }
}
