//! What every driver of the ledger does, on real databases: SQLite always, PostgreSQL when
//! `WRIT_TEST_POSTGRES` names a server.

mod budget;
mod counters;
mod incident;
mod notice;

use std::time::Duration;

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::*;
use crate::domain::log::merkle::{leaf_hash, root_of};
use crate::domain::record::{Kind, project};

const PATIENCE: Duration = Duration::from_secs(10);

/// An empty database of each kind. The folder must outlive the tests.
async fn stores() -> (tempfile::TempDir, Vec<(&'static str, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("t.db").display());
    let mut urls = vec![("sqlite", file)];
    #[expect(clippy::disallowed_methods, reason = "where the tests find a server")]
    match std::env::var("WRIT_TEST_POSTGRES") {
        Ok(server) => urls.push(("postgres", fresh_database(&server).await)),
        Err(_) => println!("SKIPPED on PostgreSQL: WRIT_TEST_POSTGRES is not set"),
    }
    (folder, urls)
}

async fn fresh_database(server: &str) -> String {
    let name = format!("ledger_{}", crate::ids::new_id().simple());
    let pool = sqlx::PgPool::connect(&format!("{server}/postgres"))
        .await
        .unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&pool).await.unwrap();
    format!("{server}/{name}")
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// One batch, by a writer of its own.
async fn commit(ledger: &Ledger, batch: &[Append]) -> Vec<Appended> {
    match ledger {
        Ledger::Sqlite(ledger) => ledger.writer().commit(batch).await.unwrap(),
        Ledger::Postgres(ledger) => ledger.writer().commit(batch).await.unwrap(),
    }
}

/// A record of a kind, with nothing in it.
pub(crate) fn draft(tenant: &str, kind: Kind) -> Draft {
    Draft {
        origin: format!("policyd.localhost/log/{tenant}"),
        kind,
        record_id: Uuid::nil(),
        later: false,
        time_ms: 0,
        writer: "policyd".into(),
        tenant: tenant.into(),
        agent: "triage".into(),
        connection: String::new(),
        action: String::new(),
        target_type: String::new(),
        verdict: Some(1),
        reasons: vec![],
        policy: None,
        mode: None,
        money: None,
        token: None,
        execution: None,
        budget: None,
        epoch: None,
        trace_id: None,
        incident: None,
        halt: None,
        disclosures: vec![],
    }
}

fn append(tenant: &str, id: u128, request: u128, fingerprint: u8) -> Append {
    let draft = Draft {
        record_id: Uuid::from_u128(id),
        ..draft(tenant, Kind::Evaluated)
    };
    let decision = DecisionRow {
        id: Uuid::from_u128(id),
        request_id: Uuid::from_u128(request),
        fingerprint: [fingerprint; 32],
        body: vec![fingerprint],
    };
    Append {
        decision: Some(decision),
        ..Append::record(self::tenant(tenant), draft)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_are_numbered_without_gaps_and_survive_a_restart() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        // Two writers share a PostgreSQL database, as two replicas do.
        let writers = if name == "postgres" { 2 } else { 1 };
        let mut handles = Vec::new();
        for _ in 0..writers {
            let ledger = Ledger::open(&url).await.unwrap();
            handles.push(Writer::new(&ledger, PATIENCE));
        }
        let mut tasks = Vec::new();
        for index in 0..200_u128 {
            let handle = handles[usize::try_from(index).unwrap() % handles.len()].clone();
            let tenant = if index % 5 == 0 { "globex" } else { "acme" };
            let append = append(tenant, index + 1, index + 1, 1);
            tasks.push(tokio::spawn(
                async move { handle.append(append).await.unwrap() },
            ));
        }
        for task in tasks {
            assert!(matches!(task.await.unwrap(), Appended::Stored { .. }));
        }
        let reopened = Ledger::open(&url).await.unwrap();
        for (tenant, count) in [("acme", 160), ("globex", 40)] {
            check_log(&reopened, &self::tenant(tenant), count).await;
        }
    }
}

/// Waits until a statement of somebody else's waits for a lock in this database.
async fn somebody_waits(watch: &sqlx::PgPool) {
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async {
        while sqlx::query_scalar::<_, i64>(sql)
            .fetch_one(watch)
            .await
            .unwrap()
            == 0
        {}
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_log_that_another_process_makes_holds_no_other_log() {
    let (_folder, stores) = stores().await;
    let Some((_, url)) = stores.into_iter().find(|(name, _)| *name == "postgres") else {
        return;
    };
    let ledger = Ledger::open(&url).await.unwrap();
    commit(&ledger, &[append("globex", 1, 1, 1)]).await;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO log_head VALUES ('acme', 0, '', '')")
        .execute(&mut *other)
        .await
        .unwrap();
    let batch = [append("acme", 2, 2, 1), append("globex", 3, 3, 1)];
    let waiting = tokio::spawn(async move { commit(&ledger, &batch).await });
    somebody_waits(&pool).await;
    sqlx::query("SELECT size FROM log_head WHERE tenant = 'globex' FOR UPDATE NOWAIT")
        .fetch_one(&mut *other)
        .await
        .unwrap();
    other.commit().await.unwrap();
    let made = sqlx::query("INSERT INTO log_head VALUES ('initech', 0, '', '')");
    made.execute(&pool).await.unwrap();
    let empty = Ledger::open(&url).await.unwrap();
    let empty = empty.head(&tenant("initech")).await.unwrap();
    assert_eq!(empty, Head::default(), "a log that was only made");
    let stored = [Appended::Stored { seq: 0 }, Appended::Stored { seq: 1 }];
    assert_eq!(waiting.await.unwrap(), stored);
}

#[tokio::test]
async fn what_the_database_refuses_of_one_tenant_is_not_the_failure_of_others() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let handle = Writer::new(&ledger, PATIENCE);
        // PostgreSQL takes no text with U+0000; SQLite does.
        let key = Key::stored("b|customer:\u{0}|2026-01-01".to_owned());
        let mut poisoned = append("acme", 1, 1, 1);
        poisoned.usage = vec![Usage {
            key,
            amount: 1,
            complete: true,
            at_ms: 1,
        }];
        let bad = handle.submit(poisoned).unwrap();
        let good = handle.submit(append("globex", 2, 2, 1)).unwrap();
        let stored = good.done().await.unwrap();
        assert_eq!(stored, Appended::Stored { seq: 0 }, "{name}");
        assert_eq!(bad.done().await.is_err(), name == "postgres", "{name}");
        let next = handle.append(append("acme", 3, 3, 1)).await.unwrap();
        assert!(matches!(next, Appended::Stored { .. }), "{name}");
        handle.close();
        let closed = handle.append(append("acme", 4, 4, 1)).await;
        assert_eq!(closed.unwrap_err(), StoreError::Restored, "{name}");
    }
}

async fn check_log(ledger: &Ledger, tenant: &TenantId, count: usize) {
    let rows = ledger.record_list(tenant, 0, 1_000).await.unwrap();
    assert_eq!(rows.len(), count);
    let mut prev = None;
    for (index, row) in (0_u64..).zip(&rows) {
        let read = project(&row.leaf).unwrap();
        assert_eq!((row.seq, read.seq), (index, index));
        assert_eq!(read.prev_hash(), prev);
        prev = Some(leaf_hash(&row.leaf));
    }
    let head = ledger.head(tenant).await.unwrap();
    let leaves = rows.iter().map(|row| leaf_hash(&row.leaf));
    assert_eq!(head.frontier.root(), root_of(leaves));
    assert_eq!(ledger.decision_list(tenant, 7).await.unwrap().len(), 7);
}

#[tokio::test]
async fn one_request_id_has_one_decision_also_inside_a_batch_and_beside_fresh_ones() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let batch = [
            append("acme", 1, 9, 1),
            append("acme", 2, 9, 2),
            append("globex", 3, 9, 3),
        ];
        let first = commit(&ledger, &batch).await;
        assert_eq!(first[0], Appended::Stored { seq: 0 }, "{name}");
        assert!(matches!(&first[1], Appended::DuplicateDecision(row) if row.body == vec![1]));
        assert_eq!(
            first[2],
            Appended::Stored { seq: 0 },
            "ids are a tenant's own"
        );
        let mixed = [batch[1].clone(), append("acme", 4, 10, 4)];
        let again = commit(&ledger, &mixed).await;
        assert!(
            matches!(&again[0], Appended::DuplicateDecision(row) if row.fingerprint == [1; 32])
        );
        assert_eq!(again[1], Appended::Stored { seq: 1 }, "{name}");
        assert_eq!(
            ledger.head(&tenant("acme")).await.unwrap().frontier.size(),
            2
        );
        let asked = [4, 99].map(Uuid::from_u128);
        let of_all = ledger.decisions(&asked);
        let of_all: Vec<_> = of_all.await.unwrap().into_keys().collect();
        assert_eq!(of_all, [(tenant("acme"), Uuid::from_u128(4))], "{name}");
        let foreign = ledger.decision(&tenant("globex"), Uuid::from_u128(1)).await;
        assert!(foreign.unwrap().is_none(), "{name}");
        let own = ledger.decision(&tenant("acme"), Uuid::from_u128(4)).await;
        assert_eq!(own.unwrap().unwrap().body, vec![4], "{name}");
    }
}

