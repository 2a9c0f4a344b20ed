//! Counters by their keys, and what is long over.

use super::budget::{held, settled};
use super::*;
use crate::domain::budget::SettledAs;

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

#[tokio::test]
async fn a_counter_that_still_holds_something_is_not_removed() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let removed = async || ledger.counter_prune((5_000, 5_000), 9).await.unwrap();
        commit(&ledger, &[held(1, "day", 6, 10)]).await;
        assert_eq!(removed().await, 0, "{name}");
        commit(&ledger, &[settled(11, 1, SettledAs::Captured)]).await;
        assert_eq!(removed().await, 1, "{name}");
    }
}

#[tokio::test]
async fn many_holds_and_ordered_halts_of_one_tenant_hide_none_of_another() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let spent = |of: &str, id: u128, at_ms| {
            let mut one = held(id, "day", 1, 10);
            one.tenant = tenant(of);
            one.holds[0].expires_ms = at_ms;
            one.trip = Some(Trip {
                key: one.holds[0].key.clone(),
                limit: at_ms,
                scope: "run:r".into(),
                reason: "spent".into(),
                at_ms,
            });
            one
        };
        let batch = [
            spent("acme", 1, 1),
            spent("acme", 2, 2),
            spent("globex", 3, 3),
        ];
        commit(&ledger, &batch).await;
        let both = [tenant("acme"), tenant("globex")];
        let expired = ledger.expired_holds(9, 2).await.unwrap();
        let mut whose: Vec<_> = expired.into_iter().map(|(of, _)| of).collect();
        whose.sort();
        assert_eq!(whose, both, "{name}");
        let ordered = ledger.trip_list(9, 1).await.unwrap();
        let whose: Vec<_> = ordered.into_iter().map(|(of, _)| of).collect();
        assert_eq!(whose, both, "{name}");
    }
}
