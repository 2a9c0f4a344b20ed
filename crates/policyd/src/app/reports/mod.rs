//! What connectord reports, and the undo writ that answers it.

pub mod outcome;
pub mod undo_writ;
