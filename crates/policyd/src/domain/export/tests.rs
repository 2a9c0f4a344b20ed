//! An export verifies; after any change it does not, and the report says where.

use ed25519_dalek::SigningKey;
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};
use writ_proto::value::Value;

use super::*;
use crate::domain::record::{Disclosure, Draft, Kind, Place};

pub(super) fn draft(index: u8) -> Draft {
    Draft {
        origin: "policyd.localhost/log/acme".into(),
        kind: Kind::Evaluated,
        record_id: uuid::Uuid::from_u128(u128::from(index) + 1),
        later: false,
        time_ms: 1_790_000_000_000 + i64::from(index),
        writer: "policyd".into(),
        tenant: "acme".into(),
        agent: "triage".into(),
        connection: "crm/main".into(),
        action: "set_stage".into(),
        target_type: "deal".into(),
        verdict: Some(1),
        reasons: vec!["FORBIDDEN".into()],
        policy: None,
        mode: Some(0),
        money: None,
        token: None,
        execution: None,
        budget: None,
        epoch: Some(0),
        trace_id: None,
        halt: None,
        incident: None,
        disclosures: vec![Disclosure {
            name: "target_id",
            salt: [index; 32],
            value: Value::Text(format!("D-{index}")),
        }],
    }
}

fn export(count: u8) -> (Vec<u8>, KeySet) {
    let key = SigningKey::from_bytes(&[5; 32]);
    let origin = "policyd.localhost/log/acme";
    let mut text = header_line(origin, false);
    let (mut frontier, mut prev) = (Frontier::default(), None);
    for index in 0..count {
        let leaf = draft(index).leaf(&Place {
            seq: u64::from(index),
            prev: prev.as_ref(),
            version: 1,
            previous: None,
        });
        prev = Some(leaf_hash(&leaf));
        frontier.push(leaf_hash(&leaf));
        text.push_str(&record_line(&leaf, None).unwrap());
    }
    let head = Checkpoint {
        origin: origin.into(),
        size: u64::from(count),
        root: frontier.root(),
    };
    text.push_str(&checkpoint_line(&head.sign(&key)));
    let entry = KeyEntry::new(key.verifying_key(), "policyd", KeyUse::Checkpoint);
    (text.into_bytes(), KeySet::new(1, vec![entry]).unwrap())
}

#[test]
fn an_export_verifies_with_public_keys_alone() {
    for count in [0, 1, 2, 7] {
        let (bytes, keys) = export(count);
        let report = verify(&bytes, &keys, false);
        assert!(report.is_ok(), "{report:?}");
        assert_eq!(report.records, u64::from(count));
    }
}

#[test]
fn every_flipped_bit_fails_and_is_placed() {
    let (bytes, keys) = export(4);
    let mut line = 0_usize;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let report = verify(&changed, &keys, false);
            assert!(!report.is_ok(), "byte {at} bit {bit}");
            let place = match line {
                0 => "header".to_owned(),
                5 => "checkpoint".to_owned(),
                record => format!("#{}", record - 1),
            };
            let named = report
                .findings
                .iter()
                .any(|finding| finding.starts_with(&place));
            // A broken newline joins two lines, so the finding may be on either side.
            assert!(
                named || bytes[at] == b'\n' || changed[at] == b'\n',
                "{place}: {report:?}"
            );
        }
        line += usize::from(bytes[at] == b'\n');
    }
}

#[test]
fn removed_swapped_repeated_and_cut_records_are_found() {
    let (bytes, keys) = export(5);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let join = |order: &[usize]| {
        order
            .iter()
            .flat_map(|at| lines[*at].to_vec())
            .collect::<Vec<_>>()
    };
    for order in [
        vec![0, 1, 2, 4, 5, 6],
        vec![0, 2, 1, 3, 4, 5, 6],
        vec![0, 1, 2, 2, 3, 4, 5, 6],
        vec![0, 1, 2, 3, 4, 6],
        vec![0, 1, 2, 3, 4, 5],
        vec![0, 6],
        vec![1, 2, 3, 4, 5, 6],
    ] {
        assert!(!verify(&join(&order), &keys, false).is_ok(), "{order:?}");
    }
}

#[test]
fn a_log_signed_by_another_key_is_refused() {
    let (bytes, _) = export(2);
    let other = SigningKey::from_bytes(&[6; 32]).verifying_key();
    let keys = KeySet::new(1, vec![KeyEntry::new(other, "x", KeyUse::Checkpoint)]).unwrap();
    assert!(!verify(&bytes, &keys, false).is_ok());
    let mut revoked = KeyEntry::new(
        SigningKey::from_bytes(&[5; 32]).verifying_key(),
        "x",
        KeyUse::Checkpoint,
    );
    revoked.status = KeyStatus::Revoked;
    let keys = KeySet::new(1, vec![revoked]).unwrap();
    assert!(!verify(&bytes, &keys, false).is_ok());
    let wrong_use = SigningKey::from_bytes(&[5; 32]).verifying_key();
    let keys = KeySet::new(1, vec![KeyEntry::new(wrong_use, "x", KeyUse::Decision)]).unwrap();
    assert!(!verify(&bytes, &keys, false).is_ok());
}
