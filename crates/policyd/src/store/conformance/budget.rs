//! Counters, holds, raises and trips: what fits, what moves once, and what stays apart.

use super::*;
use crate::domain::budget::{
    Counter, Fired, Limits, RAISES_MAX, Raise, SettledAs, Spike, Subject, Takes,
};

const WINDOW: &str = "w";

fn key(name: &str) -> Key {
    Key::new(name, &Subject::Tenant, WINDOW)
}

fn hold(name: &str, amount: i64, cap: i64) -> Hold {
    Hold {
        key: key(name),
        amount,
        currency: "EUR".into(),
        takes: Takes::Settled,
        limits: Limits {
            cap,
            max: None,
            free: 0,
            spike: None,
            age_ms_max: None,
            report_ms_max: None,
        },
        at_ms: 1,
        expires_ms: 1_000,
    }
}

pub(super) fn held(id: u128, name: &str, amount: i64, cap: i64) -> Append {
    Append {
        holds: vec![hold(name, amount, cap)],
        ..append("acme", id, id, 1)
    }
}

fn outcome(id: u128) -> Append {
    Append {
        decision: None,
        outcome_id: Some(Uuid::from_u128(id)),
        ..append("acme", id, id, 1)
    }
}

pub(super) fn settled(id: u128, decision: u128, to: SettledAs) -> Append {
    let decision = Uuid::from_u128(decision);
    Append {
        settles: Some(Settlement {
            decision,
            to,
            part: None,
        }),
        ..outcome(id)
    }
}

async fn counters(ledger: &Ledger, tenant: &str) -> Vec<(String, Counter)> {
    let wanted = Wanted {
        begin: "",
        end: WINDOW,
    };
    let found = ledger
        .counter_list(&self::tenant(tenant), wanted, 100)
        .await;
    let found = found.unwrap().into_iter();
    found
        .map(|(key, counter)| (key.budget().to_owned(), counter))
        .collect()
}

async fn used(ledger: &Ledger) -> Vec<(String, i64, i64)> {
    let found = counters(ledger, "acme").await.into_iter();
    found
        .map(|(name, counter)| (name, counter.used, counter.held))
        .collect()
}

#[tokio::test]
async fn holds_fit_under_their_cap_or_nothing_is_appended() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let batch = [
            held(1, "day", 6, 10),
            held(2, "day", 5, 10),
            held(3, "day", 4, 10),
        ];
        let answers = commit(&ledger, &batch).await;
        let over = |hold, used| Appended::OverBudget {
            hold,
            over: Over {
                fired: Fired::Cap,
                used,
                limit: 10,
            },
        };
        let stored = |seq| Appended::Stored { seq };
        assert_eq!(answers, [stored(0), over(0, 6), stored(1)], "{name}");
        let mut two = held(4, "other", 1, 10);
        two.holds.push(hold("day", 1, 10));
        assert_eq!(commit(&ledger, &[two]).await, [over(1, 10)], "{name}");
        let found = used(&ledger).await;
        assert_eq!(
            found,
            [("day".to_owned(), 10, 10)],
            "{name}: nothing of a refused append"
        );
        let head = ledger.head(&tenant("acme")).await.unwrap();
        assert_eq!(head.frontier.size(), 2, "{name}");
        let wanted = Wanted {
            begin: "da",
            end: "x",
        };
        let other = ledger.counter_list(&tenant("acme"), wanted, 9).await;
        assert!(other.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn holds_are_captured_given_back_or_expire_and_move_the_use_once() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let acme = tenant("acme");
        let used = async || {
            let (_, used, held) = used(&ledger).await.remove(0);
            (used, held)
        };
        let batch = [
            held(1, "day", 6, 20),
            held(2, "day", 4, 20),
            held(3, "day", 5, 20),
        ];
        commit(&ledger, &batch).await;
        assert_eq!(used().await, (15, 15), "{name}");
        let expired = ledger.expired_holds(1_001, 10).await.unwrap();
        assert_eq!(expired.len(), 3, "{name}");
        assert!(ledger.expired_holds(1_000, 10).await.unwrap().is_empty());
        let ends = [
            settled(11, 1, SettledAs::Captured),
            settled(12, 2, SettledAs::Void),
        ];
        commit(&ledger, &ends).await;
        assert_eq!(used().await, (11, 5), "{name}");
        let open = ledger.expired_holds(1_001, 10).await.unwrap();
        assert_eq!(open, [(acme.clone(), Uuid::from_u128(3))], "{name}");
        // A repeated report moves nothing, another tenant cannot settle, a late execution counts.
        let again = [
            settled(12, 2, SettledAs::Void),
            settled(13, 1, SettledAs::Void),
        ];
        commit(&ledger, &again).await;
        let mut foreign = settled(14, 3, SettledAs::Void);
        foreign.tenant = tenant("globex");
        commit(&ledger, &[foreign]).await;
        assert_eq!(used().await, (11, 5), "{name}");
        commit(&ledger, &[settled(15, 2, SettledAs::Captured)]).await;
        assert_eq!(used().await, (15, 5), "{name}");
        // Only a part of the last one was executed.
        let mut part = settled(16, 3, SettledAs::Captured);
        part.settles.as_mut().unwrap().part = Some(("EUR".into(), 2));
        commit(&ledger, &[part]).await;
        assert_eq!(used().await, (12, 0), "{name}");
        let again = settled(17, 3, SettledAs::Captured);
        commit(&ledger, &[again]).await;
        assert_eq!(used().await, (12, 0), "{name}");
    }
}

