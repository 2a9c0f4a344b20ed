//! What calls that take long cost their caller, so that they cost others little: each waits for its turn, and
//! what it may read and do is owed by the next ones of their kind.

use tonic::{Request, Status};
use writ_proto::host::serve::rate::Pace;
use writ_proto::host::serve::turn::Turn;

use super::status::over_rate;

/// So many rows that a list may read cost as much as one call.
const LISTED_A_CALL: u32 = 16;
/// So many items of a batch undo: each takes reads of its system, if not writes.
const UNDONE_A_CALL: u32 = 4;
/// The end of a halt is synced to the disk several times.
const CLEARED_CALLS: u32 = 4;

/// The turn of whoever asks.
///
/// # Errors
/// `RATE_LIMITED`, with the time to wait.
pub(super) async fn turn<T>(request: &Request<T>) -> Result<Turn, Status> {
    let pace = request.extensions().get::<Pace>().cloned();
    pace.unwrap_or_default().turn().await.map_err(over_rate)
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

/// What the end of a halt costs. To set one costs a call like any other: nobody waits with it.
pub(super) fn cleared(turn: &mut Turn) {
    turn.cost(CLEARED_CALLS);
}
