//! Whether policyd signed the undo of exactly the write that the journal shows. Whoever can edit
//! the journal, and holds no credentials, must not choose what an undo writes.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::digest::images_digest;
use writ_proto::token::{Asked, UnverifiedUndo, Verifier};
use writ_proto::value::{Map, value_from_json};

use super::execution::{Change, Execution};
use super::gate::Refusal;

/// One side of the changes; none if a field is named twice or a value cannot be read, for then the
/// undo would write something else than the digest says.
fn image(changes: &[Change], side: fn(&Change) -> Option<&String>) -> Option<Map> {
    let mut map = Map::new();
    for change in changes {
        if let Some(text) = side(change) {
            let value = value_from_json(text).ok()?;
            map.insert(change.field.clone(), value).ok()?;
        }
    }
    Some(map)
}

fn digest(changes: &[Change]) -> Option<[u8; 32]> {
    let mut fields: Vec<&str> = changes.iter().map(|own| own.field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    let before = image(changes, |change| change.before_json.as_ref())?;
    let after = image(changes, |change| change.after_json.as_ref())?;
    (fields.len() == changes.len()).then(|| images_digest(&before, &after))
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
        images: digest(&execution.changes)?,
    })
}

/// Leave to undo one execution. Its field is private, and only [`admit`] makes one:
///
/// ```
/// use connectord::domain::undo_writ::UndoPermit;
/// fn read(permit: &UndoPermit) -> bool {
///     permit.is_signed()
/// }
/// ```
/// ```compile_fail,E0451
/// use connectord::domain::undo_writ::UndoPermit;
/// fn forge() -> UndoPermit {
///     UndoPermit { execution: String::new(), signed: true }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoPermit {
    execution: String,
    signed: bool,
}

impl UndoPermit {
    /// The execution that may be undone.
    #[must_use]
    pub fn execution(&self) -> &str {
        &self.execution
    }

    /// Whether policyd signed it; otherwise it rests on the word of an operator.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
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
    let signed = match checked {
        Ok(()) => true,
        Err(refusal) if unsigned && refusal.reason == Reason::UndoNotSigned => false,
        Err(refusal) => return Err(refusal),
    };
    Ok(UndoPermit {
        execution: execution.id.clone(),
        signed,
    })
}

fn check(execution: &Execution, writ: &[u8], verifier: &Verifier<'_>) -> Result<(), Refusal> {
    let undo = UnverifiedUndo::new(writ).verify(verifier);
    let undo = undo.map_err(|error| match error.reason {
        Reason::TokenExpired => Refusal::of(Reason::UndoExpired),
        _ => Refusal::new(Reason::UndoNotSigned, error.detail),
    })?;
    let odd = || {
        Refusal::new(
            Reason::UndoMismatch,
            "the entry is not one that was made here",
        )
    };
    let asked = asked(execution).ok_or_else(odd)?;
    undo.allows(&asked)
        .map_err(|what| Refusal::new(Reason::UndoMismatch, format!("the {what} differ")))
}

#[cfg(test)]
mod tests;
