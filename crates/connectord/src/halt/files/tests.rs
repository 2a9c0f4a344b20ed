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
        files.clear(&scope, &act).unwrap();
        assert_eq!(files.cleared().unwrap().len(), number + 1);
    }
    let first = files.cleared().unwrap();
    std::fs::remove_file(folder.path().join(".cleared/id-1.json")).unwrap();
    let rest = files.cleared().unwrap();
    assert_eq!(rest, [first[0].clone(), first[2].clone()]);
}
