//! What is kept of the folder, and that it is never believed for long.

use std::time::{Duration, Instant};

use super::*;
use crate::halt::{Act, HaltMark};

const NOW: i64 = 1_800_000_000;
/// Longest that a test waits for what it is about.
const PATIENCE: Duration = Duration::from_secs(10);

fn files() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path().to_owned());
    (folder, files)
}

/// Reads until what is read is what was kept.
fn kept(files: &Files) {
    let began = Instant::now();
    while !Arc::ptr_eq(&files.read(NOW).unwrap(), &files.read(NOW).unwrap()) {
        assert!(began.elapsed() < PATIENCE, "nothing is ever kept");
        std::thread::yield_now();
    }
}

fn scopes(files: &Files) -> Vec<String> {
    let state = files.read(NOW).unwrap();
    state
        .flags
        .iter()
        .map(|one| one.scope.to_string())
        .collect()
}

#[test]
fn what_is_kept_is_never_older_than_the_folder() {
    let (folder, files) = files();
    let path = folder.path().join("tenant:acme");
    for round in 0..10 {
        kept(&files);
        std::fs::write(&path, "").unwrap();
        assert_eq!(scopes(&files), ["tenant:acme"], "{round}");
        kept(&files);
        std::fs::remove_file(&path).unwrap();
        assert!(scopes(&files).is_empty(), "{round}");
    }
    // Faster than a file system counts time.
    for round in 0..2_000 {
        std::fs::write(&path, "").unwrap();
        assert_eq!(scopes(&files), ["tenant:acme"], "{round}");
        std::fs::remove_file(&path).unwrap();
        assert!(scopes(&files).is_empty(), "{round}");
    }
}

#[test]
fn another_folder_in_its_place_is_looked_at() {
    let (folder, files) = files();
    kept(&files);
    std::fs::remove_dir(folder.path()).unwrap();
    assert!(files.read(NOW).is_err());
    std::fs::create_dir(folder.path()).unwrap();
    std::fs::write(folder.path().join("global"), "").unwrap();
    assert_eq!(scopes(&files), ["global"]);
}

