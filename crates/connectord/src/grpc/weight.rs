//! What calls that take long cost their caller, so that they cost others little: each waits for its turn, and
//! what it may read and do is owed by the next ones of their kind.

use tonic::{Request, Status};
use writ_proto::host::serve::rate::Pace;
use writ_proto::host::serve::turn::{Kind, Turn};

use super::status::over_rate;

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
pub(super) async fn turn<T>(request: &Request<T>) -> Result<Turn, Status> {
    let turn = pace(request).turn(Kind::Long).await;
    turn.map_err(over_rate)
}

/// The turn of whoever sets or ends a halt: it waits for no list, only for other halts of the same operator.
///
/// # Errors
/// `RATE_LIMITED`, with the time to wait.
pub(super) async fn halt_turn<T>(request: &Request<T>) -> Result<Turn, Status> {
    let turn = pace(request).turn(Kind::Synced).await;
    let mut turn = turn.map_err(over_rate)?;
    turn.cost(HALT_CALLS);
    Ok(turn)
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
