//! What the use cases share, over a folder of a test's own.

use std::path::Path;

use ed25519_dalek::SigningKey;
use writ_proto::keyset::KeySet;

use super::*;
use crate::config::{Config, Layers};

/// Where its journal is.
pub(crate) fn journal_of(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("connectord.db").display())
}

/// Without cards, connections and keys.
pub(crate) async fn app(folder: &Path) -> SharedApp {
    let text = include_str!("../../../../deploy/connectord.example.toml");
    let file = folder.join("connectord.toml");
    std::fs::write(&file, text).unwrap();
    let layers = Layers::read(&file, std::iter::empty(), "X_", &[]).unwrap();
    let config = Config::from_layers(&layers, &file).unwrap();
    let root = SigningKey::from_bytes(&[1; 32]);
    let keys = KeySet::new(1, Vec::new()).unwrap();
    let keys_file = folder.join("public.json");
    std::fs::write(&keys_file, keys.sign_document(&root)).unwrap();
    let root = hex::encode(root.verifying_key().as_bytes());
    Arc::new(App {
        catalog: ArcSwap::from_pointee(Catalog::default()),
        journal: Journal::open(&journal_of(folder)).await.unwrap(),
        halts: HaltStore::open(&config.halt.place).await.unwrap(),
        halt_changes: tokio::sync::watch::Sender::new(None),
        instance: String::new(),
        global_operators: Vec::new(),
        work: work::Work::default(),
        settling: Settling::default(),
        alike: alike::refusals(),
        // Whatever room the disk of the tests has.
        reserve: Arc::new(Reserve::new(&config.store.url, 0)),
        marks: Arc::new(MarkFile::open(&config).unwrap()),
        trust: Trust::load(keys_file, &root).unwrap(),
        rules: Rules {
            audience: config.server.audience,
            leeway_seconds: config.trust.leeway_seconds,
            ttl_seconds_max: config.trust.ttl_seconds_max,
        },
        long: long::Long::on(tokio::runtime::Handle::current()),
    })
}
