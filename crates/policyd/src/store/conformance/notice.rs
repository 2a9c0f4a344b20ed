//! Notices: stored with their record or not at all, taken once, never lost.

use std::collections::BTreeSet;

use super::super::notice::Settled;
use super::budget::held;
use super::*;
use crate::domain::incident::notice::{DEDUP_WINDOW_MS, Delivery, NoticeKind};

const LEASE_MS: i64 = 60_000;

fn notice(tenant: &str, id: u128, key: &str, time_ms: i64) -> Notice {
    Notice {
        id: Uuid::from_u128(id),
        tenant: self::tenant(tenant),
        kind: NoticeKind::LimitFired,
        title: "a limit fired".into(),
        fields: vec![("agent".into(), "triage".into())],
        link: String::new(),
        dedup_key: key.into(),
        time_ms,
    }
}

fn telling(id: u128, notices: Vec<Notice>) -> Append {
    Append {
        notices,
        ..append("acme", id, id, 1)
    }
}

async fn found(ledger: &Ledger, tenant: &str) -> Vec<(u128, u64)> {
    let rows = ledger
        .notice_list(&self::tenant(tenant), 100)
        .await
        .unwrap();
    rows.iter()
        .map(|row| (row.notice.id.as_u128(), row.repeats))
        .collect()
}

#[tokio::test]
async fn a_notice_is_stored_with_its_record_or_not_at_all() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let mut over = held(2, "day", 11, 10);
        over.notices = vec![notice("acme", 2, "over", 1)];
        let batch = [
            telling(1, vec![notice("acme", 1, "stored", 1)]),
            over,
            telling(1, vec![notice("acme", 3, "again", 1)]),
        ];
        let answers = commit(&ledger, &batch).await;
        assert!(matches!(answers[1], Appended::OverBudget { .. }), "{name}");
        assert!(
            matches!(answers[2], Appended::DuplicateDecision(_)),
            "{name}"
        );
        assert_eq!(found(&ledger, "acme").await, [(1, 0)], "{name}");
        let row = ledger
            .notice_list(&tenant("acme"), 1)
            .await
            .unwrap()
            .remove(0);
        assert_eq!(row.notice, notice("acme", 1, "stored", 1), "{name}");
        assert_eq!((row.state, row.tries), (Delivery::Waiting, 0), "{name}");
    }
}

#[tokio::test]
async fn the_same_said_again_within_the_window_is_counted_and_not_said() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let batch = [
            telling(
                1,
                vec![notice("acme", 1, "k", 1), notice("globex", 2, "k", 1)],
            ),
            telling(
                2,
                vec![notice("acme", 3, "k", 2), notice("acme", 4, "other", 2)],
            ),
        ];
        commit(&ledger, &batch).await;
        assert_eq!(found(&ledger, "acme").await, [(4, 0), (1, 1)], "{name}");
        assert_eq!(found(&ledger, "globex").await, [(2, 0)], "{name}");
        let last = notice("acme", 5, "k", DEDUP_WINDOW_MS);
        commit(&ledger, &[telling(3, vec![last.clone(), last])]).await;
        assert_eq!(found(&ledger, "acme").await, [(4, 0), (1, 3)], "{name}");
        let later = notice("acme", 6, "k", DEDUP_WINDOW_MS + 1);
        ledger.notice_add(&later).await.unwrap();
        ledger.notice_add(&later).await.unwrap();
        let all = found(&ledger, "acme").await;
        assert_eq!(all, [(6, 1), (4, 0), (1, 3)], "{name}");
    }
}

