//! Notices that are shown, and forged ones that are not.

use super::*;

#[tokio::test]
async fn only_our_own_notices_are_shown_and_not_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let key = crate::access::Access::in_folder(folder.path())
        .seal_key()
        .await
        .unwrap();
    let notice = Notice {
        done: Done::Halted,
        answered: 3,
        members: 3,
        took_ms: 41,
        at_ms: 33_247_000,
        strange: false,
        doubtful: 0,
    };
    let link = notice.sealed(&key);
    assert_eq!(Notice::open(&link, &key, 33_248_000), Some(notice));
    assert_eq!(
        notice.told().text,
        "Halted 09:14:07 UTC. Acknowledged 3 of 3 in 41 ms."
    );
    assert_eq!(Notice::open(&link, &key, 33_247_000 + SHOWN_MS), None);
    let forged = link.replacen("h.3.3", "h.9.9", 1);
    assert_eq!(Notice::open(&forged, &key, 33_248_000), None);
    for wrong in ["", ".", "h.3.3.41.0", "h.3.3.41.33247000.0.00"] {
        assert_eq!(Notice::open(wrong, &key, 33_248_000), None, "{wrong}");
    }
    let partly = Notice {
        answered: 2,
        ..notice
    }
    .told();
    assert!(!partly.good && partly.text.contains("2 of 3"), "{partly:?}");
    let strange = Notice {
        strange: true,
        ..notice
    };
    let told = Notice::open(&strange.sealed(&key), &key, 33_248_000);
    assert!(told.unwrap().told().text.contains("spelt right"));
}

#[test]
fn what_was_not_looked_at_is_not_told_as_nothing_to_undo() {
    let notice = Notice {
        done: Done::Undone,
        answered: 0,
        members: 0,
        took_ms: 41,
        at_ms: 33_247_000,
        strange: true,
        doubtful: 0,
    };
    let told = notice.told();
    assert!(
        !told.good
            && told
                .text
                .starts_with("Nothing was undone yet. The time was up"),
        "{told:?}"
    );
    let all = Notice {
        strange: false,
        ..notice
    }
    .told();
    assert!(
        all.good && all.text.starts_with("Nothing to undo"),
        "{all:?}"
    );
}
