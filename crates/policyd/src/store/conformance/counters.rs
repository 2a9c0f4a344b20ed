//! Counters by their keys, and what is long over.

use super::*;

#[tokio::test]
async fn counters_are_found_by_key_and_removed_when_they_are_long_over() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let used = |key: &str, at_ms: i64| Usage {
            key: Key::stored(key.to_owned()),
            amount: 3,
            complete: true,
            at_ms,
        };
        let mut item = append("acme", 1, 1, 1);
        item.usage = vec![
            used("a|tenant|2026-01-01", 1_000),
            used("a|tenant|2026-02-01", 9_000),
            used("a|run:triage:r|run", 1_000),
        ];
        commit(&ledger, &[item]).await;
        let keys = [
            "a|tenant|2026-01-01",
            "a|run:triage:r|run",
            "a|tenant|2026-02-01",
            "a|none|x",
        ];
        let keys = keys.map(|key| Key::stored(key.to_owned()));
        let acme = tenant("acme");
        let found = ledger.counters(&acme, &keys).await.unwrap();
        assert_eq!(found.len(), 3, "{name}");
        assert_eq!(found[&keys[0]].used, 3, "{name}");
        let foreign = ledger.counters(&tenant("globex"), &keys).await.unwrap();
        assert!(foreign.is_empty(), "{name}");
        assert_eq!(
            ledger.counter_prune((5_000, 500), 9).await.unwrap(),
            1,
            "{name}"
        );
        let left = ledger.counters(&acme, &keys).await.unwrap();
        assert!(!left.contains_key(&keys[0]), "{name}");
        assert_eq!(left.len(), 2, "{name}: the run and the newer day stay");
        assert_eq!(
            ledger.counter_prune((5_000, 5_000), 9).await.unwrap(),
            1,
            "{name}"
        );
    }
}