#[tokio::test]
async fn a_taken_notice_comes_back_when_its_lease_ends_and_a_dead_one_is_kept() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        ledger
            .notice_add(&notice("acme", 1, "a", 10))
            .await
            .unwrap();
        let take = async |now| ledger.notice_take(now, LEASE_MS, 10).await.unwrap();
        assert!(take(9).await.is_empty(), "{name}: not due");
        let first = take(10).await.remove(0);
        assert_eq!(first.tries, 1, "{name}");
        assert!(take(LEASE_MS + 9).await.is_empty(), "{name}: taken");
        let second = take(LEASE_MS + 10).await.remove(0);
        assert_eq!(second.tries, 2, "{name}");
        let waits = Settled {
            state: Delivery::Waiting,
            due_ms: 500_000,
            taken: vec!["slack".into()],
            error: "webhook: 500".into(),
            tried: true,
        };
        let late = ledger.notice_settle(&first, &waits).await.unwrap();
        assert!(!late, "{name}: the lease of the first is over");
        assert!(ledger.notice_settle(&second, &waits).await.unwrap());
        assert!(take(499_999).await.is_empty(), "{name}");
        let third = take(500_000).await.remove(0);
        assert_eq!(third.taken, ["slack"], "{name}");
        assert_eq!(third.error, "webhook: 500", "{name}");
        // Where every sink had asked to wait, the try does not count.
        let untried = Settled {
            tried: false,
            ..waits.clone()
        };
        assert!(ledger.notice_settle(&third, &untried).await.unwrap());
        let third = take(500_000).await.remove(0);
        assert_eq!(third.tries, 3, "{name}");
        let dead = Settled {
            state: Delivery::Dead,
            ..waits
        };
        assert!(ledger.notice_settle(&third, &dead).await.unwrap());
        assert!(take(i64::MAX - LEASE_MS).await.is_empty(), "{name}");
        assert_eq!(ledger.notice_prune(i64::MAX).await.unwrap(), 0, "{name}");
        let kept = ledger.notice_list(&tenant("acme"), 9).await.unwrap();
        assert_eq!(kept[0].state, Delivery::Dead, "{name}");
        ledger
            .notice_add(&notice("acme", 2, "b", 10))
            .await
            .unwrap();
        let other = take(10).await.remove(0);
        let delivered = Settled {
            state: Delivery::Delivered,
            ..dead
        };
        assert!(ledger.notice_settle(&other, &delivered).await.unwrap());
        assert_eq!(ledger.notice_prune(10).await.unwrap(), 0, "{name}");
        assert_eq!(ledger.notice_prune(11).await.unwrap(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_tenant_with_many_notices_holds_up_none_of_another() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        for id in 0..20_u128 {
            let own = notice("acme", id + 1, &format!("k{id}"), 10);
            ledger.notice_add(&own).await.unwrap();
        }
        ledger
            .notice_add(&notice("globex", 99, "g", 11))
            .await
            .unwrap();
        let taken = ledger.notice_take(20, LEASE_MS, 2).await.unwrap();
        let tenants: BTreeSet<String> = taken
            .iter()
            .map(|row| row.notice.tenant.to_string())
            .collect();
        assert_eq!(tenants.len(), 2, "{name}: {tenants:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_takers_take_each_notice_once() {
    const NOTICES: u128 = 200;
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        for id in 0..NOTICES {
            let one = notice("acme", id + 1, &id.to_string(), 1);
            ledger.notice_add(&one).await.unwrap();
        }
        let mut takers = Vec::new();
        for _ in 0..4 {
            let ledger = Ledger::open(&url).await.unwrap();
            takers.push(tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let rows = ledger.notice_take(1, LEASE_MS, 7).await.unwrap();
                    if rows.is_empty() {
                        return taken;
                    }
                    taken.extend(rows.into_iter().map(|row| row.notice.id));
                }
            }));
        }
        let mut all = Vec::new();
        for taker in takers {
            all.extend(taker.await.unwrap());
        }
        let different: BTreeSet<Uuid> = all.iter().copied().collect();
        // A taker whose candidates another one took sees none and stops; the others go on.
        assert_eq!((all.len(), different.len()), (200, 200), "{name}");
    }
}
