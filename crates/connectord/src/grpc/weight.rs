//! What calls that take long cost their caller, so that they cost others little: each waits for its turn, and
//! what it may read and do is owed by the next ones of their kind.

use tonic::{Request, Status};
use writ_proto::host::serve::rate::Pace;
use writ_proto::host::serve::turn::{Kind, Turn};

use super::status::busy;

/// So many rows that a list may read cost as much as one call.
const LISTED_A_CALL: u32 = 8;
/// So many items of a batch undo: each takes reads of its system, if not writes.
const UNDONE_A_CALL: u32 = 2;
/// A halt that is set or ended is synced to the disk several times.
const HALT_CALLS: u32 = 8;

/// The turn of whoever asks for what takes long.
///
/// # Errors
/// `RATE_LIMITED`, with the time to wait.
pub(super) async fn turn<T>(request: &Request<T>, kind: Kind) -> Result<Turn, Status> {
    let turn = pace(request).turn(kind).await;
    turn.map_err(|wait| busy(what(kind), wait))
}

/// The turn of whoever sets or ends a halt: it waits for no list, only for other halts of the same operator.
///
/// # Errors
/// `RATE_LIMITED`, with the time to wait.
pub(super) async fn halt_turn<T>(request: &Request<T>) -> Result<Turn, Status> {
    let mut turn = turn(request, Kind::Halts).await?;
    turn.cost(HALT_CALLS);
    Ok(turn)
}

const fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Lists => "lists",
        Kind::Cards => "lists of actions",
        Kind::Undos => "undos of many",
        Kind::Halts => "halts",
    }
}

fn pace<T>(request: &Request<T>) -> Pace {
    let pace = request.extensions().get::<Pace>().cloned();
    pace.unwrap_or_default()
}

/// What a list of at most so many rows costs, whether or not it finds as many.
pub(super) fn listed(turn: &mut Turn, rows: u32) {
    turn.cost(rows.div_ceil(LISTED_A_CALL));
}

/// What a page of a batch undo costs that looks at so many rows and undoes at most so many.
pub(super) fn undone(turn: &mut Turn, rows: u32, items: u32) {
    listed(turn, rows);
    turn.cost(items.div_ceil(UNDONE_A_CALL));
}

#[cfg(test)]
mod tests {
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
    async fn so_many_halts_are_free_and_the_next_waits() {
        let request = request();
        for _ in 0..=SLOW.burst / HALT_CALLS {
            drop(halt_turn(&request).await.unwrap());
        }
        let next = tokio::time::timeout(MOMENT, halt_turn(&request)).await;
        assert!(next.is_err(), "{next:?}");
    }
}
