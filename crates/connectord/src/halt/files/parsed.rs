//! Flags and the very files that they were read from: an unchanged file is not read again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Instant, UNIX_EPOCH};

use super::kept::KEPT;
use crate::halt::{Cleared, Flag};

/// Flags by the names of their files.
pub(super) type Flags = BTreeMap<String, Parsed>;

/// Halts that were ended, by the names of their files, each with its inode: such a file is written
/// once.
pub(super) type Ended = BTreeMap<String, (u64, Cleared)>;

/// A flag and its file.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) flag: Flag,
    /// The file, by its folder.
    entry: u64,
    /// The file, by itself: inode, nanoseconds of the last change, bytes.
    key: (u64, u128, u64),
    /// When that was looked at.
    at: Instant,
}

impl Parsed {
    /// The flag of a file, as it was read before if the file is the same.
    pub(super) fn of(
        path: &Path,
        (name, entry): (&str, u64),
        before: Option<&Self>,
        at: Instant,
    ) -> Self {
        let found = std::fs::metadata(path).ok();
        let key = found.map_or((0, 0, 0), |found| {
            let time = found.modified().ok();
            let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let nanos = since.unwrap_or_default().as_nanos();
            (found.ino(), nanos, found.len())
        });
        let flag = match before {
            Some(known) if known.key == key => known.flag.clone(),
            _ => super::flag(path, name),
        };
        Self {
            flag,
            entry,
            key,
            at,
        }
    }

    /// Whether the file is there still, as its folder says, and halted a moment ago. What it says
    /// beside that may be another file's by now, but no halt is missed for it: only a flag that is
    /// in force is taken without a look at its file.
    pub(super) fn stands(&self, entry: u64, at: Instant, now: i64) -> bool {
        let fresh = at.saturating_duration_since(self.at) < KEPT;
        fresh && self.entry == entry && (self.flag.until == 0 || self.flag.until > now)
    }
}
