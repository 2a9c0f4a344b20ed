//! A folder of flag files, looked at before each check: `touch state/halt/global` is enough.
//!
//! A file is named after its scope, other characters as `%XX`; what is in it only explains.
//! `epoch` holds epoch, generation and what was halted lately. Names with a leading dot are no
//! flags: `.members/` (who obeys), `.cleared/` (what was ended), `.probe`, `.lock`.

mod change;
mod kept;
mod listing;
mod parsed;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use kept::Kept;
use listing::{Entry, documents};
use parsed::{Ended, Flags, Parsed};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use writ_proto::host::store::owner::{A_MOMENT, give, lock_in_turn};

use super::HaltMark;
use crate::ids;

use super::roster::{GONE_MS, SILENT_MS};
use super::roster::{exists, host};
use super::text::{file_name, mark_text, parse_mark, scope_of};
use super::{
    Act, CLEARED_MAX, Cleared, FLAGS_MAX, Flag, HaltError, HaltState, ID_BYTES_MAX, MEMBERS_MAX,
    Mark, Member, Probe, Scope,
};

const EPOCH: &str = "epoch";
/// Start of the id of a flag that no program wrote.
const BY_HAND: &str = "hand-";
/// What is longer was not written by us.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The folder.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
    /// What this process saw highest, and whether the folder is behind it: one that went back is not known.
    seen: Arc<Mutex<(HaltMark, bool)>>,
    parsed: Arc<ArcSwap<Flags>>,
    kept: Arc<ArcSwapOption<Kept>>,
    ended: Arc<ArcSwap<Ended>>,
}

fn failed(path: &Path, why: impl core::fmt::Display) -> HaltError {
    HaltError(format!("{}: {why}", path.display()))
}

/// A small file of ours as text; none if it is not there.
fn text_of(path: &Path) -> Result<Option<String>, HaltError> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => Err(failed(path, "too long")),
        // A pipe would be waited for, and a device never ends.
        Ok(found) if !found.is_file() => Err(failed(path, "no plain file")),
        Ok(_) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| failed(path, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

/// A file that nothing reads yet; it goes with this, unless it has got its name by then.
struct Fresh(PathBuf);

impl Fresh {
    /// Nobody else writes into it, and none that was left over is.
    fn write(folder: &Path, text: &str, durable: bool) -> std::io::Result<Self> {
        // Its name is short: that of a flag may be as long as names can be.
        let path = folder.join(format!(".{}.new", ids::new_id().simple()));
        let mut file = File::create_new(&path)?;
        let fresh = Self(path);
        give(&file, folder);
        file.write_all(text.as_bytes())?;
        if durable {
            file.sync_all()?;
        }
        Ok(fresh)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Without this a name may be gone after a power cut.
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Gives a file a name that nothing has; whether nothing had it.
fn put(from: &Path, to: &Path) -> std::io::Result<bool> {
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        // Not every file system knows links.
        Err(_) => moved(from, to),
    }
}

fn moved(from: &Path, to: &Path) -> std::io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) if to.exists() => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(from, to).map(|()| true),
        Err(error) => Err(error.into()),
    }
}

/// When a file was last written: Unix seconds, and nanoseconds for an id.
fn modified(path: &Path) -> (i64, u128) {
    let time = std::fs::metadata(path).and_then(|found| found.modified());
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = time.map(since).unwrap_or_default();
    (
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        since.as_nanos(),
    )
}

/// A flag counts whatever is in its file; the name decides what it covers, and one that is no
/// scope halts everything rather than nothing.
fn flag(path: &Path, name: &str) -> Flag {
    flag_of(
        path,
        name,
        &text_of(path).ok().flatten().unwrap_or_default(),
    )
}

/// The same of a file that was read.
fn flag_of(path: &Path, name: &str, text: &str) -> Flag {
    let named = scope_of(name);
    // Nobody would look for what halts everything in a file that is of no halt, such as a copy of one.
    let strange = named.is_none().then(|| {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        format!("{name} in the halt store is named after no scope; if nobody meant to halt, move it away")
    });
    let scope = named.unwrap_or_else(Scope::global);
    let written = serde_json::from_str::<Flag>(text).ok();
    let written = written.filter(|flag| !flag.id.is_empty() && flag.id.len() <= ID_BYTES_MAX);
    if let Some(written) = written {
        let reason = strange.unwrap_or(written.reason);
        return Flag {
            scope,
            reason,
            ..written
        };
    }
    let (since, nanos) = modified(path);
    // One that was moved here, or copied with its time, halts since then.
    let changed = std::fs::metadata(path).map_or(0, |found| {
        let (seconds, nanos) = (found.ctime(), found.ctime_nsec());
        seconds
            .saturating_mul(1_000)
            .saturating_add(nanos.div_euclid(1_000_000) + 1)
    });
    let act = Act {
        reason: strange.unwrap_or_default(),
        at: since,
        ..Act::default()
    };
    Flag {
        // Up to its end: a millisecond that has begun may hold writs that came before.
        at_ms: i64::try_from(nanos.div_ceil(1_000_000))
            .unwrap_or(i64::MAX)
            .max(changed),
        ..Flag::new(scope, &act, format!("{BY_HAND}{nanos}"))
    }
}

