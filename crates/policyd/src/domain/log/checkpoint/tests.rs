//! What a signed checkpoint accepts and refuses.

use super::*;

#[test]
fn a_note_verifies_and_any_changed_byte_does_not() {
    let key = SigningKey::from_bytes(&[5; 32]);
    let checkpoint = Checkpoint {
        origin: "policyd.localhost/log/acme".into(),
        size: 12,
        root: [9; 32],
    };
    let note = checkpoint.sign(&key);
    assert_eq!(
        Checkpoint::verify(&note, &key.verifying_key()),
        Ok(checkpoint)
    );
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(changed) else {
                continue;
            };
            assert!(
                Checkpoint::verify(&changed, &key.verifying_key()).is_err(),
                "{at}.{bit}"
            );
        }
    }
    let other = SigningKey::from_bytes(&[6; 32]).verifying_key();
    assert_eq!(
        Checkpoint::verify(&note, &other),
        Err(CheckpointError::UnknownKey)
    );
}

#[test]
fn the_note_of_the_shared_vector_verifies() {
    let seed = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
    let key = SigningKey::from_bytes(&hex::decode(seed).unwrap().try_into().unwrap());
    let note = "policyd.acme.example/log/acme-eu\n7\n\
        3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=\n\n\
        \u{2014} policyd.acme.example/log/acme-eu 7asU0wa8njkMP0NPEfxU5lq+xRHOscejE7ipRaXNhz777\
        wXboaCgMXeYpBpBPHB2YAoRWHBdEJrMX39M4DOGuQ43+gs=\n";
    let checkpoint = Checkpoint::verify(note, &key.verifying_key()).unwrap();
    assert_eq!(checkpoint.size, 7);
    assert_eq!(checkpoint.sign(&key), note);
}

#[test]
fn a_vkey_has_the_hash_that_a_note_names() {
    // The example key of the Go package golang.org/x/mod/sumdb/note.
    let encoded = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let typed = STANDARD.decode(encoded).unwrap();
    let bytes: [u8; 32] = typed[1..].try_into().unwrap();
    let key = VerifyingKey::from_bytes(&bytes).unwrap();
    let known = format!("PeterNeumann+c74f20a3+{encoded}");
    assert_eq!(vkey("PeterNeumann", &key), known);
}

#[test]
fn a_note_has_one_spelling_and_a_bound() {
    let key = SigningKey::from_bytes(&[5; 32]);
    let with = |origin: &str| Checkpoint {
        origin: origin.into(),
        size: 12,
        root: [9; 32],
    };
    let note = with("policyd.localhost/log/acme").sign(&key);
    let padded = note.replacen("\n12\n", "\n012\n", 1);
    let long = with(&"x".repeat(NOTE_BYTES_MAX)).sign(&key);
    for note in [padded, long] {
        assert_eq!(
            Checkpoint::verify(&note, &key.verifying_key()),
            Err(CheckpointError::Malformed)
        );
    }
}