#[test]
fn what_somebody_writes_into_a_file_is_seen_a_moment_later() {
    let (folder, files) = files();
    let mut flag = Flag::new(Scope::global(), &Act::default(), "one");
    let path = folder.path().join("global");
    // Over, halted again, and over: each written into the same file.
    for (until, is_halted) in [(1, false), (NOW + 60, true), (1, false)] {
        flag.until = until;
        std::fs::write(&path, serde_json::to_string(&flag).unwrap()).unwrap();
        // Long ago, so that only what it says decides.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        let began = Instant::now();
        while scopes(&files).is_empty() == is_halted {
            assert!(began.elapsed() < PATIENCE, "{until} is never seen");
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_is_known_to_be_later_ends_what_was_kept() {
    let (_folder, files) = files();
    kept(&files);
    files.remember(HaltMark {
        generation: 7,
        ..HaltMark::default()
    });
    assert!(files.read(NOW).is_err());
}

#[test]
fn the_end_of_a_halt_that_a_hand_made_is_counted_before_the_halt_goes() {
    for scope in ["tenant:acme", "global"] {
        let (folder, files) = files();
        let path = folder.path().join(scope);
        std::fs::write(&path, "").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
        file.set_modified(at).unwrap();
        let before = files.read(NOW).unwrap();
        let act = Act {
            at: NOW,
            ..Act::default()
        };
        // What is ended cannot be written down, so the halt stands; what it killed is dead all the same.
        std::fs::write(folder.path().join(".cleared"), "").unwrap();
        assert!(files.clear(&scope.parse().unwrap(), &act, None).is_err());
        let state = files.read(NOW).unwrap();
        assert_eq!(state.flags.len(), 1);
        let is_dead = state.epoch > before.epoch || !state.recent.is_empty();
        assert!(is_dead, "{scope}: {state:?}");
    }
}

/// A halt of everything.
fn halt(id: &str, until: i64) -> Flag {
    let act = Act {
        at: NOW,
        ..Act::default()
    };
    Flag {
        until,
        ..Flag::new(Scope::global(), &act, id)
    }
}

/// A flag as somebody left it, last touched so many seconds after 1970.
fn left(folder: &tempfile::TempDir, flag: &Flag, touched: i64) {
    let path = folder.path().join("global");
    std::fs::write(&path, serde_json::to_string(flag).unwrap()).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(touched.unsigned_abs());
    file.set_modified(at).unwrap();
}

#[test]
fn a_halt_takes_the_place_of_another_one_only_after_that_was_read() {
    let (folder, files) = files();
    files.set(&halt("longer", 0)).unwrap();
    let held = files.lock().unwrap();
    assert!(files.set(&halt("shorter", NOW + 9)).is_err());
    let text = std::fs::read_to_string(folder.path().join("global")).unwrap();
    assert!(text.contains("longer"), "{text}");
    drop(held);
    let state = files.set(&halt("again", NOW + 9)).unwrap();
    assert!(state.flags.iter().any(|one| one.until == 0), "{state:?}");
    // One that a hand made anew after its end has none.
    let (folder, files) = self::files();
    left(&folder, &halt("touched", NOW - 1), NOW);
    let state = files.set(&halt("after", NOW + 9)).unwrap();
    assert_eq!(state.flags[0].until, 0);
}

#[test]
fn a_halt_waits_for_nobody_where_what_stands_ends_earlier() {
    for until in [1, NOW + 9] {
        let (folder, files) = files();
        left(&folder, &halt("earlier", until), 0);
        let held = files.lock().unwrap();
        assert!(files.set(&halt("anew", 0)).is_err());
        let flags = files.look(NOW).unwrap().flags;
        assert!(flags.iter().any(|one| one.until == 0), "{flags:?}");
        // Who orders it again and again fills no folder.
        for until in [0, NOW + 9] {
            assert!(files.set(&halt("again", until)).is_err());
        }
        assert_eq!(files.names().unwrap().len(), 2);
        drop(held);
        files.set(&halt("shorter", NOW + 9)).unwrap();
        let act = Act {
            at: NOW,
            ..Act::default()
        };
        files.clear(&Scope::global(), &act, None).unwrap();
        let left = files.look(NOW).unwrap().flags;
        assert!(left.is_empty(), "every spelling is ended: {left:?}");
        let names = std::fs::read_dir(folder.path()).unwrap();
        let mut names = names.map(|one| one.unwrap().file_name());
        assert!(!names.any(|name| name.to_string_lossy().ends_with(".new")));
    }
}

#[test]
fn a_halt_that_was_ended_is_read_once_and_told_as_it_was_written() {
    let (folder, files) = files();
    for number in 0..3 {
        let scope: Scope = format!("tenant:acme/run:r-{number}").parse().unwrap();
        let act = Act {
            at: NOW,
            ..Act::default()
        };
        files
            .set(&Flag::new(scope.clone(), &act, format!("id-{number}")))
            .unwrap();
        files.clear(&scope, &act, None).unwrap();
        assert_eq!(files.cleared().unwrap().len(), number + 1);
    }
    let first = files.cleared().unwrap();
    std::fs::remove_file(folder.path().join(".cleared/id-1.json")).unwrap();
    let rest = files.cleared().unwrap();
    assert_eq!(rest, [first[0].clone(), first[2].clone()]);
    // The same halt once more, which another one ends for another reason.
    let flag = first[0].flag.clone();
    files.set(&flag).unwrap();
    let anew = Act {
        reason: "anew".to_owned(),
        ..first[0].act.clone()
    };
    files.clear(&flag.scope, &anew, None).unwrap();
    assert_eq!(files.cleared().unwrap()[0].act, anew);
}

#[test]
fn a_look_claims_no_halt_it_may_lack_and_misses_none_that_came_and_went() {
    let before = Mark::default();
    let mut after = Mark::default();
    after.count(&Scope::global(), NOW * 1_000, NOW);
    after.change();
    let state = between(&before, Vec::new(), after.clone());
    assert_eq!(state.generation, before.generation);
    assert_eq!((state.epoch, state.recent), (after.epoch, after.recent));
}

#[test]
fn a_file_that_could_not_be_read_is_read_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("global");
    let flag = halt("written", NOW + 9);
    let text = serde_json::to_string(&flag).unwrap();
    let written = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
    };
    let parsed = |before: Option<&Parsed>| Parsed::of(&path, ("global", 1), before, Instant::now());
    // As long, and as old, so that nothing but the text differs.
    written(&vec![0xff; text.len()]);
    let first = parsed(None);
    assert!(first.flag.id.starts_with(BY_HAND), "{first:?}");
    written(text.as_bytes());
    assert_eq!(parsed(Some(&first)).flag, flag);
}
