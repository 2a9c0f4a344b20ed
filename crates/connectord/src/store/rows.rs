//! What the journal holds beside executions, and what is asked of it.

use uuid::Uuid;
use writ_proto::card::Rollout;

use super::JournalError;
use crate::domain::execution::Execution;

/// A report that waits to reach policyd, as encoded protobuf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Outcome id.
    pub id: Uuid,
    /// Encoded `writ.v1.Outcome`.
    pub body: Vec<u8>,
}

/// A report as it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Outcome id.
    pub id: Uuid,
    /// Encoded `writ.v1.Outcome`; none where no connectord of this service signed it.
    pub body: Option<Vec<u8>>,
}

/// What allows the undo of an execution, as policyd signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoWrit {
    /// Tenant.
    pub tenant: String,
    /// The execution.
    pub execution: Uuid,
    /// The signed bytes; believed only when they are used.
    pub token: Vec<u8>,
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<String>,
    /// Only this run.
    pub run: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only this agent, or operator of an undo.
    pub agent: Option<String>,
    /// Only records of this id.
    pub target: Option<String>,
    /// Only those that were to write, or only dry runs.
    pub execute: Option<bool>,
    /// Only those marked as a surprise.
    pub surprises: bool,
    /// Only those before this id, newest first: the next page.
    pub before: Option<String>,
    /// Only those made at or after this time, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Only those changed at or after this time, Unix milliseconds of the database.
    pub touched_since_ms: Option<i64>,
    /// Only those made before this time, Unix milliseconds.
    pub until_ms: Option<i64>,
    /// At most this many.
    pub limit: u32,
    /// For what they are read.
    pub readers: Readers,
}

/// Over which connections executions are listed: nothing waits for a list of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readers {
    /// Those of writes and of settling.
    #[default]
    Writes,
    /// Those of undos that an operator asks for, and of what is shown before them.
    Undos,
    /// Those of whoever looks.
    Lists,
}

/// How much later than its id an execution can have been made.
const ID_AGE_MS: i64 = 60_000;

/// No execution that was made at a time or later has an id before this one: ids begin with their
/// time (RFC 9562, version 7), which the key is sorted by.
pub(super) fn earliest(since_ms: i64) -> Uuid {
    let since = u64::try_from(since_ms.saturating_sub(ID_AGE_MS)).unwrap_or_default();
    Uuid::from_u128(u128::from(since).checked_shl(80).unwrap_or_default())
}

impl Filter {
    /// Columns that must hold a text, each with that text.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let texts = [
            ("state", &self.state),
            ("run", &self.run),
            ("action", &self.action),
            ("agent", &self.agent),
            ("target", &self.target),
        ];
        texts
            .into_iter()
            .filter_map(|(column, wanted)| Some((column, wanted.as_deref()?)))
    }
}

/// How far an action goes for a tenant, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// Tenant.
    pub tenant: String,
    /// Action.
    pub action: String,
    /// How far.
    pub rollout: Rollout,
    /// Unix milliseconds at which it goes back to dry run; 0 is never.
    pub until_ms: i64,
    /// Unix milliseconds at which it was set.
    pub set_ms: i64,
    /// How often it was set before: it is set only over the one that was looked at.
    pub revision: i64,
    /// The card as it was promoted, as its file was written; empty where nothing may be written.
    pub card: String,
    /// Hash of what the system file said of its verb then, hex.
    pub system: String,
}

/// So many executions are made ready before other calls of the same thread have their turn.
pub const AT_ONCE: usize = 8;

/// The executions of a page of rows.
pub(super) async fn executions<R: Sync>(
    rows: &[R],
    read: fn(&R) -> Result<Execution, JournalError>,
) -> Result<Vec<Execution>, JournalError> {
    let mut all = Vec::with_capacity(rows.len());
    for some in rows.chunks(AT_ONCE) {
        if !all.is_empty() {
            tokio::task::yield_now().await;
        }
        for row in some {
            all.push(read(row)?);
        }
    }
    Ok(all)
}

/// A rollout as it is stored: name, end, begin, revision, card, system.
pub(super) type RolloutRow = (String, i64, i64, i64, String, String);

impl Promoted {
    /// How far it goes at a moment: what has an end goes back to dry run.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Rollout {
        if self.until_ms > 0 && now_ms >= self.until_ms {
            return self.rollout.min(Rollout::DryRun);
        }
        self.rollout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_end_goes_back_to_dry_run_at_it() {
        use Rollout::{DryRun, Live, Pilot, Suggest};
        for (rollout, until_ms, now_ms, expected) in [
            (Live, 9, 8, Live),
            (Live, 9, 9, DryRun),
            (Live, 9, 10, DryRun),
            (Pilot, 9, 9, DryRun),
            (Suggest, 9, 9, Suggest),
            (Live, 0, 9, Live),
        ] {
            let promoted = Promoted {
                tenant: "acme".into(),
                action: "refund".into(),
                rollout,
                until_ms,
                set_ms: 3,
                revision: 1,
                card: String::new(),
                system: String::new(),
            };
            let what = format!("{rollout:?} until {until_ms} at {now_ms}");
            assert_eq!(promoted.at(now_ms), expected, "{what}");
        }
    }

    #[test]
    fn an_execution_that_was_made_a_while_after_its_id_is_among_those_made_since() {
        let made_ms = 1_800_000_000_000_u64;
        let id_of = |ms: u64| Uuid::from_u128(u128::from(ms) << 80);
        let first = earliest(i64::try_from(made_ms).unwrap());
        assert!(first <= id_of(made_ms - 30_000));
        // And lists do not begin at the first of all.
        assert!(first > id_of(made_ms - 120_000));
    }
}
