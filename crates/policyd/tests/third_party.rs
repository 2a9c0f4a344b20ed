//! Other people's trees and notes, read from `../shared` where it is there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

use policyd::domain::log::checkpoint::Checkpoint;
use policyd::domain::log::merkle::{leaf_hash, root_of};
use serde_json::Value as Json;

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

fn leaves(file: &Json) -> Vec<[u8; 32]> {
    let inputs = file["leaf_inputs_hex"].as_array().unwrap().iter();
    inputs
        .map(|input| leaf_hash(&hex::decode(input.as_str().unwrap()).unwrap()))
        .collect()
}

#[test]
fn leaves_and_roots_are_those_of_rfc_6962() {
    let Some(file) = vectors("merkle_rfc6962_reference.json") else {
        return;
    };
    let leaves = leaves(&file);
    for (leaf, wanted) in leaves
        .iter()
        .zip(file["leaf_hashes_hex"].as_array().unwrap())
    {
        assert_eq!(hex::encode(leaf), wanted.as_str().unwrap());
    }
    for (size, wanted) in file["roots_hex"].as_array().unwrap().iter().enumerate() {
        let root = root_of(leaves.iter().take(size).copied());
        assert_eq!(hex::encode(root), wanted.as_str().unwrap(), "size {size}");
    }
}

#[test]
fn checkpoints_are_signed_notes_as_others_read_them() {
    let (Some(notes), Some(tree), Some(keys)) = (
        vectors("checkpoint_c2sp.json"),
        vectors("merkle_rfc6962_reference.json"),
        vectors("ed25519_rfc8032.json"),
    ) else {
        return;
    };
    let seed = keys["vectors"][2]["seed"].as_str().unwrap();
    let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    let leaves = leaves(&tree);
    for (size, wanted) in notes["checkpoints_by_size"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let wanted = wanted.as_str().unwrap();
        let own = Checkpoint {
            origin: "policyd.acme.example/log/acme-eu".into(),
            size: u64::try_from(size).unwrap(),
            root: root_of(leaves.iter().take(size).copied()),
        };
        assert_eq!(own.sign(&key), wanted, "size {size}");
        assert_eq!(
            Checkpoint::verify(wanted, &key.verifying_key()).unwrap(),
            own
        );
    }
}
