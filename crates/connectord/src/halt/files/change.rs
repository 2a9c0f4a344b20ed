//! How halts come and go: each change of the folder, and in which order its files are written.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::listing::{Entry, prune};
use super::{BY_HAND, EPOCH, Files, Parsed, expired, failed, modified, put};
use crate::halt::as_one;
use crate::halt::text::{file_name, scope_of};
use crate::halt::{
    Act, Cleared, Flag, HaltError, HaltMark, HaltState, Mark, Scope, TIME_OVER, oldest_ms,
};
use crate::ids;

/// A halt that stands is not ended by another one that ends earlier: resuming takes a reason.
fn longer(flag: &Flag, standing: &Flag) -> Flag {
    let until = match (flag.until, standing.until) {
        (0, _) | (_, 0) => 0,
        (own, other) => own.max(other),
    };
    Flag {
        until,
        ..flag.clone()
    }
}

/// How much of the name of a file that is of no halt stays, where it is moved away: with what is put behind it, it is
/// a name of less than 255 bytes whatever its letters are.
const STRAY_CHARS_MAX: usize = 40;

/// A flag, its file, and when that was written last: nanoseconds since 1970.
struct Found {
    path: PathBuf,
    written: u128,
    flag: Flag,
}

impl Found {
    fn of(path: PathBuf, name: &str) -> Self {
        let (_, written) = modified(&path);
        let flag = super::flag(&path, name);
        Self {
            path,
            written,
            flag,
        }
    }
}

/// The halt of a file that is there. One that was touched after its end was made by hand anew, and has none.
fn standing(path: &Path, name: &str) -> Option<Flag> {
    let mut flag = path.exists().then(|| super::flag(path, name))?;
    if flag.until > 0 && modified(path).0 > flag.until {
        flag.until = 0;
    }
    Some(flag)
}

/// Gives a file the time of an order.
fn touch(path: &Path, flag: &Flag) -> std::io::Result<()> {
    let at = Duration::from_millis(flag.moment_ms().unsigned_abs());
    let file = File::options().write(true).open(path)?;
    file.set_modified(UNIX_EPOCH + at)
}

/// Letters at the beginning of a name that have another spelling; every name begins with so many.
const LETTERS: u32 = 6;
/// Each of these letters as it is, or as `%XX`.
const SPELLINGS: u32 = 1 << LETTERS;

/// The same name with some of its first letters as `%XX`.
fn spelt(name: &str, which: u32) -> String {
    let mut spelt = String::new();
    for (at, letter) in (0..).zip(name.chars()) {
        if at < LETTERS && which & (1 << at) != 0 && letter.is_ascii_lowercase() {
            spelt.push_str(&format!("%{:02X}", u32::from(letter)));
        } else {
            spelt.push(letter);
        }
    }
    spelt
}

impl Files {
    /// Halts beside a flag of the same scope, which stays as it is: whoever has the lock may be about to end it.
    /// Ordered again and again, the same halt stands once more and no oftener.
    fn place_beside(&self, name: &str, flag: &Flag, text: &str) -> Result<(), HaltError> {
        for name in (1..SPELLINGS).map(|which| spelt(name, which)) {
            if self.place(&name, text)? {
                return Ok(());
            }
            let path = self.folder.join(&name);
            let beside = standing(&path, &name);
            if beside.is_some_and(|beside| longer(flag, &beside).until == beside.until) {
                // Whoever has read it already and is about to end it finds another one.
                return touch(&path, flag).map_err(|error| failed(&path, error));
            }
        }
        let why = "no other spelling of its name is free; end what holds .lock";
        Err(failed(&self.folder.join(name), why))
    }

