//! The system is asked once for all who wait, and not again before the answer is old.

use std::sync::atomic::{AtomicUsize, Ordering};

use writ_proto::value::args_from_json;

use super::*;
use crate::app::SharedApp;
use crate::app::tests::{STRICT, config, folder_that_asks, opened};
use crate::domain::decide::Verdict;
use crate::domain::decide::tests::refund;

const ORDER: &str = "{\"customer\":\"C-2\",\"status\":\"paid\",\"total\":{\"currency\":\"EUR\",\"value\":450},\
                     \"refunded\":{\"currency\":\"EUR\",\"value\":0}}";

/// An app that asks a system which answers after a pause, and how often it was asked.
async fn asking(
    pause: Duration,
    order: Result<&'static str, Reason>,
) -> (tempfile::TempDir, SharedApp, Arc<AtomicUsize>) {
    let folder = folder_that_asks(STRICT);
    let app = opened(&config(&folder)).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    ask_at(
        &app,
        Arc::new(move |question: Question| {
            let count = Arc::clone(&count);
            Box::pin(async move {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
                match question.object.as_str() {
                    "order" => order
                        .map(|text| args_from_json(text).ok())
                        .map_err(AppError::of),
                    _ => Ok(args_from_json("{\"tier\":\"gold\"}").ok()),
                }
            })
        }),
    );
    (folder, app, asked)
}

/// Nobody looks for evidence here.
fn ask_at(app: &App, source: Source) {
    let nobody = |_| -> Pin<Box<dyn Future<Output = _> + Send>> {
        Box::pin(async { Err(AppError::of(Reason::PeerUnreachable)) })
    };
    app.systems.ask_at((source, Arc::new(nobody)));
}

fn other(number: u128) -> Request {
    let mut request = refund("1.00");
    request.request_id = writ_proto::ids::RequestId::new(uuid::Uuid::from_u128(number));
    request
}