/// Whether a flag has ended by itself. One that was touched after its end was made by hand anew.
fn expired(flag: &Flag, path: &Path, now: i64) -> bool {
    flag.until > 0 && flag.until <= now && modified(path).0 <= flag.until
}

/// Flags that were read between two looks at the mark: none that is counted is missing, and what came and went
/// meanwhile revokes.
fn between(before: &Mark, mut flags: Vec<Flag>, after: Mark) -> HaltState {
    flags.sort_by(|a, b| a.scope.cmp(&b.scope));
    HaltState {
        epoch: after.epoch,
        generation: before.generation,
        flags,
        recent: after.recent,
    }
}

impl Files {
    /// The store in a folder; it must exist, or everything is halted.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            seen: Arc::default(),
            parsed: Arc::default(),
            kept: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// See [`super::HaltStore::remember`]; gives the highest so far.
    pub(super) fn remember(&self, earlier: HaltMark) -> HaltMark {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0 = seen.0.or_higher(earlier);
        seen.0
    }

    /// The folder went back: from now on it is known again only when somebody armed it.
    fn lost(&self, now: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.1 {
            *seen = (seen.0.beyond(now), true);
        }
    }

    fn found(&self, mark: HaltMark) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.or_higher(seen.0) == mark {
            *seen = (mark, false);
        }
    }

    /// What is in the folder at this moment.
    pub(super) fn look(&self, now: i64) -> Result<HaltState, HaltError> {
        // Taken before the look: what another thread sees meanwhile is newer, and no step back.
        let earlier = self.remember(HaltMark::default());
        // Before the flags, so that none that it counts is missing among them.
        let counted = self.mark()?;
        let mut flags = Vec::new();
        let before = self.parsed.load();
        let mut parsed = BTreeMap::new();
        let began = Instant::now();
        for Entry { name, inode } in self.names()? {
            if name == EPOCH {
                continue;
            }
            let known = before.get(&name);
            if let Some(known) = known.filter(|known| known.stands(inode, began, now)) {
                flags.push(known.flag.clone());
                parsed.insert(name, known.clone());
                continue;
            }
            let path = self.folder.join(&name);
            let one = Parsed::of(&path, (&name, inode), known, began);
            let mut flag = one.flag.clone();
            parsed.insert(name, one);
            if expired(&flag, &path, now) {
                continue;
            }
            if flag.until <= now {
                flag.until = 0;
            }
            flags.push(flag);
        }
        self.parsed.store(Arc::new(parsed));
        // Behind the flags, so that one that came and went meanwhile is in here.
        let state = between(&counted, flags, self.mark()?);
        let own = HaltMark::of(&state);
        if own.or_higher(earlier) != own {
            self.lost(now);
            let why = "the epoch or generation went back; look at the flags, then `halt arm`";
            return Err(failed(&self.folder, why));
        }
        self.found(own);
        Ok(state)
    }

    /// The files of the folder, without those that start with a dot.
    fn names(&self) -> Result<Vec<Entry>, HaltError> {
        let mut found = Vec::new();
        let entries = std::fs::read_dir(&self.folder).map_err(|e| failed(&self.folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(&self.folder, error))?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| failed(&self.folder, "a strange name"))?;
            if name.starts_with('.') {
                continue;
            }
            found.push(Entry {
                name: name.to_owned(),
                inode: entry.ino(),
            });
            if found.len() > FLAGS_MAX {
                return Err(failed(&self.folder, "too many flags"));
            }
        }
        Ok(found)
    }

    fn mark(&self) -> Result<Mark, HaltError> {
        let path = self.folder.join(EPOCH);
        match text_of(&path)? {
            None => Ok(Mark::default()),
            Some(text) => parse_mark(&text).ok_or_else(|| failed(&path, "not an epoch")),
        }
    }

    fn save(&self, mark: &Mark) -> Result<(), HaltError> {
        self.write(&self.folder, EPOCH, &mark_text(mark), true)
    }

    /// Keeps other writers away; never readers, and never for long.
    fn lock(&self) -> Result<File, HaltError> {
        let path = self.folder.join(".lock");
        lock_in_turn(&path, &self.folder, A_MOMENT).map_err(|error| failed(&path, error))
    }

    /// See [`super::HaltStore::cleared`].
    pub(super) fn cleared(&self) -> Result<Vec<Cleared>, HaltError> {
        let folder = self.folder.join(".cleared");
        let known = self.ended.load();
        let mut ended = Ended::new();
        for Entry { name, inode } in documents(&folder, CLEARED_MAX.saturating_add(1))? {
            let before = known.get(&name).filter(|(entry, _)| *entry == inode);
            let cleared = match before {
                Some((_, cleared)) => Some(cleared.clone()),
                // It may be gone by now.
                None => {
                    text_of(&folder.join(&name))?.and_then(|text| serde_json::from_str(&text).ok())
                }
            };
            ended.extend(cleared.map(|cleared| (name, (inode, cleared))));
        }
        let all = ended.values().map(|(_, cleared)| cleared.clone()).collect();
        self.ended.store(Arc::new(ended));
        Ok(all)
    }

    /// See [`super::HaltStore::probe`].
    pub(super) fn probe(&self, probe: &Probe) -> Result<(), HaltError> {
        let text = serde_json::to_string(probe).map_err(|error| HaltError(error.to_string()))?;
        self.write(&self.folder, ".probe", &text, false)
    }

    /// See [`super::HaltStore::asked`].
    pub(super) fn asked(&self) -> Result<Option<Probe>, HaltError> {
        let path = self.folder.join(".probe");
        let text = text_of(&path)?;
        // A question that cannot be read is not answered.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// See [`super::HaltStore::enroll`].
    pub(super) fn enroll(&self, member: &Member) -> Result<(), HaltError> {
        let text = serde_json::to_string(member).map_err(|error| HaltError(error.to_string()))?;
        let folder = self.sub(".members")?;
        let name = format!("{}.json", file_name(&member.instance));
        self.write(&folder, &name, &text, false)
    }

    /// See [`super::HaltStore::leave`].
    pub(super) fn leave(&self, instance: &str) -> Result<(), HaltError> {
        let name = format!("{}.json", file_name(instance));
        let path = self.folder.join(".members").join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// See [`super::HaltStore::roster`].
    pub(super) fn roster(&self, now_ms: i64) -> Result<Vec<Member>, HaltError> {
        let here = host();
        let mut members = Vec::new();
        for (path, text) in self.texts(".members", MEMBERS_MAX)? {
            let Ok(member) = serde_json::from_str::<Member>(&text) else {
                return Err(failed(&path, "not an entry of a connectord"));
            };
            let silent = now_ms.saturating_sub(member.seen_ms);
            let ended = silent > SILENT_MS && member.host == here && !exists(member.pid);
            if silent > GONE_MS || ended {
                // Its entry is only litter now; another reader may have removed it.
                drop(std::fs::remove_file(&path));
            } else {
                members.push(member);
            }
        }
        members.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(members)
    }

    fn sub(&self, name: &str) -> Result<PathBuf, HaltError> {
        let folder = self.folder.join(name);
        let made = std::fs::create_dir(&folder).and_then(|()| File::open(&folder));
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(&folder, error)),
            Err(_) => Ok(folder),
            Ok(made) => {
                give(&made, &self.folder);
                Ok(folder)
            }
        }
    }

    /// The texts of a folder of ours; none if it is not there.
    fn texts(&self, name: &str, most: usize) -> Result<Vec<(PathBuf, String)>, HaltError> {
        let folder = self.folder.join(name);
        let mut texts = Vec::new();
        for Entry { name, .. } in documents(&folder, most)? {
            let path = folder.join(name);
            // It may be gone by now.
            if let Some(text) = text_of(&path)? {
                texts.push((path, text));
            }
        }
        Ok(texts)
    }

    fn write(&self, folder: &Path, name: &str, text: &str, durable: bool) -> Result<(), HaltError> {
        let path = folder.join(name);
        let written = Fresh::write(folder, text, durable)
            .and_then(|fresh| std::fs::rename(&fresh.0, &path))
            .and_then(|()| match durable {
                true => sync(folder),
                false => Ok(()),
            });
        written.map_err(|error| failed(&path, error))
    }

    /// Writes a file durably where there is none; whether there was none.
    fn place(&self, name: &str, text: &str) -> Result<bool, HaltError> {
        let (folder, path) = (&self.folder, self.folder.join(name));
        let placed = Fresh::write(folder, text, true).and_then(|fresh| {
            let is_placed = put(&fresh.0, &path)?;
            sync(folder).map(|()| is_placed)
        });
        placed.map_err(|error| failed(&path, error))
    }
}

#[cfg(test)]
mod tests;