#[tokio::test]
async fn a_writer_that_knows_the_head_still_finds_what_was_there_before() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let handle = Writer::new(&ledger, PATIENCE);
        let same = append("acme", 1, 1, 1);
        let first = handle.append(same.clone()).await.unwrap();
        assert_eq!(first, Appended::Stored { seq: 0 }, "{name}");
        let again = handle.append(same).await.unwrap();
        assert!(matches!(again, Appended::DuplicateDecision(_)), "{name}");
        for (of, request, there) in [("acme", 1, true), ("acme", 2, false), ("globex", 1, false)] {
            let found = ledger.decided(&tenant(of), Uuid::from_u128(request)).await;
            assert_eq!(found.unwrap().is_some(), there, "{name} {of} {request}");
        }
        // Somebody else appends; the next append comes after it.
        commit(&ledger, &[append("acme", 2, 2, 1)]).await;
        let third = handle.append(append("acme", 3, 3, 1)).await.unwrap();
        assert_eq!(third, Appended::Stored { seq: 2 }, "{name}");
    }
}

#[tokio::test]
async fn an_outcome_is_appended_once() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let mut item = append("acme", 1, 1, 1);
        item.decision = None;
        item.outcome_id = Some(Uuid::from_u128(7));
        let batch = [item.clone(), item];
        let duplicate = Appended::DuplicateOutcome;
        let known = async || ledger.has_outcome(Uuid::from_u128(7)).await.unwrap();
        assert!(!known().await, "{name}");
        let results = commit(&ledger, &batch).await;
        assert!(known().await, "{name}");
        assert_eq!(
            results,
            [Appended::Stored { seq: 0 }, duplicate.clone()],
            "{name}"
        );
        let results = commit(&ledger, &batch).await;
        assert_eq!(results, [duplicate.clone(), duplicate], "{name}");
    }
}