/// A raise until 500 where there is room for 8.
fn raise(id: u128, subject: &str, amount: i64) -> Append {
    Append {
        raise: Some(Raising {
            raise: Raise {
                id: Uuid::from_u128(id),
                budget: "day".into(),
                subject: subject.into(),
                amount,
                until_ms: 500,
            },
            room: Some(8),
            at_ms: 1,
        }),
        ..outcome(id)
    }
}

#[tokio::test]
async fn a_raise_lifts_its_budget_until_it_ends_and_within_the_room_there_is() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let batch = [
            held(1, "day", 10, 10),
            raise(21, "", 5),
            raise(22, "agent:other", 3),
            raise(23, "", 1),
            held(2, "day", 6, 10),
            held(3, "day", 5, 10),
            held(4, "other", 11, 10),
        ];
        let answers = commit(&ledger, &batch).await;
        let stored: Vec<bool> = answers
            .iter()
            .map(|answer| matches!(answer, Appended::Stored { .. }))
            .collect();
        assert_eq!(
            stored,
            [true, true, true, false, false, true, false],
            "{name}: {answers:?}"
        );
        assert_eq!(answers[3], Appended::RaiseRefused, "{name}");
        // It is read again by the next batch, and it ends.
        let mut more = held(5, "day", 1, 11);
        assert!(matches!(
            commit(&ledger, &[more.clone()]).await[0],
            Appended::Stored { .. }
        ));
        more.decision = held(6, "day", 1, 11).decision;
        more.holds[0].at_ms = 500;
        more.holds[0].limits.cap = 12;
        assert!(matches!(
            commit(&ledger, &[more]).await[0],
            Appended::OverBudget { .. }
        ));
        assert_eq!(
            ledger.raise_list(&tenant("acme"), 499).await.unwrap().len(),
            2,
            "{name}"
        );
        assert!(
            ledger
                .raise_list(&tenant("acme"), 500)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            ledger
                .raise_list(&tenant("globex"), 1)
                .await
                .unwrap()
                .is_empty()
        );
        let mut many = Vec::new();
        for id in 0..u128::try_from(RAISES_MAX).unwrap() {
            let mut one = raise(100 + id, "", 1);
            one.raise.as_mut().unwrap().room = None;
            many.push(one);
        }
        let answers = commit(&ledger, &many).await;
        let refused = answers.iter().filter(|one| **one == Appended::RaiseRefused);
        assert_eq!(refused.count(), 2, "{name}: two are open already");
    }
}

