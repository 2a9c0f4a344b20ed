//! Whether policyd signed the undo of exactly the write that the journal shows. Whoever can edit
//! the journal, and holds no credentials, must not choose what an undo writes.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::digest::images_digest;
use writ_proto::token::{Asked, UnverifiedUndo, Verifier};
use writ_proto::value::{Map, Value};

use super::execution::{Change, Execution};
use super::gate::Refusal;

fn image(changes: &[Change], side: fn(&Change) -> Option<Value>) -> Map {
    let mut map = Map::new();
    for change in changes {
        if let Some(value) = side(change) {
            map.set(&change.field, value);
        }
    }
    map
}

fn asked(execution: &Execution) -> Option<Asked<'_>> {
    Some(Asked {
        tenant: &execution.tenant,
        agent: &execution.agent,
        connection: &execution.connection,
        action: &execution.action,
        target: (&execution.object, &execution.target),
        run: &execution.run,
        execution: Uuid::try_parse(&execution.id).ok()?,
        decision: Uuid::try_parse(&execution.decision).ok()?,
        images: images_digest(
            &image(&execution.changes, Change::before_value),
            &image(&execution.changes, Change::after_value),
        ),
    })
}

/// Leave to undo one execution. Its field is private, and only [`admit`] makes one:
///
/// ```
/// use connectord::domain::undo_writ::UndoPermit;
/// fn read(permit: UndoPermit) -> bool {
///     permit.is_signed()
/// }
/// ```
/// ```compile_fail,E0451
/// use connectord::domain::undo_writ::UndoPermit;
/// fn forge() -> UndoPermit {
///     UndoPermit { signed: true }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoPermit {
    signed: bool,
}

impl UndoPermit {
    /// Whether policyd signed it; otherwise it rests on the word of an operator.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        self.signed
    }
}

/// Whether an execution may be undone, by its undo writ or, where there is none that is valid, by
/// the word of an operator (`unsigned`).
///
/// # Errors
/// `UNDO_NOT_SIGNED` when there is no undo writ of a trusted key, `UNDO_EXPIRED`, or
/// `UNDO_MISMATCH` with the name of what differs, which nobody's word mends.
pub fn admit(
    execution: &Execution,
    writ: Option<&[u8]>,
    unsigned: bool,
    verifier: &Verifier<'_>,
) -> Result<UndoPermit, Refusal> {
    let checked = match writ {
        Some(writ) => check(execution, writ, verifier),
        None => Err(Refusal::of(Reason::UndoNotSigned)),
    };
    match checked {
        Ok(()) => Ok(UndoPermit { signed: true }),
        Err(refusal) if unsigned && refusal.reason == Reason::UndoNotSigned => {
            Ok(UndoPermit { signed: false })
        }
        Err(refusal) => Err(refusal),
    }
}

fn check(execution: &Execution, writ: &[u8], verifier: &Verifier<'_>) -> Result<(), Refusal> {
    let undo = UnverifiedUndo::new(writ).verify(verifier);
    let undo = undo.map_err(|error| match error.reason {
        Reason::TokenExpired => Refusal::of(Reason::UndoExpired),
        _ => Refusal::new(Reason::UndoNotSigned, error.to_string()),
    })?;
    let asked = asked(execution).ok_or_else(|| Refusal::of(Reason::UndoMismatch))?;
    undo.allows(&asked)
        .map_err(|what| Refusal::new(Reason::UndoMismatch, format!("the {what} differ")))
}

#[cfg(test)]
mod tests;
