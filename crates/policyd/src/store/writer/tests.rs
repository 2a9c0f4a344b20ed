//! The ledger and its writer on a real SQLite file.

use std::sync::Arc;

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::*;
use crate::domain::merkle::{leaf_hash, root_of};
use crate::domain::record::{Draft, Kind, project};
use crate::store::DecisionRow;

fn append(tenant: &str, id: u128, request: u128, fingerprint: u8) -> Append {
    let draft = Draft {
        origin: format!("policyd.localhost/log/{tenant}"),
        kind: Kind::Evaluated,
        record_id: Uuid::from_u128(id),
        version: 1,
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
        epoch: None,
        trace_id: None,
        disclosures: vec![],
    };
    let decision = DecisionRow {
        id: Uuid::from_u128(id),
        request_id: Uuid::from_u128(request),
        fingerprint: [fingerprint; 32],
        body: vec![fingerprint],
    };
    let tenant = TenantId::parse(tenant).unwrap();
    Append {
        tenant,
        draft,
        decision: Some(decision),
        outcome_id: None,
    }
}

async fn ledger(folder: &tempfile::TempDir) -> SqliteLedger {
    SqliteLedger::open(&format!(
        "sqlite://{}",
        folder.path().join("t.db").display()
    ))
    .await
    .unwrap()
}

#[tokio::test]
async fn concurrent_appends_are_numbered_without_gaps_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, handle) = Writer::new(ledger(&folder).await, Duration::from_secs(10));
    let writing = tokio::spawn(writer.run());
    let handle = Arc::new(handle);
    let mut tasks = Vec::new();
    for index in 0..200_u128 {
        let handle = Arc::clone(&handle);
        let tenant = if index % 4 == 0 { "globex" } else { "acme" };
        tasks.push(tokio::spawn(async move {
            handle
                .append(append(tenant, index + 1, index + 1, 1))
                .await
                .unwrap()
        }));
    }
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Appended::Stored { .. }));
    }
    drop(handle);
    writing.await.unwrap();
    let reopened = ledger(&folder).await;
    for (tenant, count) in [("acme", 150), ("globex", 50)] {
        let tenant = TenantId::parse(tenant).unwrap();
        let rows = reopened.record_list(&tenant, 0, 1_000).await.unwrap();
        assert_eq!(rows.len(), count);
        let mut prev = None;
        for (index, row) in (0_u64..).zip(&rows) {
            let read = project(&row.leaf).unwrap();
            assert_eq!((row.seq, read.seq), (index, index));
            assert_eq!(read.prev_hash(), prev);
            prev = Some(leaf_hash(&row.leaf));
        }
        let head = reopened.head(&tenant).await.unwrap();
        assert_eq!(
            head.frontier.root(),
            root_of(rows.iter().map(|row| leaf_hash(&row.leaf)))
        );
    }
}

#[tokio::test]
async fn one_request_id_has_one_decision_also_inside_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let batch = [
        append("acme", 1, 9, 1),
        append("acme", 2, 9, 2),
        append("globex", 3, 9, 3),
    ];
    let first = ledger.append_batch(&batch).await.unwrap();
    assert!(matches!(first[0], Appended::Stored { seq: 0 }));
    assert!(matches!(&first[1], Appended::DuplicateDecision(row) if row.body == vec![1]));
    assert!(
        matches!(first[2], Appended::Stored { seq: 0 }),
        "another tenant's ids are its own"
    );
    let again = ledger.append_batch(&batch[1..2]).await.unwrap();
    assert!(matches!(&again[0], Appended::DuplicateDecision(row) if row.fingerprint == [1; 32]));
    let acme = TenantId::parse("acme").unwrap();
    assert_eq!(ledger.head(&acme).await.unwrap().frontier.size(), 1);
    let globex = TenantId::parse("globex").unwrap();
    assert!(
        ledger
            .decision(&globex, Uuid::from_u128(1))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn an_outcome_is_appended_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder).await;
    let mut item = append("acme", 1, 1, 1);
    item.decision = None;
    item.outcome_id = Some(Uuid::from_u128(7));
    let batch = [item.clone(), item];
    let results = ledger.append_batch(&batch).await.unwrap();
    assert_eq!(
        results,
        vec![Appended::Stored { seq: 0 }, Appended::DuplicateOutcome]
    );
    let results = ledger.append_batch(&batch).await.unwrap();
    assert_eq!(
        results,
        vec![Appended::DuplicateOutcome, Appended::DuplicateOutcome]
    );
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("t.db").display());
    drop(ledger(&folder).await);
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("UPDATE schema_version SET version = 99")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let error = SqliteLedger::open(&url).await.unwrap_err();
    assert_eq!(
        error,
        StoreError::SchemaVersion {
            found: 99,
            known: 1
        }
    );
}
