//! What becomes of a halt that two processes, a hand or root have to do with.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, UNIX_EPOCH};

use super::super::moved;
use super::*;
use crate::halt::HaltMark;

const NOW: i64 = 1_800_000_000;

fn files() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path().to_owned());
    (folder, files)
}

fn act() -> Act {
    Act {
        at: NOW,
        ..Act::default()
    }
}

fn halt(scope: &str, until: i64) -> Flag {
    let scope: Scope = scope.parse().unwrap();
    let id = format!("{scope} {until}");
    Flag {
        until,
        ..Flag::new(scope, &act(), id)
    }
}

/// A file as it was last written so many seconds after 1970.
fn left(path: &Path, text: &str, touched: i64) {
    std::fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(touched.unsigned_abs());
    file.set_modified(at).unwrap();
}

fn text(flag: &Flag) -> String {
    serde_json::to_string(flag).unwrap()
}

#[test]
fn what_is_ordered_while_another_process_has_the_lock_survives_what_that_one_ends() {
    let (folder, files) = files();
    files.set(&halt("global", 0)).unwrap();
    let held = files.lock().unwrap();
    for _ in 0..2 {
        assert!(files.set(&halt("global", 0)).is_err(), "it may not last");
    }
    // The other process had listed it, and goes on.
    std::fs::remove_file(folder.path().join("global")).unwrap();
    let flags = files.look(NOW).unwrap().flags;
    assert!(flags.iter().any(|flag| flag.until == 0), "{flags:?}");
    assert!(flags.len() <= 2, "{flags:?}");
    drop(held);
}

#[test]
fn names_that_are_taken_by_halts_that_are_over_leave_one_for_the_next() {
    let (folder, files) = files();
    let over = text(&halt("global", NOW - 1));
    left(&folder.path().join("global"), &over, NOW - 9);
    for at in 0..LETTERS {
        left(
            &folder.path().join(spelt("global", 1 << at)),
            &over,
            NOW - 9,
        );
    }
    let held = files.lock().unwrap();
    assert!(files.set(&halt("global", 0)).is_err());
    let flags = files.look(NOW).unwrap().flags;
    assert!(flags.iter().any(|flag| flag.until == 0), "{flags:?}");
    // Where none is left, that is said.
    for which in 0..SPELLINGS {
        left(&folder.path().join(spelt("global", which)), &over, NOW - 9);
    }
    let error = files.set(&halt("global", 0)).unwrap_err();
    assert!(error.0.contains("no other spelling"), "{error}");
    drop(held);
}

#[test]
fn an_end_that_fails_is_tried_again_and_counts_nothing_and_keeps_no_other() {
    let (folder, files) = files();
    for scope in ["tenant:acme", "tenant:globex"] {
        let over = halt(scope, NOW - 1);
        left(&folder.path().join(file_name(scope)), &text(&over), NOW - 9);
    }
    std::fs::write(folder.path().join(".cleared"), "").unwrap();
    assert!(files.tend(NOW).is_err());
    let before = files.mark().unwrap();
    assert!(files.tend(NOW).is_err());
    assert_eq!(files.mark().unwrap(), before);
    std::fs::remove_file(folder.path().join(".cleared")).unwrap();
    files.tend(NOW).unwrap();
    assert_eq!(files.cleared().unwrap().len(), 2);
    assert!(files.mark().unwrap().generation > before.generation);
}

#[test]
fn a_halt_of_a_hand_is_counted_before_another_one_takes_its_place_and_is_not_given_an_end() {
    let (folder, files) = files();
    let path = folder.path().join("global");
    left(&path, "", NOW + 60);
    let state = files.set(&halt("global", NOW + 9)).unwrap();
    assert_eq!(state.flags[0].until, 0);
    let killed = (NOW + 60) * 1_000;
    assert!(
        state.recent.iter().any(|one| one.at_ms >= killed),
        "{state:?}"
    );
    // One whose end came while the order stood still, and that was touched then.
    left(&path, &text(&halt("global", NOW + 1)), NOW + 5);
    let state = files.set(&halt("global", NOW + 9)).unwrap();
    assert_eq!(state.flags[0].until, 0);
}

#[test]
fn who_ends_a_halt_ends_the_one_that_was_read() {
    let (folder, files) = files();
    let path = folder.path().join("global");
    left(&path, "", NOW);
    let found = Found::of(path.clone(), "global");
    left(&path, "", NOW + 1);
    assert!(!files.take(&found).unwrap());
    assert!(path.exists(), "a hand made it anew");
    assert!(files.take(&Found::of(path.clone(), "global")).unwrap());
    assert!(!path.exists());
    assert!(files.take(&found).unwrap(), "it is gone");
}