    /// See [`crate::halt::HaltStore::set`]. The flag halts before anything else is tried, and takes the place of
    /// another one only after that one was read and counted: it ends no earlier.
    pub(in crate::halt) fn set(&self, flag: &Flag) -> Result<HaltState, HaltError> {
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let name = file_name(&flag.scope.to_string());
        let path = self.folder.join(&name);
        let text =
            |flag: &Flag| serde_json::to_string(flag).map_err(|error| HaltError(error.to_string()));
        let is_placed = self.place(&name, &text(flag)?)?;
        let lock = self.lock();
        if lock.is_err() && !is_placed {
            // What stands may end earlier, and replacing it would take the lock.
            self.place_beside(&name, flag, &text(flag)?)?;
        }
        let _lock = lock?;
        let mut mark = self.mark()?;
        // The end of an earlier halt that was under way may have taken this one with it.
        let is_placed = !path.exists() && self.place(&name, &text(flag)?)?;
        if let Some(other) = standing(&path, &name).filter(|other| !is_placed && other != flag) {
            let is_over = expired(&other, &path, flag.since);
            // First, or one that was made by hand kills no writ.
            self.count(&mut mark, [&other], flag.since)?;
            let flag = if is_over {
                flag.clone()
            } else {
                longer(flag, &other)
            };
            self.write(&self.folder, &name, &text(&flag)?, true)?;
        }
        mark.count(&flag.scope, flag.moment_ms(), flag.since);
        mark.change();
        self.save(&mark)?;
        self.look(flag.since)
    }

