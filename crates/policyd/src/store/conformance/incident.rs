//! Denials are counted exactly, by many writers too, and an incident is opened with its record,
//! once.

use super::budget::settled;
use super::*;
use crate::domain::budget::SettledAs;
use crate::domain::incident::notice::NoticeKind;
use crate::domain::incident::{Closing, Denial, HaltWish, Incident};
use uuid::Uuid;

const WANTED: u32 = 10;

/// A counted denial with a record of its own.
fn denied(id: u128, key: &str, at_ms: i64) -> Append {
    let mut append = append("acme", id, id, 1);
    append.incidents.denials = vec![denial(id, key, at_ms)];
    append
}

fn denial(id: u128, key: &str, at_ms: i64) -> Denial {
    let id = Uuid::from_u128(id | 1 << 64);
    let incident = Incident {
        id,
        tenant: tenant("acme"),
        agent: "triage".into(),
        action: "refund".into(),
        rule: "probing".into(),
        count: WANTED,
        window_seconds: 600,
        codes: vec![],
        opened_ms: 77,
        halt: HaltWish::Wanted,
        closed: None,
    };
    let mut record = append("acme", 1, 1, 1).draft;
    record.kind = Kind::IncidentOpened;
    record.record_id = id;
    let notice = Notice {
        id,
        tenant: tenant("acme"),
        kind: NoticeKind::Incident,
        title: "t".into(),
        fields: vec![],
        link: String::new(),
        dedup_key: id.to_string(),
        time_ms: at_ms,
    };
    Denial {
        key: key.into(),
        at_ms,
        code: if at_ms % 2 == 0 {
            "FORBIDDEN"
        } else {
            "NOT_PERMITTED"
        }
        .into(),
        incident,
        record,
        notice: Some(notice),
    }
}

async fn records(ledger: &Ledger, kind: &str) -> usize {
    let rows = ledger.record_list(&tenant("acme"), 0, 1_000).await.unwrap();
    let kinds = rows.iter().map(|row| project(&row.leaf).unwrap().kind);
    kinds.filter(|found| found == kind).count()
}

