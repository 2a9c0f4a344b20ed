//! What calls that take long cost.

use std::time::Duration;

use writ_proto::host::serve::rate::Quota;

use super::*;

/// A rate so low that the next one waits for whatever is owed beyond the burst.
const SLOW: Quota = Quota {
    per_second: 4,
    burst: 20,
};
const MOMENT: Duration = Duration::from_millis(50);

fn request() -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Pace::alone(SLOW));
    request
}

/// Whether the next of a kind has to wait after one that cost so much.
async fn is_late(kind: Kind, cost: impl Fn(&mut Turn)) -> bool {
    let request = request();
    let mut first = turn(&request, kind).await.unwrap();
    cost(&mut first);
    drop(first);
    let next = tokio::time::timeout(MOMENT, turn(&request, kind));
    next.await.is_err()
}

#[tokio::test]
async fn a_call_that_takes_long_costs_what_it_may_read_and_do() {
    let within = SLOW.burst;
    for (rows, late) in [
        (within * LISTED_A_CALL, false),
        (within * LISTED_A_CALL + 1, true),
    ] {
        assert_eq!(
            is_late(Kind::Lists, |turn| listed(turn, rows)).await,
            late,
            "{rows} rows"
        );
    }
    let halves = within / 2;
    for more in [0, 1] {
        let (rows, items) = (halves * LISTED_A_CALL, halves * UNDONE_A_CALL + more);
        let late = is_late(Kind::Undos, |turn| undone(turn, rows, items)).await;
        assert_eq!(late, more == 1, "{rows} rows and {items} items");
    }
}

#[tokio::test]
async fn an_undo_of_an_agent_and_a_preview_take_turns_and_an_operator_does_not() {
    for (is_agent, is_preview, takes) in [
        (true, false, true),
        (true, true, true),
        (false, true, true),
        (false, false, false),
    ] {
        let request = request();
        for _ in 0..2 {
            drop(undo_turn(&request, is_agent, is_preview).await.unwrap());
        }
        let next = undo_turn(&request, is_agent, is_preview);
        let late = tokio::time::timeout(MOMENT, next).await.is_err();
        assert_eq!(late, takes, "agent {is_agent}, preview {is_preview}");
    }
}

#[tokio::test]
async fn so_many_halts_are_free_and_the_next_waits() {
    let request = request();
    for _ in 0..=SLOW.burst / HALT_CALLS {
        drop(halt_turn(&request).await.unwrap());
    }
    let next = tokio::time::timeout(MOMENT, halt_turn(&request)).await;
    assert!(next.is_err(), "{next:?}");
}
