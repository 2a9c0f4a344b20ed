//! How the file is opened, and how lists are read.

use sqlx::{Connection as _, SqliteConnection};

use super::*;

/// However a list is narrowed, it walks the executions of its tenant, newest first, and those of nobody else.
#[tokio::test]
async fn a_list_reads_the_executions_of_its_tenant_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("journal.db").display());
    let reader = SqliteReader::open(&url).await.unwrap();
    let all = Filter {
        limit: 100,
        ..Filter::default()
    };
    let narrowed = [
        all.clone(),
        Filter {
            run: Some("r-1".into()),
            ..all.clone()
        },
        Filter {
            since_ms: Some(1_800_000_000_000),
            execute: Some(true),
            ..all.clone()
        },
        Filter {
            before: Some(Uuid::max().to_string()),
            touched_since_ms: Some(1),
            surprises: true,
            ..all
        },
    ];
    for filter in narrowed {
        let mut query = listing("EXPLAIN QUERY PLAN SELECT body, revision", "acme", &filter);
        let steps = query.build().fetch_all(&reader.pool).await.unwrap();
        let steps: Vec<String> = steps.iter().map(|row| row.get("detail")).collect();
        let [step] = steps.as_slice() else {
            panic!("{filter:?}: {steps:?}");
        };
        let by_index = step.starts_with("SEARCH execution USING INDEX execution_of_tenant");
        assert!(by_index, "{filter:?}: {step}");
        // Of what was made since, nothing older is read.
        let from = step.contains("id>");
        assert_eq!(from, filter.since_ms.is_some(), "{filter:?}: {step}");
    }
}

/// Whoever lists at length keeps nobody from what a write, an undo or a promotion reads.
#[tokio::test]
async fn nothing_waits_for_those_who_list() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("journal.db").display());
    let reader = SqliteReader::open(&url).await.unwrap();
    let mut listing = Vec::new();
    for _ in 0..LISTERS_MAX {
        listing.push(reader.lists.acquire().await.unwrap());
    }
    let filter = |readers| Filter {
        limit: 1,
        readers,
        ..Filter::default()
    };
    for readers in [Readers::Writes, Readers::Undos] {
        let list = reader.list("acme", &filter(readers)).await;
        assert!(list.unwrap().is_empty(), "{readers:?}");
    }
    assert!(
        reader
            .execution("acme", Uuid::nil())
            .await
            .unwrap()
            .is_none()
    );
    let moment = Duration::from_millis(50);
    let (own, other) = (filter(Readers::Lists), filter(Readers::Lists));
    let mut waits = Box::pin(reader.list("acme", &own));
    assert!(tokio::time::timeout(moment, &mut waits).await.is_err());
    drop(listing);
    assert!(waits.await.unwrap().is_empty());
    assert!(reader.list("globex", &other).await.unwrap().is_empty());
    let mut undoing = Vec::new();
    for _ in 0..UNDOERS_MAX {
        undoing.push(reader.undos.acquire().await.unwrap());
    }
    for readers in [Readers::Writes, Readers::Lists] {
        let list = reader.list("acme", &filter(readers)).await;
        assert!(list.unwrap().is_empty(), "{readers:?}");
    }
    let undo = filter(Readers::Undos);
    let mut waits = Box::pin(reader.list("acme", &undo));
    assert!(tokio::time::timeout(moment, &mut waits).await.is_err());
}

/// With less than `FULL` a commit in WAL may be gone after a power cut.
#[tokio::test]
async fn what_is_answered_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("journal.db").display());
    let reader = SqliteReader::open(&url).await.unwrap();
    let options = reader.writer().options;
    let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut writer)
        .await
        .unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut writer)
        .await
        .unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2));
}
