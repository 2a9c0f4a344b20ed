//! Who answered read the store after the question.

use super::*;

#[test]
fn who_answered_read_the_store_after_the_question() {
    let drill = Drill {
        probe: Probe {
            nonce: "x".into(),
            at_ms: 10,
        },
        members: Vec::new(),
        took: Duration::ZERO,
    };
    for (nonce, asked_ms, answered) in [
        ("x", 10, true),
        ("y", 10, false),
        ("x", 9, false),
        ("y", 11, true),
        ("", 0, false),
    ] {
        let member = Member {
            nonce: nonce.into(),
            asked_ms,
            ..Member::default()
        };
        assert_eq!(drill.answered_by(&member), answered, "{nonce} {asked_ms}");
    }
}