#[tokio::test]
async fn a_spike_is_told_from_the_counters_of_the_days_before() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let today = |id: u128| {
            let mut one = held(id, "today", 1, 100);
            let days = (1..=7).map(|day| key(&format!("d{day}"))).collect();
            one.holds[0].limits.spike = Some(Spike {
                factor: 2,
                floor: 1,
                days,
            });
            one
        };
        for day in 1..=4 {
            let usual = held(100 + day, &format!("d{day}"), 2, 100);
            commit(&ledger, &[usual]).await;
        }
        let batch: Vec<Append> = (1..=5).map(today).collect();
        let answers = commit(&ledger, &batch).await;
        let over = Over {
            fired: Fired::Spike,
            used: 4,
            limit: 4,
        };
        assert_eq!(answers[4], Appended::OverBudget { hold: 0, over }, "{name}");
        assert!(matches!(answers[3], Appended::Stored { .. }), "{name}");
    }
}

#[tokio::test]
async fn usage_is_added_once_and_its_clock_starts_with_the_first_call() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let look = |id: u128, at_ms| {
            let mut one = held(id, "tokens", 0, 10);
            one.holds[0].takes = Takes::Nothing;
            one.holds[0].limits.report_ms_max = Some(5);
            one.holds[0].at_ms = at_ms;
            one
        };
        let report = |id: u128, amount, complete| Append {
            usage: vec![Usage {
                key: key("tokens"),
                amount,
                complete,
                at_ms: 8,
            }],
            ..outcome(id)
        };
        let fired = |answer: &Appended| match answer {
            Appended::OverBudget { over, .. } => Some(over.fired),
            _ => None,
        };
        let first = commit(&ledger, &[look(1, 1), look(2, 6)]).await;
        assert_eq!((fired(&first[0]), fired(&first[1])), (None, None), "{name}");
        let late = commit(&ledger, &[look(3, 7)]).await;
        assert_eq!(fired(&late[0]), Some(Fired::Unreported), "{name}");
        let batch = [report(11, 4, true), report(11, 4, true), look(4, 9)];
        let answers = commit(&ledger, &batch).await;
        assert_eq!(answers[1], Appended::DuplicateOutcome, "{name}");
        assert_eq!(fired(&answers[2]), None, "{name}");
        let spent = commit(&ledger, &[report(12, 6, false), look(5, 10)]).await;
        assert_eq!(fired(&spent[1]), Some(Fired::Cap), "{name}");
        let counter = Counter {
            used: 10,
            held: 0,
            since_ms: 1,
            unreported_ms: Some(9),
        };
        assert_eq!(
            counters(&ledger, "acme").await,
            [("tokens".to_owned(), counter)],
            "{name}"
        );
        let open = ledger.expired_holds(i64::MAX, 9).await.unwrap();
        assert!(
            open.is_empty(),
            "{name}: nothing is held for what others report"
        );
    }
}

#[tokio::test]
async fn a_trip_is_ordered_once_for_a_counter_and_a_limit_and_stays_until_it_is_set() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let trip = |limit| Trip {
            key: key("chain"),
            limit,
            scope: "run:r".into(),
            reason: "spent".into(),
            at_ms: limit,
        };
        let fired = |id: u128, limit| Append {
            trip: Some(trip(limit)),
            ..append("acme", id, id, 1)
        };
        commit(&ledger, &[fired(1, 5), fired(2, 5), fired(3, 6)]).await;
        let open = ledger.trip_list(9, 9).await.unwrap();
        let acme = tenant("acme");
        assert_eq!(
            open,
            [(acme.clone(), trip(5)), (acme.clone(), trip(6))],
            "{name}"
        );
        ledger.trip_done(&acme, &trip(5)).await.unwrap();
        commit(&ledger, &[fired(4, 5)]).await;
        assert_eq!(
            ledger.trip_list(9, 9).await.unwrap(),
            [(acme, trip(6))],
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_holds_of_one_reach_the_cap_exactly() {
    const CAP: i64 = 100;
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let mut tasks = Vec::new();
        let writers = if name == "postgres" { 2_u128 } else { 1 };
        for part in 0..writers {
            let ledger = Ledger::open(&url).await.unwrap();
            let handle = Writer::new(&ledger, PATIENCE);
            for index in 0..400_u128 {
                let handle = handle.clone();
                let append = held(part * 1_000 + index + 1, "day", 1, CAP);
                tasks.push(tokio::spawn(
                    async move { handle.append(append).await.unwrap() },
                ));
            }
        }
        let mut stored = 0;
        for task in tasks {
            stored += i64::from(matches!(task.await.unwrap(), Appended::Stored { .. }));
        }
        assert_eq!(stored, CAP, "{name}");
    }
}

