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
/// Rows that an undo looks at, for later writes to its record, cost as many as these.
const LOOKED_BACK: u32 = 100;
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

/// The turn of whoever undoes one write: an agent waits for other undos of agents of its tenant, a preview for lists. One
/// that an operator undoes takes no turn here; what it reads waits for other undos of its tenant.
///
/// # Errors
/// `RATE_LIMITED`, with the time to wait.
pub(super) async fn undo_turn<T>(
    request: &Request<T>,
    is_agent: bool,
    is_preview: bool,
) -> Result<Option<Turn>, Status> {
    let kind = match (is_agent, is_preview) {
        (_, true) => Kind::Lists,
        (true, false) => Kind::Undos,
        (false, false) => return Ok(None),
    };
    let mut turn = turn(request, kind).await?;
    undone(&mut turn, LOOKED_BACK, 1);
    Ok(Some(turn))
}

const fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Lists => "lists and previews of undos",
        Kind::Cards => "lists of actions",
        Kind::Undos => "undos",
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
mod tests;
