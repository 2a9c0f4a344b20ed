//! What is offered to policyd, and what waits.

use super::*;

fn report(id: u128, bytes: usize) -> Report {
    let outcome = pb::Outcome {
        outcome_id: uuid::Uuid::from_u128(id).to_string(),
        changes: vec![pb::FieldChange {
            field: "x".repeat(bytes),
            ..pb::FieldChange::default()
        }],
        ..pb::Outcome::default()
    };
    Report {
        id: uuid::Uuid::from_u128(id),
        body: outcome.encode_to_vec(),
    }
}

#[test]
fn what_is_refused_waits_and_lets_the_others_pass() {
    let now = Instant::now();
    let mut parked = Parked::default();
    let all = || (1..=3).map(|id| report(id, 1)).collect::<Vec<_>>();
    parked.park(uuid::Uuid::from_u128(1), now);
    assert_eq!(parked.due(all(), now), all()[1..]);
    assert_eq!(parked.due(all(), now + PARKED_FOR), all());
    for id in 0..=u128::try_from(PARKED_MAX).unwrap() {
        parked.park(uuid::Uuid::from_u128(id), now);
    }
    assert!(parked.0.len() <= PARKED_MAX);
}

#[test]
fn a_message_of_reports_stays_below_its_limit_and_is_never_empty() {
    let long = fitting(&[report(1, 100_000), report(2, 90_000), report(3, 50_000)]);
    assert_eq!(long.len(), 2);
    let alone = fitting(&[report(1, 300_000), report(2, 10)]);
    assert_eq!(alone.len(), 2);
    assert!(alone[0].changes.is_empty() && alone[0].note.contains("too long"));
    let mut broken = report(1, 10);
    broken.body = vec![0xff];
    assert_eq!(fitting(&[broken, report(2, 10)]).len(), 1);
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
        fitting(&[Report { id, body }]).remove(0)
    };
    let small = with(10, REPORT_BYTES_MAX);
    assert_eq!((small.changes.len(), small.collateral.len()), (1, 0));
    // Around the limit there is always one, and it fits.
    for changed in REPORT_BYTES_MAX - 80..REPORT_BYTES_MAX + 10 {
        let one = with(changed, 100);
        assert!(one.encoded_len() <= REPORT_BYTES_MAX, "{changed}");
    }
}
