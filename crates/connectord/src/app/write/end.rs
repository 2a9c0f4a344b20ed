//! The end of an execution: its state and its report in one transaction.

use super::super::outcome::{Kind, Outcome};
use super::super::{App, AppError};
use crate::domain::caps::Count;
use crate::domain::execution::{Execution, State};
use crate::domain::gate::{Call, Refusal};
use crate::store::{Journal, JournalError, Report};
use writ_proto::Reason;

const SAVES_MAX: u32 = 120;
const SAVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

impl App {
    /// Records a refusal. If that fails the caller is still refused, and told of the store.
    pub(in crate::app) async fn refuse(&self, call: &Call, refusal: &Refusal) -> AppError {
        match self
            .report_refusal(&Outcome::of_refusal(call, refusal))
            .await
        {
            Ok(()) => AppError::from(refusal.clone()),
            Err(error) => error,
        }
    }

    /// Ends an execution that did not happen.
    pub(in crate::app) async fn fail(
        &self,
        mut execution: Execution,
        refusal: &Refusal,
    ) -> Result<Execution, AppError> {
        refusal.reason.code().clone_into(&mut execution.reason_code);
        execution.message.clone_from(&refusal.detail);
        let failed = self.end(execution, State::Failed, Kind::Result).await?;
        self.after_trouble(&failed).await;
        Ok(failed)
    }

    /// Writes the end and its report in one transaction.
    pub(in crate::app) async fn end(
        &self,
        execution: Execution,
        state: State,
        kind: Kind,
    ) -> Result<Execution, AppError> {
        self.end_with(execution, None, state, kind).await
    }

    /// The same together with another execution that this end says something of.
    pub(in crate::app) async fn end_with(
        &self,
        mut execution: Execution,
        mut other: Option<Execution>,
        state: State,
        kind: Kind,
    ) -> Result<Execution, AppError> {
        execution.state = state;
        let report = Outcome::of_execution(kind, &execution, state.name()).report();
        // What was not executed, for certain, counts against no ceiling.
        let back = match state {
            State::Failed | State::ReconciledNotApplied => execution.take_back(),
            _ => Vec::new(),
        };
        let mut both: Vec<&mut Execution> = std::iter::once(&mut execution)
            .chain(other.as_mut())
            .collect();
        let saved = self
            .journal
            .save_counted(&mut both, vec![report.clone()], back.clone())
            .await;
        match saved {
            Ok(()) => {}
            // Something may have been sent: "nothing happened" would be a lie.
            Err(JournalError::Unavailable(_) | JournalError::Full) if execution.sent_ms > 0 => {
                let end = End {
                    execution,
                    other,
                    report,
                    back,
                };
                tokio::spawn(keep_saving(self.journal.clone(), end));
                return Err(AppError::of(Reason::OutcomeUnknown));
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            execution = execution.id,
            tenant = execution.tenant,
            action = execution.action,
            live = execution.execute,
            state = state.name(),
            reason = Some(&execution.reason_code).filter(|code| !code.is_empty()),
            "execution ended"
        );
        Ok(execution)
    }
}

/// An end that is written whole or not at all.
struct End {
    execution: Execution,
    /// What it says something of.
    other: Option<Execution>,
    report: Report,
    /// What counts against no ceiling any more.
    back: Vec<Count>,
}

/// Writes the end of an execution when the journal is back.
async fn keep_saving(journal: Journal, mut end: End) {
    for _ in 0..SAVES_MAX {
        tokio::time::sleep(SAVE_PAUSE).await;
        let mut both: Vec<&mut Execution> = std::iter::once(&mut end.execution)
            .chain(end.other.as_mut())
            .collect();
        let saved = journal
            .save_counted(&mut both, vec![end.report.clone()], end.back.clone())
            .await;
        match saved {
            Err(JournalError::Unavailable(_) | JournalError::Full) => {}
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, execution = end.execution.id, "left to be settled");
                return;
            }
        }
    }
    tracing::error!(
        execution = end.execution.id,
        "its end could not be written; left to be settled"
    );
}

#[cfg(test)]
mod tests;