#[tokio::test]
async fn all_who_wait_share_one_question_and_its_answer() {
    let (_folder, app, asked) = asking(Duration::from_millis(30), Ok(ORDER)).await;
    let (one, two) = (other(1), other(2));
    let (first, second) = tokio::join!(app.facts(&one, None), app.facts(&two, None));
    assert!(matches!(first.unwrap().known, Known::Read(readings) if readings.len() == 2));
    assert!(matches!(second.unwrap().known, Known::Read(_)));
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "the order once, and its customer once"
    );
    app.facts(&one, None).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_about_to_change_is_asked_for_again() {
    let (_folder, app, asked) = asking(Duration::ZERO, Ok(ORDER)).await;
    let answer = app.authorize(&other(1)).await.unwrap();
    assert_eq!(answer.decided.verdict, Verdict::Allow.name(), "{answer:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    app.authorize(&other(2)).await.unwrap();
    assert_eq!(
        asked.load(Ordering::Relaxed),
        3,
        "the order, and not its customer"
    );
}

#[tokio::test]
async fn a_failure_is_not_kept_and_denies() {
    let (_folder, app, asked) = asking(Duration::ZERO, Err(Reason::PeerUnreachable)).await;
    for times in 1..=3 {
        let answer = app.authorize(&other(times)).await.unwrap();
        assert_eq!(answer.decided.reason_code, Reason::FactsUnavailable.code());
        assert_eq!(
            asked.load(Ordering::Relaxed),
            usize::try_from(times).unwrap()
        );
        assert!(
            !answer
                .for_agent()
                .decided
                .message
                .contains("cannot be reached"),
            "an agent is not told why"
        );
    }
    // Three in a row: it is left alone for a moment, and nobody waits for it.
    app.authorize(&other(4)).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_system_that_hangs_denies_in_time() {
    let (_folder, app, _) = asking(Duration::from_secs(60), Ok(ORDER)).await;
    let known = app.facts(&other(1), None).await.unwrap().known;
    assert!(
        matches!(
            known,
            Known::Unread {
                reason: Reason::Deadline,
                ..
            }
        ),
        "{known:?}"
    );
}

#[tokio::test]
async fn without_a_connectord_nothing_is_known() {
    let folder = folder_that_asks(STRICT);
    let app = opened(&config(&folder)).await;
    let known = app.facts(&other(1), None).await.unwrap().known;
    assert!(
        matches!(
            known,
            Known::Unread {
                reason: Reason::PeerUnreachable,
                ..
            }
        ),
        "{known:?}"
    );
}

/// The set changes while somebody waits for a question of the old one.
#[tokio::test]
async fn whoever_waits_gets_an_answer_to_the_own_question() {
    let (_folder, app, asked) = asking(Duration::from_millis(50), Ok(ORDER)).await;
    let set = app.facts_here(&other(1), clock::now()).unwrap().policies;
    let card = Arc::clone(set.card(&other(1).action).unwrap());
    let order = set
        .asks(&other(1), &card, clock::now())
        .unwrap()
        .target
        .unwrap()
        .clone();
    let mut less = order.clone();
    less.fields.remove("status");
    let request = other(1);
    let (first, second) = tokio::join!(
        app.systems.reading((&request, &less), "O-7"),
        app.systems.reading((&request, &order), "O-7")
    );
    assert_eq!(
        (first.unwrap().names.len(), second.unwrap().names.len()),
        (3, 4)
    );
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_read_that_began_before_a_change_is_no_answer_after_it() {
    let (_folder, app, asked) = asking(Duration::from_millis(50), Ok(ORDER)).await;
    let request = other(1);
    let change = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let target = ("order".to_owned(), "O-7".to_owned());
        app.forget_target(&request.caller_tenant, "crm/main", Some(&target))
            .await;
    };
    let (facts, ()) = tokio::join!(app.facts(&request, None), change);
    assert!(matches!(facts.unwrap().known, Known::Read(_)));
    assert_eq!(
        asked.load(Ordering::Relaxed),
        3,
        "the order twice, and its customer"
    );
}

#[tokio::test]
async fn what_is_old_by_now_is_not_known() {
    let (_folder, app, _) = asking(Duration::ZERO, Ok(ORDER)).await;
    let facts = app.facts(&other(1), None).await.unwrap();
    let Known::Read(readings) = facts.known.clone() else {
        panic!("{:?}", facts.known)
    };
    let aged = |ms: i64| {
        readings
            .iter()
            .map(|one| Reading {
                asked_ms: one.asked_ms - ms,
                ..one.clone()
            })
            .collect()
    };
    assert!(fresh(readings.clone(), &facts).is_ok());
    assert!(
        fresh(aged(8_000), &facts).is_err(),
        "5 s, and 2 for the reads"
    );
    assert!(
        fresh(aged(-60_000), &facts).is_err(),
        "the clock was set back"
    );
}

/// A record that was not there a moment ago may be there now: an agent can guess ids.
#[tokio::test]
async fn that_there_is_no_record_is_asked_each_time() {
    let folder = folder_that_asks(STRICT);
    let app = opened(&config(&folder)).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    ask_at(
        &app,
        Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(None) })
        }),
    );
    for _ in 0..2 {
        app.facts(&other(1), None).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// Facts of customers come from contacts: an order that were one of them would be read as another object.
#[tokio::test]
async fn a_target_is_never_read_as_another_object() {
    let folder = folder_that_asks(STRICT);
    let path = folder.path().join("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    let set = set.replacen(
        "from = \"system\"",
        "from = \"system\"\nobject = \"contact\"",
        1,
    );
    std::fs::write(&path, set).unwrap();
    let app = opened(&config(&folder)).await;
    ask_at(
        &app,
        Arc::new(|_| Box::pin(async { Ok(args_from_json(ORDER).ok()) })),
    );
    let answer = app.authorize(&other(1)).await.unwrap();
    assert_eq!(answer.decided.reason_code, Reason::FactsUnavailable.code());
}
