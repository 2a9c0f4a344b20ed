//! Other people's vectors, read from `../shared` where it is there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde_json::Value as Json;
use writ_proto::value::value_from_cbor;

fn vectors(name: &str) -> Option<Json> {
    let path = format!(
        "{}/../../../shared/vectors/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("SKIPPED: {path} is not there");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn hex_of(value: &Json) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let Some(file) = vectors("cbor_not_wellformed.json") else {
        return;
    };
    let rows = file["hex"].as_array().unwrap();
    assert!(rows.len() > 100);
    for row in rows {
        assert!(value_from_cbor(&hex_of(row)).is_err(), "{row}");
    }
}

#[test]
fn of_rfc_8949_what_is_read_is_written_as_it_was_and_the_rest_is_refused() {
    let Some(file) = vectors("cbor_rfc8949_appendix_a.json") else {
        return;
    };
    let (mut read, mut refused) = (0, 0);
    for row in file["rows"].as_array().unwrap() {
        let bytes = hex_of(&row["hex"]);
        match value_from_cbor(&bytes) {
            Ok(value) => {
                assert_eq!(value.encode(), bytes, "{row}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
        // Floats, simple values and indefinite lengths have no place in arguments.
        let first = bytes[0];
        let banned = matches!(first, 0xe0..=0xf3 | 0xf7..=0xff | 0x5f | 0x7f | 0x9f | 0xbf);
        assert!(!banned || value_from_cbor(&bytes).is_err(), "{row}");
    }
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused");
}

#[test]
fn the_signatures_of_rfc_8032_are_ours() {
    let Some(file) = vectors("ed25519_rfc8032.json") else {
        return;
    };
    for row in file["vectors"].as_array().unwrap() {
        let key: [u8; 32] = hex_of(&row["public_key"]).try_into().unwrap();
        let signature: [u8; 64] = hex_of(&row["signature"]).try_into().unwrap();
        let message = hex_of(&row["message"]);
        let public = VerifyingKey::from_bytes(&key).unwrap();
        public.verify_strict(&message, &signature.into()).unwrap();
        if let Some(seed) = row["seed"].as_str() {
            let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
            let own = SigningKey::from_bytes(&seed).sign(&message);
            assert_eq!(own.to_bytes(), signature, "{row}");
        }
    }
}
