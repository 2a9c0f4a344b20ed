//! `set.lock`: which files a set has, with their digests, in the form of `sha256sum`. A set that has
//! one comes into force only when every file is the one that is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use writ_proto::digest::sha256;

use crate::domain::policy::sources::Sources;

/// Name of the file.
pub const LOCK: &str = "set.lock";
const LINES_MAX: usize = 20_000;
/// Lines of files that are no part of what decides.
const TESTS: &str = "tests/";

impl Sources {
    /// Every file of the set as it is named in its folder.
    fn files(&self) -> BTreeMap<String, &str> {
        let mut files = BTreeMap::from([
            ("set.toml".to_owned(), self.set_toml.as_str()),
            ("entities.json".to_owned(), self.entities_json.as_str()),
        ]);
        files.extend(
            self.policies
                .iter()
                .map(|(name, text)| (name.clone(), text.as_str())),
        );
        files.extend(
            self.cards
                .iter()
                .map(|(name, text)| (format!("actions/{name}"), text.as_str())),
        );
        files
    }

    /// What `set.lock` must say of these files.
    #[must_use]
    pub fn lock_text(&self) -> String {
        let mut out = String::new();
        for (name, text) in self.files() {
            let digest = hex::encode(sha256(text.as_bytes()));
            let _ = writeln!(out, "{digest}  {name}");
        }
        out
    }

    /// File and sentence for each file that is not the listed one.
    pub(crate) fn unlike_lock(&self) -> Vec<(String, String)> {
        let Some(lock) = &self.lock else {
            return Vec::new();
        };
        let mut wrong = Vec::new();
        let mut listed = BTreeSet::new();
        let files = self.files();
        for (number, line) in (1_usize..).zip(lock.lines().take(LINES_MAX)) {
            // `sha256sum -b` writes a star before the name.
            let parts = line.split_once("  ").or_else(|| line.split_once(" *"));
            let digest = parts.and_then(|(digest, _)| hex::decode(digest).ok());
            let Some(((_, name), digest)) = parts.zip(digest) else {
                let message = format!("line {number} is not `<sha256>  <file>`");
                wrong.push((LOCK.to_owned(), message));
                continue;
            };
            let name = name.strip_prefix("./").unwrap_or(name);
            if name.starts_with(TESTS) {
                continue;
            }
            listed.insert(name.to_owned());
            match files.get(name) {
                None => wrong.push((name.to_owned(), format!("{LOCK} lists it; it is not there"))),
                Some(text) if sha256(text.as_bytes()).as_slice() != digest => {
                    let message = format!("it is not the file that {LOCK} lists");
                    wrong.push((name.to_owned(), message));
                }
                Some(_) => {}
            }
        }
        let unlisted = files.keys().filter(|name| !listed.contains(*name));
        wrong.extend(unlisted.map(|name| (name.clone(), format!("{LOCK} does not list it"))));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shipped;

    #[test]
    fn a_sealed_set_is_whole_or_is_not_taken() {
        let mut set = shipped("acme");
        assert!(set.unlike_lock().is_empty(), "no lock, no demand");
        set.lock = Some(set.lock_text());
        assert!(set.unlike_lock().is_empty());
        let with = |change: &dyn Fn(&mut super::Sources)| {
            let mut changed = set.clone();
            change(&mut changed);
            changed.unlike_lock()
        };
        let first = set
            .policies
            .first()
            .map(|(name, _)| name.clone())
            .unwrap_or_default();
        let gone = with(&|set| set.policies.clear());
        assert!(
            gone.iter()
                .any(|(file, why)| *file == first && why.contains("not there"))
        );
        let edited = with(&|set| set.set_toml.push('\n'));
        assert_eq!(edited.len(), 1, "{edited:?}");
        let more = with(&|set| set.policies.push(("new.cedar".into(), String::new())));
        assert_eq!(
            more,
            [(
                "new.cedar".to_owned(),
                "set.lock does not list it".to_owned()
            )]
        );
        let card = with(&|set| set.cards.iter_mut().for_each(|(_, text)| text.push('\n')));
        assert!(
            card.iter().all(|(file, _)| file.starts_with("actions/")),
            "{card:?}"
        );
        let riddle = with(&|set| set.lock = Some("what".into()));
        assert!(riddle.iter().any(|(_, why)| why.contains("line 1")));
        let tests = with(&|set| {
            if let Some(lock) = &mut set.lock {
                lock.push_str(&format!("{}  tests/a.json\n", "0".repeat(64)));
            }
        });
        assert!(tests.is_empty(), "{tests:?}");
        let binary = with(&|set| {
            if let Some(lock) = &mut set.lock {
                *lock = lock.replace("  ", " *");
            }
        });
        assert!(binary.is_empty(), "{binary:?}");
    }
}