#[test]
fn a_halt_that_was_made_anew_is_not_told_as_the_one_that_expired() {
    let (folder, files) = files();
    let path = folder.path().join("global");
    let over = halt("global", 1);
    left(&path, &text(&over), 0);
    let found = Found::of(path.clone(), "global");
    // Another one at its place, and the same one touched after its end.
    for (later, touched) in [(&halt("global", 0), 0), (&over, NOW)] {
        left(&path, &text(later), touched);
        files.expire(&found).unwrap();
        assert!(path.exists(), "{later:?}");
        assert_eq!(files.cleared().unwrap(), []);
    }
}

#[test]
fn a_halt_that_was_moved_here_kills_the_writs_from_before_that() {
    let (folder, files) = files();
    left(&folder.path().join("elsewhere"), "", 1);
    let path = folder.path().join("global");
    std::fs::rename(folder.path().join("elsewhere"), &path).unwrap();
    let changed = std::fs::metadata(&path).unwrap().ctime();
    let flags = files.look(NOW).unwrap().flags;
    assert!(flags[0].at_ms >= changed * 1_000, "{flags:?}");
}

#[test]
fn who_expects_another_halt_ends_none() {
    let (folder, files) = files();
    files.set(&halt("global", 0)).unwrap();
    let seen = files.look(NOW).unwrap().standing(&Scope::global()).unwrap();
    // Beside it stands another one that nobody looked at.
    let path = folder.path().join("%67lobal");
    left(&path, &text(&halt("global", NOW + 9)), NOW);
    let (state, ended) = files.clear(&Scope::global(), &act(), Some(&seen)).unwrap();
    assert_eq!((state.flags.len(), ended), (2, None));
    let seen = state.standing(&Scope::global()).unwrap();
    let (state, ended) = files.clear(&Scope::global(), &act(), Some(&seen)).unwrap();
    assert!(state.flags.is_empty() && ended.is_some(), "{state:?}");
}

#[test]
fn what_is_no_plain_file_halts_and_is_not_waited_for() {
    let (folder, files) = files();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("global")).unwrap();
    assert_eq!(files.look(NOW).unwrap().flags.len(), 1);
}

#[test]
fn a_name_may_be_as_long_as_names_can_be() {
    let (_folder, files) = files();
    let scope = format!("tenant:acme/customer:{}", "ü".repeat(33));
    let state = files.set(&halt(&scope, 0)).unwrap();
    assert_eq!(state.flags.len(), 1);
}

#[test]
fn without_links_nothing_takes_the_name_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, "new").unwrap();
    assert!(moved(&from, &to).unwrap());
    std::fs::write(&from, "newer").unwrap();
    assert!(!moved(&from, &to).unwrap());
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
}

#[test]
fn a_folder_that_went_back_is_known_again_only_when_it_is_armed() {
    let (folder, files) = files();
    files.set(&halt("tenant:acme", 0)).unwrap();
    assert!(files.look(NOW).is_ok());
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(files.look(NOW).is_err());
    // Somebody who knows nothing of it goes on as often as he likes.
    let stranger = Files::new(folder.path().to_owned());
    for number in 0..3 {
        stranger
            .set(&halt("tenant:globex", NOW + 9 + number))
            .unwrap();
        assert!(files.look(NOW).is_err());
    }
    // Nor does a process that has only what was remembered.
    let later = Files::new(folder.path().to_owned());
    later.remember(files.remember(HaltMark::default()));
    assert!(later.look(NOW).is_err());
    stranger.arm(&act()).unwrap();
    assert_eq!(files.look(NOW).unwrap().flags.len(), 1);
    assert!(later.look(NOW).is_ok());
}

#[test]
fn what_root_makes_is_the_daemons() {
    let (folder, files) = files();
    if std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).is_err() {
        eprintln!("SKIPPED: only root gives files away");
        return;
    }
    files.set(&halt("global", 0)).unwrap();
    files.clear(&Scope::global(), &act(), None).unwrap();
    for name in [".lock", ".cleared", "epoch"] {
        let found = std::fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(found.uid(), 65_534, "{name}");
    }
    // Nothing is made through a link that lies there.
    std::fs::remove_file(folder.path().join(".lock")).unwrap();
    let target = folder.path().join("target");
    std::os::unix::fs::symlink(&target, folder.path().join(".lock")).unwrap();
    assert!(files.lock().is_err() && !target.exists());
}