    /// Counts halts, durably; whether any was not counted yet.
    fn count<'a>(
        &self,
        mark: &mut Mark,
        flags: impl IntoIterator<Item = &'a Flag>,
        now: i64,
    ) -> Result<bool, HaltError> {
        let before = mark.clone();
        for flag in flags {
            mark.count(&flag.scope, flag.moment_ms(), now);
        }
        if *mark == before {
            return Ok(false);
        }
        self.save(mark).map(|()| true)
    }

    /// See [`crate::halt::HaltStore::clear`].
    pub(in crate::halt) fn clear(
        &self,
        scope: &Scope,
        act: &Act,
        expected: Option<&Flag>,
    ) -> Result<(HaltState, Option<Flag>), HaltError> {
        let _lock = self.lock()?;
        let mut mark = self.mark()?;
        let mut all = Vec::new();
        // A misspelt file halts everything; who clears `global` clears it too.
        for Entry { name, .. } in self.names()? {
            if name != EPOCH && scope_of(&name).unwrap_or_else(Scope::global) == *scope {
                all.push(Found::of(self.folder.join(&name), &name));
            }
        }
        let is_over = |found: &&Found| expired(&found.flag, &found.path, act.at);
        let standing = as_one(
            all.iter()
                .filter(|one| !is_over(one))
                .map(|found| &found.flag),
        );
        if expected.is_some_and(|flag| standing.as_ref().map(|one| &one.id) != Some(&flag.id)) {
            return Ok((self.look(act.at)?, None));
        }
        // First, or a flag that was made by hand and is gone has killed no writ.
        self.count(&mut mark, all.iter().map(|found| &found.flag), act.at)?;
        let (mut told, mut cleared) = (Ok(()), None);
        // One that cannot be ended keeps no other one.
        for found in &all {
            let recorded = self.record(&found.flag, act);
            match recorded.and_then(|()| self.take(found)) {
                Ok(true) => cleared = Some(found.flag.clone()),
                // Made anew meanwhile: it stands, and nobody ended it.
                Ok(false) => self.forget(&found.flag),
                Err(error) => {
                    self.forget(&found.flag);
                    told = Err(error);
                }
            }
        }
        if !all.is_empty() {
            mark.change();
            self.save(&mark)?;
        }
        told?;
        Ok((self.look(act.at)?, cleared))
    }

    /// Takes back what was written down of the end of a halt that stands.
    fn forget(&self, flag: &Flag) {
        let name = format!("{}.json", file_name(&flag.id));
        if let Ok(folder) = self.sub(".cleared") {
            drop(std::fs::remove_file(folder.join(name)));
        }
    }

    /// Writes down who ended a halt.
    fn record(&self, flag: &Flag, act: &Act) -> Result<(), HaltError> {
        let cleared = Cleared {
            flag: flag.clone(),
            act: act.clone(),
        };
        let text = serde_json::to_string(&cleared).map_err(|error| HaltError(error.to_string()))?;
        let folder = self.sub(".cleared")?;
        let name = format!("{}.json", file_name(&flag.id));
        self.write(&folder, &name, &text, true)?;
        prune(&folder)
    }

    /// Takes a flag away, unless somebody made it anew meanwhile: what is moved away is looked at again, and put back if
    /// it is another one. Whether it was this one.
    fn take(&self, found: &Found) -> Result<bool, HaltError> {
        let path = &found.path;
        let own = path.file_name().and_then(|name| name.to_str());
        let own = own.unwrap_or_default();
        let is_stray = scope_of(own).is_none();
        // A name of its own: a folder or a second name of the same file that lies there would be in the way.
        let id = ids::new_id().simple();
        let away = if is_stray {
            let own: String = own.chars().take(STRAY_CHARS_MAX).collect();
            format!("{own}.stray-{id}")
        } else {
            format!(".{id}.ended")
        };
        let away = self.sub(".cleared")?.join(away);
        match std::fs::rename(path, &away) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            moved => moved.map_err(|error| failed(path, error))?,
        }
        let moved = Found::of(away, own);
        let is_same = moved.flag.id == found.flag.id && moved.written == found.written;
        if !is_same {
            // Never over a newer one.
            put(&moved.path, path).map_err(|error| failed(path, error))?;
        }
        if is_stray && is_same {
            // It is of no halt, so it is somebody's.
            return Ok(true);
        }
        if moved.path.is_dir() {
            drop(std::fs::remove_dir_all(&moved.path));
        } else {
            drop(std::fs::remove_file(&moved.path));
        }
        Ok(is_same)
    }

    /// See [`crate::halt::HaltStore::tend`].
    pub(in crate::halt) fn tend(&self, now: i64) -> Result<(), HaltError> {
        if self.due(now)?.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut mark = self.mark()?;
        let due = self.due(now)?;
        // First, as with an end by a person.
        let is_counted = self.count(&mut mark, due.iter().map(|(found, _)| &found.flag), now)?;
        let (mut told, mut is_changed) = (Ok(()), is_counted);
        // One that cannot be ended keeps no other one.
        for (found, _) in due.iter().filter(|(_, gone)| *gone) {
            match self.expire(found) {
                Ok(()) => is_changed = true,
                Err(error) => told = Err(error),
            }
        }
        if is_changed {
            mark.change();
            self.save(&mark)?;
        }
        told
    }

    /// Flags that have expired, or were made by hand and are not counted yet, and whether they are over.
    fn due(&self, now: i64) -> Result<Vec<(Found, bool)>, HaltError> {
        let mark = self.mark()?;
        let mut due = Vec::new();
        let before = self.parsed.load();
        let began = Instant::now();
        for Entry { name, inode } in self.names()? {
            if name == EPOCH {
                continue;
            }
            let path = self.folder.join(&name);
            let (_, written) = modified(&path);
            let flag = Parsed::of(&path, (&name, inode), before.get(&name), began).flag;
            let gone = expired(&flag, &path, now);
            let fresh = flag.moment_ms() >= oldest_ms(now);
            let by_hand = flag.id.starts_with(BY_HAND) && fresh;
            if gone || by_hand && !mark.knows(&flag.scope, flag.moment_ms()) {
                let found = Found {
                    path,
                    written,
                    flag,
                };
                due.push((found, gone));
            }
        }
        Ok(due)
    }

    /// Ends a flag that has expired.
    fn expire(&self, found: &Found) -> Result<(), HaltError> {
        if !self.take(found)? {
            return Ok(());
        }
        let act = Act {
            by: String::new(),
            reason: TIME_OVER.to_owned(),
            at: found.flag.until,
        };
        self.record(&found.flag, &act)
    }

    /// See [`crate::halt::HaltStore::arm`].
    pub(in crate::halt) fn arm(&self, act: &Act) -> Result<HaltState, HaltError> {
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let _lock = self.lock()?;
        self.names()?;
        // An epoch that cannot be read is what arming mends.
        let mut mark = self.mark().unwrap_or_default();
        mark.arm(act.at, self.remember(HaltMark::default()));
        self.save(&mark)?;
        self.look(act.at)
    }
}

#[cfg(test)]
mod tests;
