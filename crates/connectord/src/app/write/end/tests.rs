//! Ends that the journal did not take at first.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, SqliteConnection};

use super::*;
use crate::app::tests::{app, journal_of};
use crate::domain::execution::tests::execution;

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

#[tokio::test]
async fn an_end_that_could_not_be_written_is_written_whole_when_the_journal_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(folder.path()).await;
    let (mut own, mut other) = (execution(1), execution(2));
    own.sent_ms = 1;
    let count = Count {
        action: "refund".into(),
        bucket: "EUR".into(),
        add: 5,
        is_amount: true,
        cap: 5,
        what: String::new(),
    };
    own.remember(std::slice::from_ref(&count));
    app.journal
        .save_counted(&mut [&mut own, &mut other], vec![], vec![count])
        .await
        .unwrap();
    let url = journal_of(folder.path());
    let mut beside = SqliteConnection::connect(&url).await.unwrap();
    let away = sqlx::raw_sql("ALTER TABLE execution RENAME TO away");
    away.execute(&mut beside).await.unwrap();
    let (id, undone) = (own.id.clone(), other.id.clone());
    other.undone_by.clone_from(&id);
    let ended = app.end_with(own, Some(other), State::Failed, Kind::Result);
    assert_eq!(ended.await.unwrap_err().reason, Reason::OutcomeUnknown);
    // It is tried again in vain meanwhile.
    tokio::time::sleep(SAVE_PAUSE * 2).await;
    let back = sqlx::raw_sql("ALTER TABLE away RENAME TO execution");
    back.execute(&mut beside).await.unwrap();
    let found = async |id: &str| app.journal.execution("acme", id).await.unwrap().unwrap();
    let began = Instant::now();
    while found(&id).await.state != State::Failed {
        assert!(began.elapsed() < PATIENCE, "it was given up");
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(found(&undone).await.undone_by, id);
    let buckets = ["EUR".to_owned()];
    let left = app.journal.tallies("acme", "refund", &buckets).await;
    assert_eq!(left.unwrap(), [0]);
    assert_eq!(app.journal.outbox(None, 9).await.unwrap().len(), 1);
}
