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
    /// The file, by itself: inode, nanoseconds of the last change, bytes; nothing where it was not read.
    key: Option<(u64, u128, u64)>,
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
        let mut key = found.map(|found| {
            let time = found.modified().ok();
            let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let nanos = since.unwrap_or_default().as_nanos();
            (found.ino(), nanos, found.len())
        });
        let known = before.filter(|known| key.is_some() && known.key == key);
        let flag = known.map_or_else(
            || {
                let text = super::text_of(path);
                // What could not be read now may be the next time, without a change of the file.
                key = key.filter(|_| text.is_ok());
                let text = text.ok().flatten().unwrap_or_default();
                super::flag_of(path, name, &text)
            },
            |known| known.flag.clone(),
        );
        Self {
            flag,
            entry,
            key,
            at,
        }
    }

    /// Whether the file is there still, as its folder says, and halted a moment ago. No halt is missed
    /// for it: only a flag that is in force is taken without a look at its file.
    pub(super) fn stands(&self, entry: u64, at: Instant, now: i64) -> bool {
        let fresh = at.saturating_duration_since(self.at) < KEPT;
        fresh && self.entry == entry && (self.flag.until == 0 || self.flag.until > now)
    }
}
