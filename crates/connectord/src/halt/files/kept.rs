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
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_kept_look_answers_for_the_same_folder_and_second_and_not_for_long() {
        let folder = |device, inode, nanos| Folder {
            device,
            inode,
            changed: (NOW, nanos),
        };
        let at = Instant::now();
        let look = Look {
            at,
            now: NOW,
            state: Arc::default(),
        };
        let kept = Kept {
            folder: folder(1, 2, 3),
            since: at,
            look: Some(look),
        };
        for (found, later, now, answers) in [
            (folder(1, 2, 3), Duration::ZERO, NOW, true),
            (folder(9, 2, 3), Duration::ZERO, NOW, false),
            (folder(1, 9, 3), Duration::ZERO, NOW, false),
            (folder(1, 2, 9), Duration::ZERO, NOW, false),
            (folder(1, 2, 3), KEPT, NOW, false),
            (folder(1, 2, 3), Duration::ZERO, NOW + 1, false),
        ] {
            let state = kept.state(found, at + later, now);
            assert_eq!(state.is_some(), answers, "{found:?} {later:?} {now}");
        }
    }

    #[test]
    fn a_thread_that_stood_still_believes_less() {
        let start = Instant::now();
        // Three reads: milliseconds at which each began and at which it had seen the folder; and whether the last
        // one is answered from what the second one found.
        for (reads, is_kept) in [
            ([(0, 0), (20, 20), (119, 119)], true),
            ([(0, 0), (20, 20), (21, 120)], false),
            ([(0, 0), (20, 70), (120, 120)], false),
            ([(0, 20), (20, 20), (30, 30)], false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let files = Files::new(folder.path().to_owned());
            let states = reads.map(|(began, seen)| {
                let mut times = [began, seen].into_iter();
                let clock = || start + Duration::from_millis(times.next().unwrap());
                files.read_by(NOW, clock).unwrap()
            });
            let [_, second, third] = states;
            assert_eq!(Arc::ptr_eq(&second, &third), is_kept, "{reads:?}");
        }
    }
}