/// What a ledger of the first version holds: one counter, of which a part is held.
const FIRST: [&str; 3] = [
    "INSERT INTO schema_version (version) VALUES (1)",
    "INSERT INTO budget (tenant, key, used) VALUES ('acme', 'day|tenant|w', 7)",
    "INSERT INTO hold (decision, key, tenant, amount, expires_ms, state) VALUES \
     (ID1, 'day|tenant|w', 'acme', 3, 9, 0), (ID2, 'day|tenant|w', 'acme', 4, 9, 1), \
     (ID3, 'day|tenant|w', 'acme', 5, 9, 2)",
];

#[tokio::test]
async fn a_ledger_of_the_first_version_keeps_what_was_used_and_held() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let table = "CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY);";
        let sqlite = name == "sqlite";
        let first = if sqlite {
            include_str!("../migrations/sqlite/0001_init.sql")
        } else {
            include_str!("../migrations/postgres/0001_init.sql")
        };
        let mut sql = format!("{table}{first}{};", FIRST.join(";"));
        for number in 1..=3 {
            let id = Uuid::from_u128(number);
            let literal = if sqlite {
                format!("x'{}'", id.simple())
            } else {
                format!("'{id}'")
            };
            sql = sql.replace(&format!("ID{number}"), &literal);
        }
        let sql = sqlx::AssertSqlSafe(sql);
        if sqlite {
            let pool = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc"))
                .await
                .unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(&url).await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        }
        let ledger = Ledger::open(&url).await.unwrap();
        assert_eq!(used(&ledger).await, [("day".to_owned(), 7, 3)], "{name}");
        commit(&ledger, &[settled(11, 1, SettledAs::Void)]).await;
        assert_eq!(used(&ledger).await, [("day".to_owned(), 4, 0)], "{name}");
    }
}

#[tokio::test]
async fn counters_holders_and_orders_are_a_tenants_own_and_a_doubt_does_not_expire() {
    let (_folder, stores) = stores().await;
    for (name, url) in stores {
        let ledger = Ledger::open(&url).await.unwrap();
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        let trip = Trip {
            key: key("day"),
            limit: 5,
            scope: "run:r".into(),
            reason: "spent".into(),
            at_ms: 1,
        };
        let mut one = held(1, "day", 2, 9);
        one.trip = Some(trip.clone());
        commit(&ledger, &[one]).await;
        assert!(counters(&ledger, "globex").await.is_empty(), "{name}");
        let holder = async |of: &TenantId| ledger.holder(of, &key("day")).await.unwrap();
        assert_eq!(holder(&acme).await, Some(Uuid::from_u128(1)), "{name}");
        assert_eq!(holder(&globex).await, None, "{name}");
        ledger.trip_done(&globex, &trip).await.unwrap();
        assert_eq!(ledger.trip_list(9, 9).await.unwrap().len(), 1, "{name}");
        commit(&ledger, &[settled(11, 1, SettledAs::Doubtful)]).await;
        assert!(ledger.expired_holds(i64::MAX, 9).await.unwrap().is_empty());
        assert_eq!(holder(&acme).await, Some(Uuid::from_u128(1)), "{name}");
        commit(&ledger, &[settled(12, 1, SettledAs::Void)]).await;
        assert_eq!(holder(&acme).await, None, "{name}: its place is free");
    }
}
