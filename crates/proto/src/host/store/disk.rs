//! How much room the disk of a database has, and the reserve that is kept for what must go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(1);
/// After so long without an answer a disk is taken for full.
const HANGS: Duration = Duration::from_secs(10);
const MEGABYTE: u64 = 1_024 * 1_024;

/// What was seen of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// No reserve is kept, or the disk is that of a database server and is not seen from here.
    Unseen,
    /// It has more room than the reserve: the folder, and megabytes.
    Enough(PathBuf, u64),
    /// It has less.
    Short(PathBuf, u64),
    /// It does not say, and is taken for full: the folder, and why.
    Unknown(PathBuf, String),
}

impl Room {
    /// Whether agents are refused.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        matches!(self, Self::Short(..) | Self::Unknown(..))
    }
}

impl core::fmt::Display for Room {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unseen => write!(f, "no disk reserve is kept here"),
            Self::Enough(folder, free) | Self::Short(folder, free) => {
                write!(f, "the disk of {} has {free} MB free", folder.display())
            }
            Self::Unknown(folder, why) => {
                write!(
                    f,
                    "the free space of {} cannot be read: {why}",
                    folder.display()
                )
            }
        }
    }
}

/// Whether the disk of a database file has more room than the reserve, as it was when it was last looked at. The disk of a
/// database server is not seen from here: that one is never short.
#[derive(Debug)]
pub struct Reserve {
    folder: Option<PathBuf>,
    least: u64,
    short: AtomicBool,
}

impl Reserve {
    /// The reserve of a database by its URL. It is looked at once.
    #[must_use]
    pub fn new(url: &str, megabytes: u32) -> Self {
        let file = url.strip_prefix("sqlite://").map(Path::new);
        let folder = file.map(|file| {
            // The file may be a link to another disk.
            let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
            let folder = file.parent().filter(|folder| *folder != Path::new(""));
            folder.unwrap_or(Path::new(".")).to_owned()
        });
        let reserve = Self {
            folder: folder.filter(|_| megabytes > 0),
            least: u64::from(megabytes).saturating_mul(MEGABYTE),
            short: AtomicBool::new(false),
        };
        reserve.look();
        reserve
    }

    /// Whether there was less room than the reserve.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Looks at the disk.
    pub fn look(&self) -> Room {
        let Some(folder) = self.folder.clone() else {
            return Room::Unseen;
        };
        let room = match free(&folder) {
            Ok(free) if free < self.least => Room::Short(folder, free / MEGABYTE),
            Ok(free) => Room::Enough(folder, free / MEGABYTE),
            Err(error) => Room::Unknown(folder, error.to_string()),
        };
        let was = self.short.swap(room.is_short(), Ordering::Relaxed);
        if room.is_short() && !was {
            let reserve = self.least / MEGABYTE;
            tracing::error!(%room, reserve, "agents are refused until the disk has more room than store.reserve_mb");
        } else if was && !room.is_short() {
            tracing::warn!(%room, "the disk has room again; agents are served");
        }
        room
    }

    /// Looks again and again until the process ends.
    pub async fn watch(reserve: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let looking = Arc::clone(&reserve);
            // A file system that hangs must not hold up a thread that serves.
            let looked = tokio::task::spawn_blocking(move || looking.look());
            match tokio::time::timeout(HANGS, looked).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => tracing::error!(
                    "looking at the free space of the disk failed; what was seen last stands"
                ),
                Err(_) => {
                    reserve.short.store(true, Ordering::Relaxed);
                    tracing::error!(
                        "the disk does not say how much room it has; agents are refused"
                    );
                }
            }
        }
    }
}

/// Bytes that this process may still write.
fn free(folder: &Path) -> std::io::Result<u64> {
    let room = rustix::fs::statvfs(folder)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(test)]
mod tests;
