//! What every driver of the journal does, on real databases: SQLite always, PostgreSQL when
//! `WRIT_TEST_POSTGRES` names a server.

mod races;
mod shares;

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::domain::execution::State;
use crate::domain::execution::tests::execution;
use writ_proto::card::Rollout;

/// An empty database of each kind. The folder must outlive the test.
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
    let name = format!("journal_{}", crate::ids::new_id().simple());
    let pool = sqlx::PgPool::connect(&format!("{server}/postgres"))
        .await
        .unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&pool).await.unwrap();
    format!("{server}/{name}")
}

/// A call under a token.
fn claim(token: u128, call: u128, cap: u32) -> Claim {
    Claim {
        presented: Presented {
            issuer: "https://policyd.localhost".into(),
            cti: Uuid::from_u128(token),
            request_id: Uuid::from_u128(call),
            request_hash: [7; 32],
            caller: "acme/triage".into(),
        },
        counts: vec![count("2026-11-21", 1, cap)],
        execution: execution(call),
    }
}

fn count(bucket: &str, add: i64, cap: u32) -> Count {
    Count {
        action: "refund".into(),
        bucket: bucket.into(),
        add,
        is_amount: false,
        cap: i64::from(cap),
        what: format!("at most {cap} in {bucket}"),
    }
}

fn report(id: u128) -> Report {
    Report {
        id: Uuid::from_u128(id),
        body: vec![u8::try_from(id).unwrap()],
    }
}

fn waiting(id: u128) -> Waiting {
    let Report { id, body } = report(id);
    Waiting {
        id,
        body: Some(body),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_spent_once_however_many_processes_present_it() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        // Two journals share a PostgreSQL database, as two replicas do.
        let count = if name == "postgres" { 2 } else { 1 };
        let mut journals = Vec::new();
        for _ in 0..count {
            journals.push(Journal::open(&url).await.unwrap());
        }
        let mut tasks = Vec::new();
        for call in 0..200_u128 {
            let journal = journals[usize::try_from(call).unwrap() % journals.len()].clone();
            let claim = claim(call % 5, call + 1, 1_000);
            tasks.push(tokio::spawn(
                async move { journal.claim(claim).await.unwrap() },
            ));
        }
        let (mut fresh, mut replayed) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Claimed::Fresh(own) => {
                    assert_eq!(own.revision, 1);
                    fresh += 1;
                }
                Claimed::Replayed(_) => replayed += 1,
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!((fresh, replayed), (5, 195), "{name}");
        let all = Filter {
            limit: 1_000,
            ..Filter::default()
        };
        assert_eq!(journals[0].list("acme", &all).await.unwrap().len(), 5);
    }
}

