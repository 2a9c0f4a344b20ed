//! How halts come and go: each change of the folder, and in which order its files are written.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::listing::{Entry, prune};
use super::{BY_HAND, EPOCH, Files, Parsed, expired, failed};
use crate::halt::text::{file_name, scope_of};
use crate::halt::{Act, Cleared, Flag, HaltError, HaltState, Scope, TIME_OVER, oldest_ms};

/// A halt that stands is not ended by another one that ends earlier: resuming takes a reason.
fn longer(flag: &Flag, standing: &Flag) -> Flag {
    let until = match (flag.until, standing.until) {
        (0, _) => 0,
        // One that is not over although its end has come was made by hand anew.
        (_, other) if other <= flag.since => 0,
        (own, other) => own.max(other),
    };
    Flag {
        until,
        ..flag.clone()
    }
}

/// Most spellings of one name that stand beside each other.
const SPELLINGS_MAX: usize = 6;

/// The same name with one of its first letters as `%XX`; every name begins with so many letters.
fn spelt(name: &str, at: usize) -> Option<String> {
    let letter = name.chars().nth(at).filter(char::is_ascii_lowercase)?;
    let (before, after) = (name.get(..at)?, name.get(at.saturating_add(1)..)?);
    Some(format!("{before}%{:02X}{after}", u32::from(letter)))
}

impl Files {
    /// Halts beside a flag of the same scope, which stays as it is.
    fn place_beside(&self, name: &str, text: &str) -> Result<(), HaltError> {
        for name in (0..SPELLINGS_MAX).filter_map(|at| spelt(name, at)) {
            if self.place(&name, text)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// See [`crate::halt::HaltStore::set`]. The flag halts before anything else is tried, and takes the place of
    /// another one only after that one was read: it ends no earlier.
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
            self.place_beside(&name, &text(flag)?)?;
        }
        let _lock = lock?;
        let standing = path.exists().then(|| super::flag(&path, &name));
        let standing = standing.filter(|standing| !expired(standing, &path, flag.since));
        if standing.as_ref() != Some(flag) {
            // The end of an earlier halt that was under way may have taken this one with it.
            let flag = standing.map_or_else(|| flag.clone(), |standing| longer(flag, &standing));
            self.write(&self.folder, &name, &text(&flag)?, true)?;
        }
        let mut mark = self.mark()?;
        mark.count(&flag.scope, flag.moment_ms(), flag.since);
        mark.change();
        self.save(&mark)?;
        self.look(flag.since)
    }

    /// See [`crate::halt::HaltStore::clear`].
    pub(in crate::halt) fn clear(
        &self,
        scope: &Scope,
        act: &Act,
    ) -> Result<(HaltState, Option<Flag>), HaltError> {
        let _lock = self.lock()?;
        let mut mark = self.mark()?;
        let mut all = Vec::new();
        // A misspelt file halts everything; who clears `global` clears it too.
        for Entry { name, .. } in self.names()? {
            let path = self.folder.join(&name);
            if name == EPOCH || scope_of(&name).unwrap_or_else(Scope::global) != *scope {
                continue;
            }
            let flag = super::flag(&path, &name);
            mark.count(scope, flag.moment_ms(), act.at);
            all.push((path, flag));
        }
        if !all.is_empty() {
            // First, or a flag that was made by hand and is gone has killed no writ.
            self.save(&mark)?;
            for (path, flag) in &all {
                self.end(path, flag, act)?;
            }
            mark.change();
            self.save(&mark)?;
        }
        let cleared = all.pop().map(|(_, flag)| flag);
        Ok((self.look(act.at)?, cleared))
    }

    /// Writes down who ended a halt, then ends it.
    fn end(&self, path: &Path, flag: &Flag, act: &Act) -> Result<(), HaltError> {
        let cleared = Cleared {
            flag: flag.clone(),
            act: act.clone(),
        };
        let text = serde_json::to_string(&cleared).map_err(|error| failed(path, error))?;
        let folder = self.sub(".cleared")?;
        self.write(
            &folder,
            &format!("{}.json", file_name(&flag.id)),
            &text,
            true,
        )?;
        prune(&folder)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, error)),
            _ => Ok(()),
        }
    }

    /// See [`crate::halt::HaltStore::tend`].
    pub(in crate::halt) fn tend(&self, now: i64) -> Result<(), HaltError> {
        if self.due(now)?.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut mark = self.mark()?;
        let due = self.due(now)?;
        for (_, flag, _) in &due {
            mark.count(&flag.scope, flag.moment_ms(), now);
        }
        mark.change();
        // First, as with an end by a person.
        self.save(&mark)?;
        let gone: Vec<_> = due.iter().filter(|(.., gone)| *gone).collect();
        if gone.is_empty() {
            return Ok(());
        }
        for (path, flag, _) in gone {
            self.expire(path, flag)?;
        }
        mark.change();
        self.save(&mark)
    }

    /// Flags that have expired, or were made by hand and are not counted yet.
    fn due(&self, now: i64) -> Result<Vec<(PathBuf, Flag, bool)>, HaltError> {
        let mark = self.mark()?;
        let mut due = Vec::new();
        let before = self.parsed.load();
        let began = Instant::now();
        for Entry { name, inode } in self.names()? {
            if name == EPOCH {
                continue;
            }
            let path = self.folder.join(&name);
            let flag = Parsed::of(&path, (&name, inode), before.get(&name), began).flag;
            let gone = expired(&flag, &path, now);
            let fresh = flag.moment_ms() >= oldest_ms(now);
            let by_hand = flag.id.starts_with(BY_HAND) && fresh;
            if gone || by_hand && !mark.knows(&flag.scope, flag.moment_ms()) {
                due.push((path, flag, gone));
            }
        }
        Ok(due)
    }

    /// Ends an expired flag, unless somebody set it anew meanwhile: what is moved away is looked at
    /// again, and put back if it is another one.
    fn expire(&self, path: &Path, flag: &Flag) -> Result<(), HaltError> {
        let away = self.sub(".cleared")?.join(".expired");
        std::fs::rename(path, &away).map_err(|error| failed(path, error))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let moved = super::flag(&away, name.unwrap_or_default());
        if moved != *flag || !expired(&moved, &away, i64::MAX) {
            // Never over a newer one.
            return match std::fs::hard_link(&away, path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(path, error)),
                _ => Ok(()),
            };
        }
        let act = Act {
            by: String::new(),
            reason: TIME_OVER.to_owned(),
            at: flag.until,
        };
        self.end(&away, flag, &act)
    }

    /// See [`crate::halt::HaltStore::arm`].
    pub(in crate::halt) fn arm(&self, act: &Act) -> Result<HaltState, HaltError> {
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let _lock = self.lock()?;
        self.names()?;
        // An epoch that cannot be read is what arming mends.
        let mut mark = self.mark().unwrap_or_default();
        mark.arm(act.at);
        self.save(&mark)?;
        self.look(act.at)
    }
}
