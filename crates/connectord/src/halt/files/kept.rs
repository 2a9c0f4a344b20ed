//! What was read of the folder last, for as long as a look would find the same.
//!
//! Every flag that comes or goes changes the folder itself, and so does every file that a program
//! replaces: on a local file system the next call sees it. What is written into a file that is there
//! shows in no folder: that is seen within twice [`KEPT`]. So is everything where a file system dates
//! changes more coarsely than [`SETTLED`], or tells of them late.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Files, failed};
use crate::halt::{HaltError, HaltMark, HaltState};

/// Longest that a look at the folder is believed, and one at a file of it.
pub(super) const KEPT: Duration = Duration::from_millis(100);
/// How long a folder must have stood before a look at it is kept: file systems count time in steps
/// of up to 10 ms, and two changes within one step leave the same mark.
const SETTLED: Duration = Duration::from_millis(12);

/// The folder itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Folder {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Folder {
    fn of(path: &Path) -> Result<Self, HaltError> {
        let found = std::fs::metadata(path).map_err(|error| failed(path, error))?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// A folder, since when it is known to stand like this, and what was found in it since.
#[derive(Debug)]
pub(super) struct Kept {
    folder: Folder,
    since: Instant,
    look: Option<Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    /// The second for which it was decided what has expired.
    now: i64,
    state: Arc<HaltState>,
}

impl Kept {
    /// What a look at the same folder found a moment ago.
    fn state(&self, folder: Folder, seen: Instant, now: i64) -> Option<&Arc<HaltState>> {
        let look = self.look.as_ref().filter(|_| self.folder == folder)?;
        let fresh = look.now == now && seen.saturating_duration_since(look.at) < KEPT;
        fresh.then_some(&look.state)
    }
}

impl Files {
    /// See [`crate::halt::HaltStore::read`].
    pub(in crate::halt) fn read(&self, now: i64) -> Result<Arc<HaltState>, HaltError> {
        self.read_by(now, Instant::now)
    }

    /// The same with a clock.
    fn read_by(
        &self,
        now: i64,
        mut clock: impl FnMut() -> Instant,
    ) -> Result<Arc<HaltState>, HaltError> {
        let (kept, began) = (self.kept.load_full(), clock());
        let folder = Folder::of(&self.folder)?;
        // What is compared with the past is taken after the folder was looked at, what the future is compared with
        // before: wherever this thread stands still, less is believed.
        let seen = clock();
        if let Some(state) = kept.as_ref().and_then(|kept| kept.state(folder, seen, now))
            && self.stands(HaltMark::of(state))
        {
            return Ok(Arc::clone(state));
        }
        let since = kept.filter(|kept| kept.folder == folder);
        let since = since.map_or(seen, |kept| kept.since);
        let state = Arc::new(self.look(now)?);
        let settled = began.saturating_duration_since(since) >= SETTLED;
        let look = settled.then(|| Look {
            at: began,
            now,
            state: Arc::clone(&state),
        });
        self.kept.store(Some(Arc::new(Kept {
            folder,
            since,
            look,
        })));
        Ok(state)
    }

    /// Whether no later state than this one was ever seen.
    fn stands(&self, mark: HaltMark) -> bool {
        mark.or_higher(self.remember(HaltMark::default())) == mark
    }
}

#[cfg(test)]
mod tests;