#[tokio::test]
async fn only_the_very_same_call_gets_its_outcome_again() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let own = claim(1, 10, 5);
        let Claimed::Fresh(mut first) = journal.claim(own.clone()).await.unwrap() else {
            panic!("{name}")
        };
        first.state = State::Done;
        journal.save(&mut [&mut first], vec![]).await.unwrap();
        let mut retry = own.clone();
        retry.execution = execution(11);
        let again = journal.claim(retry).await.unwrap();
        assert_eq!(again, Claimed::Repeated(first.clone()), "{name}");
        let by = Some(first.id.clone());
        type Change = fn(&mut Claim);
        let others: [(Change, Option<String>); 3] = [
            (|claim| claim.presented.request_id = Uuid::nil(), by.clone()),
            (|claim| claim.presented.request_hash = [8; 32], by),
            (|claim| claim.presented.caller = "acme/other".into(), None),
        ];
        for (change, by) in others {
            let mut other = own.clone();
            change(&mut other);
            let answer = journal.claim(other).await.unwrap();
            assert_eq!(answer, Claimed::Replayed(by), "{name}");
        }
        // Another issuer's token of the same id is another token.
        let mut foreign = claim(1, 12, 5);
        foreign.presented.issuer = "https://other".into();
        assert!(matches!(
            journal.claim(foreign).await.unwrap(),
            Claimed::Fresh(_)
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_of_a_day_is_exact_and_a_refused_claim_spends_nothing() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journals = [
            Journal::open(&url).await.unwrap(),
            Journal::open(&url).await.unwrap(),
        ];
        let processes = if name == "postgres" { 2 } else { 1 };
        let mut tasks = Vec::new();
        for call in 0..60_u128 {
            let journal = journals[usize::try_from(call).unwrap() % processes].clone();
            let claim = claim(call + 1, call + 1, 20);
            tasks.push(tokio::spawn(async move {
                (call, journal.claim(claim).await.unwrap())
            }));
        }
        let mut refused = Vec::new();
        for task in tasks {
            let (call, claimed) = task.await.unwrap();
            match claimed {
                Claimed::Fresh(_) => {}
                Claimed::OverCap(what) => {
                    assert_eq!(what.to_string(), "at most 20 in 2026-11-21");
                    refused.push(call);
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(refused.len(), 40, "{name}");
        let (journal, token) = (&journals[0], refused[0] + 1);
        let mut dry = claim(token, 900, 20);
        dry.counts.clear();
        assert!(
            matches!(journal.claim(dry).await.unwrap(), Claimed::Fresh(_)),
            "{name}"
        );
        let spent = (0..60_u128).find(|call| !refused.contains(call)).unwrap();
        let again = journal
            .claim(claim(spent + 1, spent + 1, 20))
            .await
            .unwrap();
        assert!(matches!(again, Claimed::Repeated(_)), "{name}: {again:?}");
        let stolen = journal.claim(claim(spent + 1, 902, 20)).await.unwrap();
        assert!(matches!(stolen, Claimed::Replayed(Some(_))), "{name}");
        let next_day = Claim {
            counts: vec![count("2026-11-22", 1, 20)],
            ..claim(refused[1] + 1, 901, 20)
        };
        assert!(matches!(
            journal.claim(next_day).await.unwrap(),
            Claimed::Fresh(_)
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_counts_everywhere_or_nowhere() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let mut tasks = Vec::new();
        for call in 1..=40_u128 {
            let journal = journal.clone();
            let run = format!("run/triage/r-{}", call % 4);
            let claim = Claim {
                counts: vec![count("2026-11-21", 1, 12), count(&run, 30, 100)],
                ..claim(call, call, 0)
            };
            tasks.push(tokio::spawn(
                async move { journal.claim(claim).await.unwrap() },
            ));
        }
        let mut fresh = 0;
        for task in tasks {
            fresh += i64::from(matches!(task.await.unwrap(), Claimed::Fresh(_)));
        }
        // Three of each run fit, which is exactly the day: 3 * 30 <= 100, 4 * 3 = 12.
        assert_eq!(fresh, 12, "{name}");
        let buckets = ["2026-11-21", "run/triage/r-0", "run/triage/r-3", "absent"];
        let buckets = buckets.map(str::to_owned);
        let tallies = journal.tallies("acme", "refund", &buckets).await.unwrap();
        assert_eq!(tallies, [12, 90, 90, 0], "{name}");
        let others = journal.tallies("globex", "refund", &buckets).await.unwrap();
        assert_eq!(others, [0; 4], "{name}");
        // What is counted later, when the record was seen, is refused in the same way.
        let mut own = execution(90);
        let saved = |add| (count("2026-11-21/customer/C-1", add, 2), vec![]);
        for (add, expected) in [(1, true), (2, false), (1, true), (1, false), (-1, false)] {
            let (count, reports) = saved(add);
            let before = own.revision;
            let saved = journal
                .save_counted(&mut [&mut own], reports, vec![count])
                .await;
            assert_eq!(saved.is_ok(), expected, "{name}: {saved:?}");
            assert_eq!(own.revision > before, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_state_is_written_only_over_the_one_it_follows() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let mut mine = execution(1);
        journal.save(&mut [&mut mine], vec![]).await.unwrap();
        let mut theirs = mine.clone();
        theirs.state = State::InDoubt;
        journal
            .save(&mut [&mut theirs], vec![report(1)])
            .await
            .unwrap();
        mine.state = State::Done;
        let mut other = execution(2);
        let late = journal
            .save(&mut [&mut other, &mut mine], vec![report(2)])
            .await;
        assert_eq!(late, Err(JournalError::Conflict), "{name}");
        let stored = journal.execution("acme", &mine.id).await.unwrap().unwrap();
        assert_eq!(stored.state, State::InDoubt, "{name}");
        assert!(
            journal
                .execution("acme", &other.id)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            journal
                .execution("globex", &mine.id)
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            journal.outbox(None, 9).await.unwrap(),
            [waiting(1)],
            "{name}"
        );
        let mut copy = execution(1);
        let again = journal.save(&mut [&mut copy], vec![]).await;
        assert_eq!(
            again,
            Err(JournalError::Conflict),
            "{name}: it is stored already"
        );
    }
}

#[tokio::test]
async fn what_is_open_is_found_when_nobody_touched_it_and_doubts_always() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let states = [State::Claimed, State::Sending, State::InDoubt, State::Done];
        for (id, state) in (1..).zip(states) {
            let mut own = execution(id);
            own.state = state;
            journal.save(&mut [&mut own], vec![]).await.unwrap();
        }
        let found = journal.open_executions(Duration::ZERO).await.unwrap();
        let found: Vec<State> = found.iter().map(|own| own.state).collect();
        assert_eq!(found, states[..3], "{name}");
        let later = journal
            .open_executions(Duration::from_secs(60))
            .await
            .unwrap();
        let later: Vec<State> = later.iter().map(|own| own.state).collect();
        assert_eq!(later, [State::InDoubt], "{name}");
    }
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        for id in 1..=4 {
            let mut own = execution(id);
            own.run = if id % 2 == 0 { "r-1" } else { "" }.to_owned();
            journal
                .save(&mut [&mut own], vec![report(id)])
                .await
                .unwrap();
        }
        let all = Filter {
            run: Some("r-1".into()),
            action: Some("refund".into()),
            state: Some("CLAIMED".into()),
            agent: Some("triage".into()),
            target: Some("O-7".into()),
            execute: Some(true),
            since_ms: Some(2),
            until_ms: Some(5),
            limit: 10,
            ..Filter::default()
        };
        let ids = async |filter: &Filter| {
            let found = journal.list("acme", filter).await.unwrap();
            found.iter().map(|own| own.created_ms).collect::<Vec<_>>()
        };
        assert_eq!(ids(&all).await, [4, 2], "{name}: newest first");
        let narrower: [fn(&mut Filter); 7] = [
            |filter| filter.since_ms = Some(5),
            |filter| filter.until_ms = Some(2),
            |filter| filter.agent = Some("other".into()),
            |filter| filter.target = Some("O-8".into()),
            |filter| filter.execute = Some(false),
            |filter| filter.surprises = true,
            |filter| filter.before = Some(Uuid::from_u128(2).to_string()),
        ];
        for narrow in narrower {
            let mut filter = all.clone();
            narrow(&mut filter);
            assert!(ids(&filter).await.is_empty(), "{name}: {filter:?}");
        }
        let next = Filter {
            before: Some(Uuid::from_u128(4).to_string()),
            ..all.clone()
        };
        assert_eq!(ids(&next).await, [2], "{name}: the next page");
        let mut odd = journal.list("acme", &all).await.unwrap().remove(0);
        odd.surprise = "the pipeline changed".into();
        journal.save(&mut [&mut odd], vec![]).await.unwrap();
        let surprises = Filter {
            surprises: true,
            ..all.clone()
        };
        assert_eq!(ids(&surprises).await, [4], "{name}");
    }
}

#[tokio::test]
async fn rollouts_and_the_outbox_are_kept() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        for id in 1..=4 {
            let mut own = execution(id);
            let saved = journal.save(&mut [&mut own], vec![report(id)]).await;
            saved.unwrap();
        }
        journal.report(report(1)).await.unwrap();
        // What is told again is told as it is told now, also twice within a commit.
        let now = |body: u8| Report {
            body: vec![body],
            ..report(1)
        };
        let again = journal.save(&mut [], vec![now(8), now(9)]).await;
        again.unwrap();
        let told = journal.outbox(None, 1).await.unwrap().remove(0).body;
        assert!(matches!(told.as_deref(), Some([8 | 9])), "{name}");
        journal.report(report(1)).await.unwrap();
        assert_eq!(
            journal.outbox(None, 2).await.unwrap(),
            [waiting(1), waiting(2)],
            "{name}"
        );
        let done = vec![Uuid::from_u128(1), Uuid::from_u128(3)];
        journal.outbox_done(done, vec![]).await.unwrap();
        assert_eq!(
            journal.outbox(None, 9).await.unwrap(),
            [waiting(2), waiting(4)],
            "{name}"
        );
        assert_eq!(journal.rollout("acme", "refund").await.unwrap(), None);
        for (revision, rollout, until_ms, set_ms) in
            [(0, Rollout::Live, 9, 3), (1, Rollout::DryRun, 0, 4)]
        {
            let set = Promoted {
                tenant: "acme".into(),
                action: "refund".into(),
                rollout,
                until_ms,
                set_ms,
                revision,
                card: "a card".into(),
                system: "77".into(),
            };
            journal.set_rollout(set.clone(), report(7)).await.unwrap();
            let late = journal.set_rollout(set.clone(), report(8)).await;
            assert_eq!(
                late.unwrap_err(),
                JournalError::Conflict,
                "{name}: moved since it was looked at"
            );
            let found = journal.rollout("acme", "refund").await.unwrap();
            let stored = Promoted {
                revision: revision + 1,
                ..set
            };
            assert_eq!(found, Some(stored), "{name}");
        }
        assert_eq!(journal.outbox(None, 9).await.unwrap().len(), 3, "{name}");
        journal.ping().await.unwrap();
    }
}

#[tokio::test]
async fn the_first_undo_writ_of_an_execution_is_kept_with_its_tenant() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        journal.report(report(1)).await.unwrap();
        let writ = |execution: u128, tenant: &str, token: u8| UndoWrit {
            tenant: tenant.into(),
            execution: Uuid::from_u128(execution),
            token: vec![token; 3],
        };
        let first = vec![writ(1, "acme", 1), writ(2, "acme", 2), writ(3, "globex", 3)];
        let delivered = vec![Uuid::from_u128(1)];
        journal.outbox_done(delivered, first).await.unwrap();
        assert_eq!(journal.outbox(None, 9).await.unwrap(), [], "{name}");
        let again = vec![writ(1, "acme", 9), writ(3, "acme", 9)];
        journal.outbox_done(vec![], again).await.unwrap();
        let ids = [1, 2, 3, 4].map(|id| Uuid::from_u128(id).to_string());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = journal.undo_writs("acme", &ids).await.unwrap();
        let expected = [(ids[0], 1), (ids[1], 2)];
        let expected = expected.map(|(id, token)| (id.to_owned(), vec![token; 3]));
        assert_eq!(found, BTreeMap::from(expected), "{name}");
        let none = journal.undo_writs("acme", &["not an id"]).await.unwrap();
        assert_eq!(none, BTreeMap::new(), "{name}");
    }
}
