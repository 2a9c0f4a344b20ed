//! Which Redis is taken, and which of its answers.

use super::*;

#[test]
fn without_encryption_a_redis_is_on_this_machine() {
    assert!(RedisPlace::check("redis://127.0.0.1:6379/0").is_ok());
    for wrong in [
        "redis://10.0.0.1:6379/0",
        "rediss://127.0.0.1/0",
        "http://x",
        "",
    ] {
        assert!(RedisPlace::check(wrong).is_err(), "{wrong}");
    }
}

/// One that nobody asks anything.
fn redis() -> Redis {
    let url = "redis://127.0.0.1:1/0";
    let client = Client::open(url).unwrap();
    let config = ConnectionManagerConfig::new().set_number_of_retries(0);
    let place = RedisPlace {
        url: url.to_owned(),
        max_staleness: Duration::from_secs(3_600),
        epoch_file: None,
    };
    let shared = Arc::new(Shared {
        connection: ConnectionManager::new_lazy_with_config(client, config).unwrap(),
        place,
        last: Mutex::default(),
        kept: Mutex::default(),
    });
    Redis { shared }
}

const fn mark(epoch: u64, generation: u64) -> HaltMark {
    HaltMark { epoch, generation }
}

/// What it answers, with or without a halt.
fn answer(epoch: u64, generation: u64, is_halted: bool) -> (Fields, Option<String>) {
    let mut fields = vec![
        ("armed".to_owned(), "{}".to_owned()),
        ("epoch".to_owned(), epoch.to_string()),
        ("generation".to_owned(), generation.to_string()),
    ];
    if is_halted {
        fields.push(("flag:tenant:acme".to_owned(), String::new()));
    }
    (fields, None)
}

#[tokio::test]
async fn an_answer_that_went_back_is_not_known_until_somebody_arms_it() {
    const ARMED: u64 = 4_000_000_000_000;
    for lost in [(4, 8), (3, 9)] {
        let redis = redis();
        for ((epoch, generation), is_known) in [
            ((4, 9), true),
            (lost, false),
            ((4, 9), false),
            ((5, 20), false),
            ((ARMED, ARMED), true),
        ] {
            let answer = answer(epoch, generation, false);
            redis.shared.take(Instant::now(), mark(4, 9), answer);
            assert_eq!(redis.read(0).is_ok(), is_known, "{epoch} {generation}");
        }
    }
}

#[tokio::test]
async fn what_was_read_before_the_marks_were_known_answers_nobody_if_it_is_behind_them() {
    let redis = redis();
    redis
        .shared
        .take(Instant::now(), HaltMark::default(), answer(4, 9, false));
    redis.remember(mark(4, 9)).await;
    assert!(redis.read(0).is_ok());
    redis.remember(mark(5, 9)).await;
    assert!(redis.read(0).is_err());
}

#[tokio::test]
async fn an_answer_to_an_earlier_question_takes_no_halt_back() {
    let redis = redis();
    let earlier = Instant::now();
    let later = earlier + Duration::from_secs(1);
    redis.shared.take(later, mark(4, 8), answer(4, 9, true));
    redis.shared.take(earlier, mark(4, 8), answer(4, 8, false));
    assert_eq!(redis.read(0).unwrap().flags.len(), 1);
}

#[tokio::test]
async fn what_is_told_of_a_halt_that_was_not_seen_is_no_older_answer() {
    let redis = redis();
    let old = answer(4, 9, false);
    redis.shared.take(Instant::now(), HaltMark::default(), old);
    let seen = redis.read(0).unwrap();
    let store = crate::halt::HaltStore::Redis(redis);
    let scope = "tenant:acme".parse().unwrap();
    let act = Act::default();
    let ended = store.clear_standing(&scope, &act, Some(Arc::new(seen)));
    assert!(ended.await.is_err(), "nobody answered");
}
