//! Whose list waits for whose.

use super::*;

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn lists_of_undos_wait_for_their_own_tenant_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("journal.db").display());
    let journal = Journal::open(&url).await.unwrap();
    let filter = |readers| Filter {
        limit: 1,
        readers,
        ..Filter::default()
    };
    let turn = journal.turns.of("acme", MOMENT).await.unwrap();
    for (tenant, readers, waits) in [
        ("acme", Readers::Undos, true),
        ("globex", Readers::Undos, false),
        ("acme", Readers::Writes, false),
        ("acme", Readers::Lists, false),
    ] {
        let filter = filter(readers);
        let list = journal.list(tenant, &filter);
        if waits {
            assert!(tokio::time::timeout(MOMENT, list).await.is_err());
        } else {
            assert_eq!(list.await, Ok(vec![]), "{tenant} {readers:?}");
        }
    }
    drop(turn);
    assert_eq!(
        journal.list("acme", &filter(Readers::Undos)).await,
        Ok(vec![])
    );
    // Nothing is kept of those who neither have a turn nor wait for one.
    drop(journal.turns.of("globex", MOMENT).await);
    let kept = journal.turns.of("acme", MOMENT).await;
    assert_eq!(journal.turns.0.lock().unwrap().len(), 1, "{kept:?}");
}

#[tokio::test]
async fn who_waits_too_long_is_told_that_others_are_before_him() {
    let turns = Turns::default();
    let _held = turns.of("acme", MOMENT).await.unwrap();
    assert_eq!(
        turns.of("acme", MOMENT).await.map(drop),
        Err(JournalError::Busy)
    );
}
