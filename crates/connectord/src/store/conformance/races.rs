//! Several processes at one row: what another one is writing is waited for, what it wrote is seen, and
//! nothing is written over it.

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use super::*;

/// How long a write waits for another one here; far shorter than it would wait at most.
const WAITS: Duration = Duration::from_millis(300);

/// The connection of another process.
#[derive(Debug)]
enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Other {
    async fn connect(url: &str) -> Self {
        if is_postgres(url) {
            Self::Postgres(PgConnection::connect(url).await.unwrap())
        } else {
            Self::Sqlite(SqliteConnection::connect(url).await.unwrap())
        }
    }

    async fn run(&mut self, sql: &'static str) {
        let sql = sqlx::raw_sql(sql);
        let ran = match self {
            Self::Sqlite(connection) => sql.execute(connection).await.map(|_| ()),
            Self::Postgres(connection) => sql.execute(connection).await.map(|_| ()),
        };
        ran.unwrap();
    }

    /// Begins to write what is there.
    async fn begin(&mut self) {
        let sql = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => {
                "BEGIN; SELECT 1 FROM execution FOR UPDATE; SELECT 1 FROM rollout FOR UPDATE"
            }
        };
        self.run(sql).await;
    }
}

fn promoted(rollout: Rollout, revision: i64) -> Promoted {
    Promoted {
        tenant: "acme".into(),
        action: "refund".into(),
        rollout,
        until_ms: 0,
        set_ms: 3,
        revision,
        card: "a card".into(),
        system: "77".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_is_writing_is_waited_for_and_not_written_over() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let mut own = execution(1);
        journal.save(&mut [&mut own], vec![]).await.unwrap();
        let live = promoted(Rollout::Live, 0);
        journal.set_rollout(live, report(1)).await.unwrap();
        let mut other = Other::connect(&url).await;
        for (sets, moved) in [
            (
                false,
                "UPDATE execution SET revision = revision + 1; COMMIT",
            ),
            (true, "UPDATE rollout SET revision = revision + 1; COMMIT"),
        ] {
            other.begin().await;
            let (journal, mut own) = (journal.clone(), own.clone());
            let mut late = tokio::spawn(async move {
                if sets {
                    let demoted = promoted(Rollout::DryRun, 1);
                    return journal.set_rollout(demoted, report(2)).await;
                }
                journal.save(&mut [&mut own], vec![]).await
            });
            drop(tokio::time::timeout(WAITS, &mut late).await);
            other.run(moved).await;
            let late = late.await.unwrap();
            // On a machine that stood still meanwhile it has waited long enough.
            let kept = matches!(
                late,
                Err(JournalError::Conflict | JournalError::Unavailable(_))
            );
            assert!(kept, "{name}, {moved}: {late:?}");
        }
    }
}

#[tokio::test]
async fn a_token_whose_execution_is_gone_is_not_spent_again() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        journal.claim(claim(1, 10, 5)).await.unwrap();
        let mut other = Other::connect(&url).await;
        other.run("DELETE FROM execution").await;
        for call in [10, 11] {
            let again = journal.claim(claim(1, call, 5)).await;
            assert!(again.is_err(), "{name}: {again:?}");
        }
        let all = Filter {
            limit: 9,
            ..Filter::default()
        };
        let found = journal.list("acme", &all).await.unwrap();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[tokio::test]
async fn a_demotion_by_another_process_is_seen_right_before_the_write() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let other = Journal::open(&url).await.unwrap();
        let live = promoted(Rollout::Live, 0);
        other.set_rollout(live, report(1)).await.unwrap();
        let found = journal.rollout("acme", "refund").await.unwrap();
        assert_eq!(found.unwrap().rollout, Rollout::Live, "{name}");
        let demoted = promoted(Rollout::DryRun, 1);
        other.set_rollout(demoted, report(2)).await.unwrap();
        let found = journal.rollout_now("acme", "refund").await.unwrap();
        assert_eq!(found.unwrap().rollout, Rollout::DryRun, "{name}");
    }
}
