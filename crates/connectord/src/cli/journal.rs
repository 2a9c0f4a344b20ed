//! `connectord journal`: what an operator of the machine does after a journal was put back.

use clap::Subcommand;
use serde_json::json;
use writ_proto::Reason;

use super::Common;
use crate::error::AppError;
use crate::halt::Act;
use crate::output::Output;
use crate::{clock, server};

/// Commands over the journal itself; connectord must not run.
#[derive(Debug, Subcommand)]
pub(super) enum JournalCommand {
    /// Go on with a journal that is older than what connectord remembers: every writ that was signed
    /// before is dead, and every live action is a dry run again.
    Accept {
        /// Why; recorded.
        #[arg(long)]
        reason: String,
    },
}

pub(super) async fn run(
    common: &Common,
    command: &JournalCommand,
    output: &Output,
) -> Result<u8, AppError> {
    let JournalCommand::Accept { reason } = command;
    if reason.trim().is_empty() {
        return Err(AppError::of(Reason::ReasonRequired));
    }
    let config = common.read()?;
    let app = server::open(&config).await?;
    let _own = server::own_journal(&config.store.url)?;
    match server::check_marks(&app).await {
        Err(error) if error.reason == Reason::StoreRestored => {}
        Err(error) => return Err(error),
        Ok(()) => {
            let text = "the journal is as new as connectord remembers; nothing was changed";
            output.line(text, &json!({"epoch": null, "demoted": 0}));
            return Ok(0);
        }
    }
    let act = Act {
        by: "journal accept".to_owned(),
        reason: reason.clone(),
        at: clock::now().timestamp(),
    };
    let armed = app.halts.arm(&act).await;
    let epoch = armed
        .map_err(|error| AppError::new(Reason::HaltUnknown, error.to_string()))?
        .epoch;
    let moved = app
        .demote_all(&format!("the journal was put back: {reason}"))
        .await?;
    let now_ms = clock::of_machine().timestamp_millis();
    app.marks.accept(&app.journal.mark().await?, now_ms)?;
    let text = format!(
        "accepted: writs signed before are dead (epoch {epoch}); {moved} actions are dry runs again"
    );
    output.line(&text, &json!({"epoch": epoch, "demoted": moved}));
    Ok(0)
}
