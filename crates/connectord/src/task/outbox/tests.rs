//! What is offered to policyd, and what waits.

use super::*;

fn report(id: u128, bytes: usize) -> Waiting {
    let outcome = pb::Outcome {
        outcome_id: uuid::Uuid::from_u128(id).to_string(),
        changes: vec![pb::FieldChange {
            field: "x".repeat(bytes),
            ..pb::FieldChange::default()
        }],
        ..pb::Outcome::default()
    };
    Waiting {
        id: uuid::Uuid::from_u128(id),
        body: Some(outcome.encode_to_vec()),
    }
}

#[test]
fn what_is_refused_stays_and_holds_up_nobody() {
    let (now, id) = (Instant::now(), uuid::Uuid::from_u128);
    let mut cursor = Cursor::default();
    cursor.offered(id(100), false, now);
    assert_eq!(cursor.after, None, "what was taken is gone");
    for page in 1..=50 {
        cursor.offered(id(page * 100), true, now);
        assert_eq!(
            cursor.after,
            Some(id(page * 100)),
            "however many are refused"
        );
    }
    cursor.offered(id(5_100), false, now);
    assert_eq!(cursor.after, Some(id(5_100)));
    cursor.ended(now + REFUSED_FOR / 2);
    assert_eq!(cursor.after, Some(id(5_100)));
    cursor.ended(now + REFUSED_FOR);
    assert_eq!(cursor.after, None, "from the beginning again");
}

#[test]
fn a_restart_of_policyd_is_not_told_and_a_long_absence_is_told_once() {
    let (mut away, now) = (Away::default(), Instant::now());
    for (after, told) in [(0, false), (1, false), (2, true), (3, false)] {
        let is_told = away.tell("refused", now + AWAY_FOR / 2 * after);
        assert_eq!(is_told, told, "{after}");
    }
}

#[test]
fn a_message_of_reports_stays_below_its_limit_and_is_never_empty() {
    let (long, last) = fitting(&[report(1, 100_000), report(2, 90_000), report(3, 50_000)]);
    assert_eq!((long.len(), last), (2, Some(uuid::Uuid::from_u128(2))));
    let (alone, _) = fitting(&[report(1, 300_000), report(2, 10)]);
    assert_eq!(alone.len(), 2);
    assert!(alone[0].changes.is_empty() && alone[0].note.contains("too long"));
    for body in [Some(vec![0xff]), None] {
        let id = uuid::Uuid::from_u128(1);
        let broken = Waiting { id, body };
        assert_eq!(fitting(&[broken, report(2, 10)]).0.len(), 1);
    }
}

#[test]
fn what_changed_beside_a_write_is_left_out_before_the_write_itself() {
    let with = |changed: usize, beside: usize| {
        let change = |bytes: usize| pb::FieldChange {
            field: "x".repeat(bytes),
            ..pb::FieldChange::default()
        };
        let outcome = pb::Outcome {
            changes: vec![change(changed)],
            collateral: vec![change(beside)],
            ..pb::Outcome::default()
        };
        let id = uuid::Uuid::from_u128(1);
        let body = outcome.encode_to_vec();
        fitting(&[Waiting {
            id,
            body: Some(body),
        }])
        .0
        .remove(0)
    };
    let small = with(10, REPORT_BYTES_MAX);
    assert_eq!((small.changes.len(), small.collateral.len()), (1, 0));
    // Around the limit there is always one, and it fits.
    for changed in REPORT_BYTES_MAX - 80..REPORT_BYTES_MAX + 10 {
        let one = with(changed, 100);
        assert!(one.encoded_len() <= REPORT_BYTES_MAX, "{changed}");
    }
}