#[tokio::test]
async fn the_last_denial_that_is_needed_opens_the_incident_with_its_record_and_notice() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let acme = tenant("acme");
        let batch: Vec<Append> = (1..10).map(|id| denied(id, "a", 0)).collect();
        commit(&ledger, &batch).await;
        // Said again, another key, another window: none of them is the tenth.
        commit(&ledger, &[batch[0].clone(), denied(20, "b", 0)]).await;
        assert!(
            ledger.incident_list(&acme, 9).await.unwrap().is_empty(),
            "{name}"
        );
        assert!(!ledger.incident_is_open(&acme, "triage").await.unwrap());
        commit(&ledger, &[denied(10, "a", 1), denied(11, "a", 1)]).await;
        let found = ledger.incident_list(&acme, 9).await.unwrap();
        assert_eq!(found.len(), 1, "{name}: once a window");
        assert_eq!(found[0].codes, ["NOT_PERMITTED", "FORBIDDEN"], "{name}");
        assert_eq!(found[0].id, Uuid::from_u128(10 | 1 << 64), "{name}");
        assert_eq!(records(&ledger, "incident_opened").await, 1, "{name}");
        check_log(&ledger, &acme, 13).await;
        let told = ledger.notice_list(&acme, 9).await.unwrap();
        let codes = ("codes".to_owned(), "NOT_PERMITTED, FORBIDDEN".to_owned());
        assert_eq!(told[0].notice.fields, [codes], "{name}");
        let globex = tenant("globex");
        assert!(
            ledger
                .incident(&globex, found[0].id)
                .await
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_denial_that_is_no_record_counts_all_the_same() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        for id in 1..=u128::from(WANTED) {
            let mut only = denied(id, "a", 0);
            only.incidents.counts_only = true;
            only.decision = None;
            assert_eq!(
                commit(&ledger, &[only]).await,
                [Appended::Counted],
                "{name}"
            );
        }
        let rows = ledger.record_list(&tenant("acme"), 0, 99).await.unwrap();
        assert_eq!(
            (rows.len(), records(&ledger, "incident_opened").await),
            (1, 1)
        );
        let head = ledger.head(&tenant("acme")).await.unwrap();
        assert_eq!(head.frontier.size(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_halt_is_wanted_until_it_is_set_or_the_incident_is_closed() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let acme = tenant("acme");
        for (key, from) in [("a", 100), ("b", 200)] {
            let batch: Vec<Append> = (from..from + 10).map(|id| denied(id, key, 0)).collect();
            commit(&ledger, &batch).await;
        }
        let wanted = ledger.incident_halts_wanted(Uuid::nil(), 9).await.unwrap();
        assert_eq!(wanted.len(), 2, "{name}");
        let behind = ledger.incident_halts_wanted(wanted[0].id, 9).await.unwrap();
        assert_eq!(behind, wanted[1..], "{name}");
        // However many incidents an agent has, it is one of those to halt.
        for (most, count) in [(9, 1), (0, 0)] {
            let agents = ledger.agents_to_halt(most).await.unwrap();
            assert_eq!(agents.len(), count, "{name}: {agents:?}");
        }
        ledger.incident_halt_set(wanted[0].id).await.unwrap();
        let set = ledger.incident(&acme, wanted[0].id).await.unwrap().unwrap();
        assert_eq!(set.halt, HaltWish::Set, "{name}");
        let mut closes = wanted[1].clone();
        closes.closed = Some(Closing {
            time_ms: 9,
            by: "ops".into(),
            reason: "looked at".into(),
        });
        let mut append = settled(31, 31, SettledAs::Void);
        append.settles = None;
        append.incidents.closes = Some(closes.clone());
        commit(&ledger, &[append]).await;
        assert!(
            ledger
                .incident_halts_wanted(Uuid::nil(), 9)
                .await
                .unwrap()
                .is_empty()
        );
        let closed = ledger.incident(&acme, closes.id).await.unwrap();
        assert_eq!(closed, Some(closes), "{name}");
        assert!(ledger.incident_is_open(&acme, "triage").await.unwrap());
        assert!(!ledger.incident_is_open(&acme, "other").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_count_exactly() {
    const EACH: u128 = 100;
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let writers = if name == "postgres" { 2_u128 } else { 1 };
        let mut tasks = Vec::new();
        for part in 0..writers {
            let ledger = Ledger::open(&url).await.unwrap();
            let handle = Writer::new(&ledger, PATIENCE);
            for index in 0..EACH {
                // Ten times the wanted number in each of the windows that lie apart.
                let window = i64::try_from(index / 50).unwrap() * 10_000_000;
                let append = denied(part * 1_000 + index + 1, "a", window);
                let handle = handle.clone();
                tasks.push(tokio::spawn(
                    async move { handle.append(append).await.unwrap() },
                ));
            }
        }
        for task in tasks {
            assert!(
                matches!(task.await.unwrap(), Appended::Stored { .. }),
                "{name}"
            );
        }
        let ledger = Ledger::open(&url).await.unwrap();
        let found = ledger.incident_list(&tenant("acme"), 99).await.unwrap();
        let records = records(&ledger, "incident_opened").await;
        assert_eq!(records, found.len(), "{name}");
        // Denials of the earlier window may come after those of the later one and count there no
        // more; the later window has its incident in any case.
        assert!((1..=2).contains(&found.len()), "{name}: {}", found.len());
    }
}

#[tokio::test]
async fn an_incident_is_its_tenants_and_only_a_wanted_halt_becomes_set() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        let unhalted = |id: u128| {
            let mut append = denied(id, "b", 0);
            append.incidents.denials[0].incident.halt = HaltWish::None;
            append
        };
        let batch: Vec<Append> = (1..=10)
            .map(|id| denied(id, "a", 0))
            .chain((11..=20).map(unhalted))
            .collect();
        commit(&ledger, &batch).await;
        let [none, wanted] = &ledger.incident_list(&acme, 9).await.unwrap()[..] else {
            panic!("{name}: two incidents");
        };
        assert!(ledger.incident_list(&globex, 9).await.unwrap().is_empty());
        assert!(!ledger.incident_is_open(&globex, "triage").await.unwrap());
        let wants = async |of: &TenantId| ledger.incident_wants_halt(of, "triage").await.unwrap();
        assert!(wants(&acme).await && !wants(&globex).await, "{name}");
        // What is closed as an incident of another tenant stays open.
        let mut foreign = settled(31, 31, SettledAs::Void);
        foreign.settles = None;
        foreign.incidents.closes = Some(Incident {
            tenant: globex.clone(),
            closed: Some(Closing {
                time_ms: 9,
                by: "ops".into(),
                reason: "x".into(),
            }),
            ..wanted.clone()
        });
        commit(&ledger, &[foreign]).await;
        let found = ledger.incident(&acme, wanted.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(wanted), "{name}");
        for id in [none.id, wanted.id] {
            ledger.incident_halt_set(id).await.unwrap();
        }
        let halt = async |id| ledger.incident(&acme, id).await.unwrap().unwrap().halt;
        assert_eq!(halt(none.id).await, HaltWish::None, "{name}");
        assert_eq!(halt(wanted.id).await, HaltWish::Set, "{name}");
        assert!(!wants(&acme).await, "{name}");
    }
}
