//! A kept look answers for the same folder and second and not for long.

use super::*;

const NOW: i64 = 1_800_000_000;

#[test]
fn a_kept_look_answers_for_the_same_folder_and_second_and_not_for_long() {
    let folder = |device, inode, nanos| Folder {
        device,
        inode,
        changed: (NOW, nanos),
    };
    let at = Instant::now();
    let look = Look {
        at,
        now: NOW,
        state: Arc::default(),
    };
    let kept = Kept {
        folder: folder(1, 2, 3),
        since: at,
        look: Some(look),
    };
    for (found, later, now, answers) in [
        (folder(1, 2, 3), Duration::ZERO, NOW, true),
        (folder(9, 2, 3), Duration::ZERO, NOW, false),
        (folder(1, 9, 3), Duration::ZERO, NOW, false),
        (folder(1, 2, 9), Duration::ZERO, NOW, false),
        (folder(1, 2, 3), KEPT, NOW, false),
        (folder(1, 2, 3), Duration::ZERO, NOW + 1, false),
    ] {
        let state = kept.state(found, at + later, now);
        assert_eq!(state.is_some(), answers, "{found:?} {later:?} {now}");
    }
}

#[test]
fn a_thread_that_stood_still_believes_less() {
    let start = Instant::now();
    // Three reads: milliseconds at which each began and at which it had seen the folder; and whether the last
    // one is answered from what the second one found.
    for (reads, is_kept) in [
        ([(0, 0), (20, 20), (119, 119)], true),
        ([(0, 0), (20, 20), (21, 120)], false),
        ([(0, 0), (20, 70), (120, 120)], false),
        ([(0, 20), (20, 20), (30, 30)], false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        let states = reads.map(|(began, seen)| {
            let mut times = [began, seen].into_iter();
            let clock = || start + Duration::from_millis(times.next().unwrap());
            files.read_by(NOW, clock).unwrap()
        });
        let [_, second, third] = states;
        assert_eq!(Arc::ptr_eq(&second, &third), is_kept, "{reads:?}");
    }
}
