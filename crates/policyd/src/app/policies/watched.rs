//! Tells when a tenant's files have changed and may be taken.
//!
//! The files are looked at again and again, whatever put them there: an edit, a rename, a link that
//! was switched and a checkout look alike. A set with a `set.lock` is taken as soon as it is whole;
//! one without is taken when its files have rested, because nothing else tells a copy that is
//! finished from one that is not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folder::{self, finding};
use super::{empty, load_tenant};
use crate::domain::policy::{PolicyErrors, TenantPolicies};

/// How long the files of a set without a lock must not change before it is read.
pub(super) const REST: Duration = Duration::from_secs(1);
/// Stands for the files of a folder that is not there.
const GONE: [u8; 32] = [0; 32];
/// Stands for those of one that cannot be looked through.
const UNREADABLE: [u8; 32] = [0xff; 32];
/// How long a set may go on changing before people are told that it never rests.
const RESTLESS: Duration = Duration::from_secs(10);

/// What became of one tenant's folder.
#[derive(Debug)]
pub enum Change {
    /// It has an accepted set.
    Set(Arc<TenantPolicies>),
    /// What is there is refused; what was in force stays.
    Refused(PolicyErrors),
    /// The folder is gone.
    Gone,
}

#[derive(Debug)]
struct Seen {
    files: [u8; 32],
    /// Since when they are as they are.
    since: Instant,
    /// Since when they have not been taken.
    waiting: Instant,
    /// Whether what they say has been told.
    told: bool,
    /// Whether it has been told that they do not rest.
    restless: bool,
    /// Whether this state of a sealed set was read already.
    tried: bool,
}

/// The folders of tenants, as they were last looked at.
#[derive(Debug)]
pub struct Watched {
    folder: PathBuf,
    rest: Duration,
    /// Reads the set of one folder.
    load: fn(&Path) -> Result<Arc<TenantPolicies>, PolicyErrors>,
    seen: BTreeMap<String, Seen>,
    /// Whether people know that the folder itself cannot be read.
    told_broken: bool,
}

impl Watched {
    /// Looks for the first time: all that is there now is known, and only what changes is told.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let mut watched = Self {
            folder: folder.to_owned(),
            rest: REST,
            load: load_tenant,
            seen: BTreeMap::new(),
            told_broken: false,
        };
        for (name, path) in folder::tenants(folder).unwrap_or_default() {
            if let Ok(files) = folder::fingerprint(&path) {
                watched.seen.insert(
                    name,
                    Seen {
                        told: true,
                        ..Seen::new(files)
                    },
                );
            }
        }
        watched
    }

    /// What was told is told again: it could not be taken.
    pub fn again(&mut self, tenant: &str) {
        if let Some(seen) = self.seen.get_mut(tenant) {
            seen.told = false;
        }
    }

    /// Every folder whose change may be taken now, by name. The empty name is the folder of all.
    pub fn look(&mut self) -> BTreeMap<String, Change> {
        let mut changes = BTreeMap::new();
        let tenants = match folder::tenants(&self.folder) {
            Ok(tenants) if tenants.is_empty() => Err(empty(&self.folder)),
            found => found,
        };
        let tenants: BTreeMap<String, PathBuf> = match tenants {
            Ok(tenants) => tenants.into_iter().collect(),
            Err(errors) => {
                // A folder that is away for a moment, or for ever, takes nothing out of force.
                if !self.told_broken {
                    changes.insert(String::new(), Change::Refused(errors));
                }
                self.told_broken = true;
                return changes;
            }
        };
        self.told_broken = false;
        for (name, path) in &tenants {
            if let Some(change) = self.look_at(name, path) {
                changes.insert(name.clone(), change);
            }
        }
        self.gone(&tenants, &mut changes);
        changes
    }

    fn look_at(&mut self, name: &str, path: &Path) -> Option<Change> {
        let files = folder::fingerprint(path).unwrap_or(UNREADABLE);
        let (rest, load) = (self.rest, self.load);
        let seen = self
            .seen
            .entry(name.to_owned())
            .or_insert_with(|| Seen::new(files));
        if seen.files != files {
            let waiting = if seen.told {
                Instant::now()
            } else {
                seen.waiting
            };
            let restless = seen.restless && !seen.told;
            *seen = Seen {
                waiting,
                restless,
                ..Seen::new(files)
            };
        }
        if seen.told {
            return None;
        }
        // One that cannot be reached seals as well: nothing is taken before it can.
        let sealed = folder::has_lock(path).unwrap_or(true);
        let rested = seen.since.elapsed() >= rest;
        // A sealed set is read once for each state of its files, and once more when they have rested.
        if sealed && !rested && seen.tried {
            return None;
        }
        seen.tried = true;
        if !sealed && !rested {
            if seen.waiting.elapsed() < RESTLESS || seen.restless {
                return None;
            }
            seen.restless = true;
            let why = format!(
                "the files have changed for {} s without a rest of {} s",
                RESTLESS.as_secs(),
                REST.as_secs()
            );
            return Some(Change::Refused(finding(name, why)));
        }
        let read = load(path);
        if folder::fingerprint(path).unwrap_or(UNREADABLE) != files {
            // They changed while they were read: what was read may be half of each.
            return None;
        }
        match read {
            Ok(set) => {
                seen.told = true;
                Some(Change::Set(set))
            }
            // A sealed set that is not whole yet may be on its way.
            Err(_) if !rested => None,
            Err(errors) => {
                seen.told = true;
                Some(Change::Refused(errors))
            }
        }
    }

    fn gone(
        &mut self,
        tenants: &BTreeMap<String, PathBuf>,
        changes: &mut BTreeMap<String, Change>,
    ) {
        let rest = self.rest;
        for (name, seen) in &mut self.seen {
            if tenants.contains_key(name) {
                continue;
            }
            if seen.files != GONE {
                *seen = Seen::new(GONE);
            }
            // A folder that is being replaced is away for a moment.
            if !seen.told && seen.since.elapsed() >= rest {
                seen.told = true;
                changes.insert(name.clone(), Change::Gone);
            }
        }
    }
}

impl Seen {
    fn new(files: [u8; 32]) -> Self {
        let now = Instant::now();
        Self {
            files,
            since: now,
            waiting: now,
            told: false,
            restless: false,
            tried: false,
        }
    }
}

#[cfg(test)]
mod tests;
