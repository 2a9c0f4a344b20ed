//! Undo writs, whatever the database.

use super::StoreError;

/// A row that can be read; one that cannot must not keep the others of its batch from their record.
pub(super) fn sound<T>(row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(%error, "a row is left out"))
        .ok()
}
