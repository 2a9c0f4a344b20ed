//! An export verifies; after any change it does not, and the report says where.

use ed25519_dalek::SigningKey;
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};
use writ_proto::value::Value;

use super::*;
use crate::domain::record::{Disclosure, Draft, Kind, Place};

pub(crate) fn draft(index: u8) -> Draft {
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
fn a_gap_is_one_finding_wherever_it_is() {
    let (bytes, keys) = export(7);
    let text = String::from_utf8(bytes).unwrap();
    for (gone, named) in [(1..2, "#0"), (2..5, "#1"), (7..8, "#6")] {
        let kept = |at: &usize| !gone.contains(at);
        let lines = text.lines().enumerate().filter(|(at, _)| kept(at));
        let cut: String = lines.map(|(_, line)| format!("{line}\n")).collect();
        let report = verify(cut.as_bytes(), &keys, false);
        let (last, others) = report.findings.split_last().unwrap();
        let counts = format!("it counts 7 records, here are {}", 7 - gone.len());
        assert!(last.contains(&counts), "{report:?}");
        let missing = format!(
            "{named}: record {} is missing",
            named.trim_start_matches('#')
        );
        let whole = gone.end < 8;
        assert_eq!(others.len(), usize::from(whole), "{report:?}");
        assert!(!whole || others[0].starts_with(&missing), "{report:?}");
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

/// An export of whatever was logged, with its head signed.
fn signed(values: bool, records: &[(Draft, &str)]) -> (Vec<u8>, KeySet) {
    let (key, origin) = (
        SigningKey::from_bytes(&[5; 32]),
        "policyd.localhost/log/acme",
    );
    let (mut text, mut frontier) = (header_line(origin, values), Frontier::default());
    let mut prev = None;
    for (seq, (draft, behind)) in (0..).zip(records) {
        let leaf = draft.leaf(&Place {
            seq,
            prev: prev.as_ref(),
            version: 1,
            previous: None,
        });
        prev = Some(leaf_hash(&leaf));
        frontier.push(leaf_hash(&leaf));
        let disclosed = draft.disclosed();
        text.push_str(&record_line(&leaf, values.then_some(&disclosed[..])).unwrap());
        text.push_str(behind);
    }
    let head = Checkpoint {
        origin: origin.into(),
        size: frontier.size(),
        root: frontier.root(),
    };
    text.push_str(&checkpoint_line(&head.sign(&key)));
    let entry = KeyEntry::new(key.verifying_key(), "policyd", KeyUse::Checkpoint);
    (text.into_bytes(), KeySet::new(1, vec![entry]).unwrap())
}

#[test]
fn a_last_record_that_was_written_anew_has_another_root() {
    let (bytes, keys) = export(3);
    let text = String::from_utf8(bytes).unwrap();
    let last = text.lines().nth(3).unwrap();
    let leaf = |draft: Draft, prev: &Hash| {
        draft.leaf(&Place {
            seq: 2,
            prev: Some(prev),
            version: 1,
            previous: None,
        })
    };
    let first = draft(0).leaf(&Place {
        seq: 0,
        prev: None,
        version: 1,
        previous: None,
    });
    let second = draft(1).leaf(&Place {
        seq: 1,
        prev: Some(&leaf_hash(&first)),
        version: 1,
        previous: None,
    });
    let prev = leaf_hash(&second);
    assert_eq!(
        record_line(&leaf(draft(2), &prev), None)
            .unwrap()
            .trim_end(),
        last
    );
    let mut other = draft(2);
    other.agent = "somebody".into();
    let forged = record_line(&leaf(other, &prev), None).unwrap();
    let forged = text.replace(last, forged.trim_end());
    let report = verify(forged.as_bytes(), &keys, false);
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].contains("the root is not the signed one"));
}

#[test]
fn what_only_its_signer_could_write_is_found_all_the_same() {
    let leaf = |draft: Draft, seq: u64, prev: Option<&Hash>, version: u32| {
        draft.leaf(&Place {
            seq,
            prev,
            version,
            previous: None,
        })
    };
    let foreign = Draft {
        origin: "policyd.localhost/log/globex".into(),
        ..draft(0)
    };
    for (leaf, expected) in [
        (leaf(draft(0), 5, None, 1), "#0: record 0 is missing"),
        (leaf(foreign, 0, None, 1), "#0: it is of another log"),
        (
            leaf(draft(0), 0, Some(&[7; 32]), 1),
            "its hash is not the one",
        ),
        (leaf(draft(0), 0, None, 2), "and no version before it"),
    ] {
        let key = SigningKey::from_bytes(&[5; 32]);
        let origin = "policyd.localhost/log/acme".to_owned();
        let mut frontier = Frontier::default();
        frontier.push(leaf_hash(&leaf));
        let (size, root) = (1, frontier.root());
        let mut text = header_line(&origin, false) + &record_line(&leaf, None).unwrap();
        text.push_str(&checkpoint_line(
            &Checkpoint { origin, size, root }.sign(&key),
        ));
        let report = verify(text.as_bytes(), &export(0).1, false);
        assert_eq!(report.findings.len(), 1, "{expected}: {report:?}");
        assert!(report.findings[0].contains(expected), "{report:?}");
    }
}

#[test]
fn a_line_in_another_spelling_is_not_the_exporters() {
    let (bytes, keys) = export(1);
    let text = String::from_utf8(bytes).unwrap();
    for (from, place) in [
        ("{\"format\":", "header"),
        ("{\"checkpoint\":", "checkpoint"),
    ] {
        let spaced = text.replace(from, &format!("{from} "));
        let report = verify(spaced.as_bytes(), &keys, false);
        assert_eq!(report.findings.len(), 1, "{report:?}");
        let wanted = format!("{place}: ");
        assert!(report.findings[0].starts_with(&wanted), "{report:?}");
    }
    let other = text.replace("writ.export.v2", "writ.export.v1");
    assert!(verify(other.as_bytes(), &keys, false).unreadable);
}

/// What is found in an export with values when every decision is made again.
fn found(records: &[(Draft, &str)]) -> Vec<String> {
    let (bytes, keys) = signed(true, records);
    verify(&bytes, &keys, true).findings
}

#[test]
fn a_decision_without_a_policy_set_keeps_nothing_and_is_a_denial() {
    let bare = || Draft {
        verdict: Some(0),
        disclosures: vec![],
        ..draft(1)
    };
    assert_eq!(found(&[(bare(), "")]), Vec::<String>::new());
    let token = crate::domain::record::TokenStamp {
        cti: uuid::Uuid::from_u128(9),
        kid: None,
        issued: 1,
        expires: 2,
    };
    for (what, odd) in [
        (
            "an ALLOW",
            Draft {
                verdict: Some(1),
                ..bare()
            },
        ),
        (
            "a token",
            Draft {
                token: Some(token),
                ..bare()
            },
        ),
        (
            "values",
            Draft {
                disclosures: draft(1).disclosures,
                ..bare()
            },
        ),
    ] {
        assert_eq!(
            found(&[(odd, "")]),
            ["#0: it names no policy set"],
            "{what}"
        );
    }
}

#[test]
fn policy_sets_stand_behind_their_records_as_they_were_published() {
    let sources = crate::domain::policy::tests::shipped("acme");
    let digest = sources.digest();
    let stamp = |digest| {
        Some(crate::domain::record::PolicyStamp {
            digest,
            label: "x".into(),
            determining: vec![],
            errors: vec![],
            schema_digest: [0; 32],
        })
    };
    let published = || Draft {
        kind: Kind::PolicyPublished,
        verdict: None,
        reasons: vec![],
        policy: stamp(digest),
        disclosures: vec![],
        ..draft(0)
    };
    let decided = |digest| Draft {
        policy: stamp(digest),
        ..draft(1)
    };
    let line = policy_line(&digest, &sources.published());
    assert_eq!(found(&[(published(), &line)]), Vec::<String>::new());
    let spaced = line.replacen("\":", "\": ", 1);
    let missing = "#0: the policy files that it names are missing on the next line: the file was cut or changed there; no decision under them is made again";
    let unread =
        "#0: the line of its policy set cannot be read; no decision under them is made again";
    let other = "#0: the policy files on the next line are not those that it names; no decision under them is made again";
    // Once, whatever is decided under it.
    let torn = line.trim_end().strip_suffix('}').unwrap().to_owned() + "\n";
    for (bad, first) in [("", missing), (&spaced, other), (&torn, unread)] {
        let another = Draft {
            policy: stamp(digest),
            ..draft(2)
        };
        let told = found(&[(published(), bad), (decided(digest), ""), (another, "")]);
        assert_eq!(told, [first], "{bad}");
    }
    for (records, expected) in [
        (vec![(published(), "")], missing),
        (vec![(published(), spaced.as_str())], other),
        (
            vec![(published(), line.as_str()), (draft(1), line.as_str())],
            "#2: a policy set that no record speaks of",
        ),
        (
            vec![(decided(digest), "")],
            "#0: its policy set was not in force by any record before it",
        ),
        // A decision that cannot be made again as it stands is found, not passed over.
        (
            vec![(published(), line.as_str()), (decided(digest), "")],
            "#1: the value `trace` is missing or cannot be read",
        ),
    ] {
        let found = found(&records);
        assert!(
            found.iter().any(|one| one == expected),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn values_are_there_where_the_export_says_so_and_each_once() {
    let (bytes, keys) = signed(false, &[(draft(0), "")]);
    let text = String::from_utf8(bytes).unwrap();
    let claimed = text.replace("\"values\":false", "\"values\":true");
    let report = verify(claimed.as_bytes(), &keys, false);
    assert_eq!(
        report.findings,
        ["#0: what it says in clear differs from its signed bytes"]
    );
    let (bytes, keys) = signed(true, &[(draft(0), "")]);
    let text = String::from_utf8(bytes).unwrap();
    let disclosed = draft(0).disclosed();
    let twice = STANDARD.encode([&disclosed[..], &disclosed].concat());
    let twice = text.replace(&STANDARD.encode(&disclosed), &twice);
    let report = verify(twice.as_bytes(), &keys, false);
    assert_eq!(
        report.findings,
        ["#0: the value `target_id` is there twice"]
    );
    let report = verify(export(1).0.as_slice(), &keys, true);
    assert!(report.findings[0].contains("without values"), "{report:?}");
}

#[test]
fn a_line_that_is_too_long_is_not_read() {
    let (bytes, keys) = export(1);
    let text = String::from_utf8(bytes).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let long = format!("{header}\n{}{rest}", " ".repeat(LINE_BYTES_MAX));
    let report = verify(long.as_bytes(), &keys, false);
    assert_eq!(report.findings[0], "#0: the line is not a record");
}
