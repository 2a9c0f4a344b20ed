//! How far a journal has come, for what is remembered outside it.

use serde::{Deserialize, Serialize};

/// How far a journal has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalMark {
    /// Its newest execution, hyphenated; ids begin with their time. Empty where there is none.
    pub newest: String,
    /// How often all its actions were moved.
    pub moves: i64,
}
