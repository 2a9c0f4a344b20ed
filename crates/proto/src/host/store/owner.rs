//! Whose a file is: a command that root runs takes nothing away from the daemon.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

const ROOT: u32 = 0;

/// Opens a file to lock it, or makes it, and gives it to the owner of `like`: the daemon opens it too. No link is
/// followed, and nothing that is in it goes.
///
/// # Errors
/// When it cannot be opened.
pub fn lock_file(path: &Path, like: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    // Not what somebody put there instead of it.
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    // Nobody else keeps it locked.
    let lock = options.mode(0o600).custom_flags(flags).open(path)?;
    let found = lock.metadata()?;
    // Only an empty file of one name is given away.
    if found.is_file() && found.nlink() == 1 && found.len() == 0 {
        give(&lock, like);
    }
    Ok(lock)
}

/// How long a lock is waited for that others hold for a moment only.
pub const A_MOMENT: Duration = Duration::from_secs(1);
/// Pause between two looks at a lock.
const LOCK_STEP: Duration = Duration::from_millis(5);

/// The same, locked. Whoever holds it is waited for, but not for ever: one that is stopped keeps nobody.
///
/// # Errors
/// When it cannot be opened, or somebody holds it for longer than `most`.
pub fn lock_in_turn(path: &Path, like: &Path, most: Duration) -> Result<File> {
    let file = lock_file(path, like)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < most => {
                std::thread::sleep(LOCK_STEP);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorKind::WouldBlock,
                    "another process holds it",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Gives a file or folder that was just made to the owner of `like`. Whoever is not root cannot, and need not.
pub fn give(made: &File, like: &Path) {
    let (Ok(own), Ok(owner)) = (made.metadata(), std::fs::metadata(like)) else {
        return;
    };
    // What somebody else made stays his: the folder may be of root, and its files of the daemon.
    if own.uid() == ROOT && (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
        let owner = (Some(owner.uid()), Some(owner.gid()));
        drop(std::os::unix::fs::fchown(made, owner.0, owner.1));
    }
}

/// The folder of a file.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_lock_is_waited_for_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock_in_turn(&path, folder.path(), Duration::ZERO).unwrap();
        let refused = lock_in_turn(&path, folder.path(), Duration::from_millis(30)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| lock_in_turn(&path, folder.path(), A_MOMENT * 60));
            drop(held);
            assert!(waits.join().unwrap().is_ok());
        });
    }

    #[test]
    fn what_root_made_is_given_away_and_what_is_somebody_elses_stays_his() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, owner: u32| -> Result<(PathBuf, File)> {
            let path = folder.path().join(name);
            let file = File::create(&path)?;
            chown(&path, Some(owner), Some(owner)).map(|()| (path, file))
        };
        let (Ok((like, _)), Ok((_, his))) = (made("like", 65_534), made("his", 65_533)) else {
            eprintln!("SKIPPED: only root gives files away");
            return;
        };
        let (_, own) = made("own", ROOT).unwrap();
        for (file, owner) in [(own, 65_534), (his, 65_533)] {
            give(&file, &like);
            assert_eq!(file.metadata().unwrap().uid(), owner);
        }
    }
}
