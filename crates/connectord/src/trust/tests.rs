//! A newer document is taken an older or unsigned one is not.

use super::*;
use ed25519_dalek::SigningKey;
use writ_proto::keyset::{KeyEntry, KeyUse};

#[test]
fn a_newer_document_is_taken_an_older_or_unsigned_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("public.json");
    let root = SigningKey::from_bytes(&[1; 32]);
    let key = SigningKey::from_bytes(&[2; 32]).verifying_key();
    let set =
        |version| KeySet::new(version, vec![KeyEntry::new(key, "p", KeyUse::Decision)]).unwrap();
    std::fs::write(&file, set(5).sign_document(&root)).unwrap();
    let trust = Trust::load(file.clone(), &hex::encode(root.verifying_key().as_bytes())).unwrap();
    std::fs::write(&file, set(4).sign_document(&root)).unwrap();
    assert!(!trust.refresh(100));
    assert_eq!(trust.keys().version, 5);
    std::fs::write(&file, set(6).sign_document(&root)).unwrap();
    assert!(!trust.refresh(105), "not twice in ten seconds");
    assert!(trust.refresh(110));
    assert_eq!(trust.keys().version, 6);
    std::fs::write(
        &file,
        set(7).sign_document(&SigningKey::from_bytes(&[3; 32])),
    )
    .unwrap();
    assert!(!trust.refresh(120));
    assert_eq!(trust.keys().version, 6);
}
