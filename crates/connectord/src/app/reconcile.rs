//! What a crash or a lost answer left behind. Takeover never sends: it looks, and what cannot be
//! told is left to a person.

use std::time::Duration;

use writ_proto::Reason;
use writ_proto::value::{Map, Value, value_from_json};

use super::outcome::Kind;
use super::{App, AppError};
use crate::clock;
use crate::domain::execution::{Execution, State};
use crate::domain::plan::{FieldPlan, Plan};
use crate::system::Happened;

/// An execution in doubt is given to a person after this long.
const DOUBT_MS_MAX: i64 = 10 * 60 * 1_000;

/// A task that has not written its execution for so long is gone: every step of one takes seconds.
/// Should it be alive after all, the revision of the execution stops it.
pub const TAKEOVER: Duration = Duration::from_secs(90);

/// A call can still be served after its answer was given up: "not there" counts only this long
/// after it was sent.
const LATE_MS_MAX: i64 = 20 * 1_000;

impl App {
    /// Settles what has not ended: all that is in doubt, and what nobody touched for `idle`. A
    /// process that is alone with its journal says zero at its start; everybody else `TAKEOVER`.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn reconcile(&self, idle: Duration) -> Result<usize, AppError> {
        let mut settled = 0_usize;
        for execution in self.journal.open_executions(idle).await? {
            match self.settle_one(execution).await {
                Ok(ended) => settled = settled.saturating_add(usize::from(ended)),
                // Another process settles it, or its own task still does.
                Err(error) if error.reason == Reason::OutcomeUnknown => {}
                Err(error) => tracing::warn!(%error, "an execution could not be settled"),
            }
        }
        Ok(settled)
    }

    async fn settle_one(&self, mut execution: Execution) -> Result<bool, AppError> {
        if execution.state == State::InDoubt {
            return self.settle_doubt(execution).await;
        }
        Reason::OutcomeUnknown
            .code()
            .clone_into(&mut execution.reason_code);
        if execution.state == State::Claimed {
            "the process stopped before anything was sent".clone_into(&mut execution.message);
            let kind = kind(&execution, Kind::Reconciled);
            let state = State::ReconciledNotApplied;
            self.end(execution, state, kind).await?;
            return Ok(true);
        }
        "the process stopped while the call was out".clone_into(&mut execution.message);
        let kind = kind(&execution, Kind::Result);
        let doubtful = self.end(execution, State::InDoubt, kind).await?;
        self.settle_doubt(doubtful).await
    }

    async fn settle_doubt(&self, mut execution: Execution) -> Result<bool, AppError> {
        let now = clock::now().timestamp_millis();
        let age = now.saturating_sub(execution.sent_ms.max(execution.created_ms));
        let happened = match self.systems.get(&execution.connection) {
            Some(system) => system.reconcile(&plan_of(&execution)).await,
            None => Happened::CannotTell("this connection is not configured".to_owned()),
        };
        let state = match happened {
            Happened::Yes { created_id } => {
                execution.wrote = true;
                if !created_id.is_empty() {
                    execution.created_id = created_id;
                }
                State::ReconciledApplied
            }
            Happened::No if age > LATE_MS_MAX => State::ReconciledNotApplied,
            Happened::No => return Ok(false),
            Happened::CannotTell(why) if age > DOUBT_MS_MAX => {
                execution.message = why;
                State::Human
            }
            Happened::CannotTell(why) => {
                tracing::warn!(execution = execution.id, why, "still in doubt");
                return Ok(false);
            }
        };
        if state == State::ReconciledApplied && !execution.undo_of.is_empty() {
            self.mark_undone(&execution).await?;
        }
        let kind = kind(&execution, Kind::Reconciled);
        self.end(execution, state, kind).await?;
        Ok(true)
    }
}

/// What an end is reported as: that of an undo says nothing of the write, its budget or its undo.
const fn kind(execution: &Execution, of_a_write: Kind) -> Kind {
    if execution.undo_of.is_empty() {
        of_a_write
    } else {
        Kind::Undo
    }
}

/// The plan as it was journaled.
fn plan_of(execution: &Execution) -> Plan {
    let fields = execution.changes.iter().map(|change| FieldPlan {
        field: change.field.clone(),
        old: change.before_value(),
        new: change.after_value().unwrap_or(Value::Null),
    });
    let args = match value_from_json(&execution.args_json) {
        Ok(Value::Map(map)) => map,
        _ => Map::new(),
    };
    Plan {
        object: execution.object.clone(),
        id: execution.target.clone(),
        verb: execution.verb.clone(),
        fields: fields.collect(),
        args,
        version: execution.version.clone(),
        key: execution.key.clone(),
        sentence: execution.sentence.clone(),
    }
}
