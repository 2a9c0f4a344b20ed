//! What is found of others: the very call that spent a token, counts that are taken back, and the
//! share of each connection in what is open.

use super::*;

#[tokio::test]
async fn counts_are_taken_back_and_never_below_nothing() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let Claimed::Fresh(mut own) = journal.claim(claim(1, 10, 1)).await.unwrap() else {
            panic!("{name}")
        };
        assert!(
            matches!(
                journal.claim(claim(2, 11, 1)).await.unwrap(),
                Claimed::OverCap(_)
            ),
            "{name}"
        );
        let back = count("2026-11-21", 1, 1).back();
        let twice = vec![back.clone(), back];
        journal
            .save_counted(&mut [&mut own], vec![], twice)
            .await
            .unwrap();
        let left = journal
            .tallies("acme", "refund", &["2026-11-21".into()])
            .await
            .unwrap();
        assert_eq!(left, [0], "{name}");
        assert!(
            matches!(
                journal.claim(claim(2, 11, 1)).await.unwrap(),
                Claimed::Fresh(_)
            ),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_very_call_that_spent_a_token_is_found_and_no_other() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let own = claim(1, 10, 5);
        assert_eq!(
            journal.spent_by(&own.presented).await.unwrap(),
            None,
            "{name}"
        );
        journal.claim(own.clone()).await.unwrap();
        let found = journal.spent_by(&own.presented).await.unwrap();
        assert_eq!(found.unwrap().id, own.execution.id, "{name}");
        let changes: [fn(&mut Presented); 5] = [
            |other| other.issuer = "https://other".into(),
            |other| other.cti = Uuid::nil(),
            |other| other.request_id = Uuid::nil(),
            |other| other.request_hash = [8; 32],
            |other| other.caller = "acme/other".into(),
        ];
        for change in changes {
            let mut other = own.presented.clone();
            change(&mut other);
            assert_eq!(journal.spent_by(&other).await.unwrap(), None, "{name}");
        }
    }
}

#[tokio::test]
async fn many_open_executions_of_one_connection_hide_nobody_elses() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let journal = Journal::open(&url).await.unwrap();
        let many = usize::try_from(OPEN_EACH_MAX).unwrap() + 20;
        let mut all: Vec<_> = (0..many)
            .map(|id| execution(u128::try_from(id).unwrap() + 1))
            .collect();
        let mut other = execution(900_000);
        other.connection = "crm/other".into();
        all.push(other);
        for own in &mut all {
            own.state = State::InDoubt;
        }
        let mut each: Vec<_> = all.iter_mut().collect();
        journal.save(&mut each, vec![]).await.unwrap();
        let open = journal.open_executions(Duration::ZERO).await.unwrap();
        assert_eq!(
            open.len(),
            usize::try_from(OPEN_EACH_MAX).unwrap() + 1,
            "{name}"
        );
        assert!(
            open.iter().any(|own| own.connection == "crm/other"),
            "{name}"
        );
    }
}