#[tokio::test]
async fn a_decision_has_the_undo_writ_of_its_first_report() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let report = |of: &str, outcome: u128, decision: u128, payload: u8| Append {
            outcome_id: Some(Uuid::from_u128(outcome)),
            undo: Some(UndoRow {
                decision: Uuid::from_u128(decision),
                payload: vec![payload; 3],
            }),
            ..Append::record(tenant(of), draft(of, Kind::Result))
        };
        commit(&ledger, &[report("acme", 1, 1, 1), report("acme", 2, 2, 2)]).await;
        // The same outcome again, another of the same decision, and one of another tenant.
        for again in [
            report("acme", 1, 3, 9),
            report("acme", 4, 1, 9),
            report("globex", 5, 2, 9),
        ] {
            commit(&ledger, &[again]).await;
        }
        let ids = [1, 2, 3, 9].map(Uuid::from_u128);
        let found = ledger.undo_payloads(&ids).await.unwrap();
        let expected = [(1, 1), (2, 2)]
            .map(|(id, byte)| ((tenant("acme"), Uuid::from_u128(id)), vec![byte; 3]));
        assert_eq!(found, BTreeMap::from(expected), "{name}");
        assert_eq!(ledger.undo_payloads(&[]).await.unwrap(), BTreeMap::new());
    }
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        drop(Ledger::open(&url).await.unwrap());
        let insert = "INSERT INTO schema_version (version) VALUES (99)";
        if name == "sqlite" {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query(insert).execute(&pool).await.unwrap();
        } else {
            let pool = sqlx::PgPool::connect(&url).await.unwrap();
            sqlx::query(insert).execute(&pool).await.unwrap();
        }
        let error = Ledger::open(&url).await.unwrap_err();
        let known = StoreError::SchemaVersion {
            found: 99,
            known: 6,
        };
        assert_eq!(error, known, "{name}");
    }
}

#[tokio::test]
async fn a_writer_whose_head_is_old_replaces_nothing() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let handle = Writer::new(&ledger, PATIENCE);
        handle.append(append("acme", 1, 1, 1)).await.unwrap();
        // Somebody else appends while the writer still holds its own head.
        commit(&ledger, &[append("acme", 2, 2, 1)]).await;
        let third = handle.append(append("acme", 3, 3, 1)).await.unwrap();
        assert_eq!(third, Appended::Stored { seq: 2 }, "{name}");
        let rows = ledger.record_list(&tenant("acme"), 0, 9).await.unwrap();
        assert_eq!(rows.len(), 3, "{name}");
    }
}

#[tokio::test]
async fn lists_hold_what_is_the_tenants_own() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        commit(
            &ledger,
            &[append("acme", 1, 1, 1), append("globex", 2, 2, 2)],
        )
        .await;
        for (of, body) in [("acme", 1), ("globex", 2), ("initech", 0)] {
            let found = ledger.decision_list(&tenant(of), 9).await.unwrap();
            let bodies: Vec<_> = found.into_iter().map(|row| row.body).collect();
            let wanted: Vec<_> = (body > 0).then(|| vec![body]).into_iter().collect();
            assert_eq!(bodies, wanted, "{name} {of}");
        }
    }
}

#[tokio::test]
async fn a_policy_set_is_its_tenants_and_keeps_the_place_of_its_first_record() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let (acme, globex, digest) = (tenant("acme"), tenant("globex"), [7; 32]);
        let published = |id: u128| Append {
            outcome_id: Some(Uuid::from_u128(id)),
            policy: Some(PolicyRow {
                digest: Some(digest),
                engine: "cedar".into(),
            }),
            ..Append::record(tenant("acme"), draft("acme", Kind::PolicyPublished))
        };
        ledger.policy_keep(&acme, &digest, "texts").await.unwrap();
        commit(&ledger, &[published(1)]).await;
        commit(&ledger, &[published(2)]).await;
        let first = ledger.policy_first(&acme, &digest).await.unwrap();
        assert_eq!(first, Some(0), "{name}");
        let own = ledger.policy_set(&acme, &digest).await.unwrap();
        assert_eq!(own.as_deref(), Some("texts"), "{name}");
        assert_eq!(ledger.policy_set(&globex, &digest).await.unwrap(), None);
        assert_eq!(ledger.policy_first(&globex, &digest).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_log_whose_decisions_have_no_place_is_refused() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        commit(&ledger, &[append("acme", 1, 1, 1)]).await;
        let old = "UPDATE decision SET seq = NULL";
        if name == "sqlite" {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query(old).execute(&pool).await.unwrap();
        } else {
            let pool = sqlx::PgPool::connect(&url).await.unwrap();
            sqlx::query(old).execute(&pool).await.unwrap();
        }
        assert_eq!(Ledger::open(&url).await.unwrap_err(), StoreError::OldLog);
    }
}
