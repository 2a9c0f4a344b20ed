//! `connectord journal`: what an operator of the machine does after a journal was put back.

use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;
use writ_proto::Reason;

use super::Common;
use crate::app::SharedApp;
use crate::error::AppError;
use crate::halt::Act;
use crate::output::Output;
use crate::store::JournalError;
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
    /// Drop the waiting reports that no connectord of this authority and audience has signed. Each is printed; no
    /// record is made of what they say.
    Discard {
        /// Why; in the log.
        #[arg(long)]
        reason: String,
    },
}

/// Waiting reports that are read at once.
const PAGE: u32 = 1_000;
const DROPPED_AT_ONCE: usize = 500;

/// Of the reports that wait, those that no connectord of this service signed.
async fn foreign(app: &SharedApp) -> Result<Vec<Uuid>, JournalError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = app.journal.outbox(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = Some(last.id);
        all.extend(
            page.iter()
                .filter(|one| one.body.is_none())
                .map(|one| one.id),
        );
    }
}

/// How many there are.
pub(super) async fn foreign_reports(app: &SharedApp) -> Result<usize, JournalError> {
    Ok(foreign(app).await?.len())
}

async fn discard(app: &SharedApp, reason: &str, output: &Output) -> Result<u8, AppError> {
    let found = foreign(app).await?;
    for id in &found {
        tracing::warn!(%id, reason, "a report that no connectord of this service signed is dropped");
        output.line(&format!("dropped {id}"), &json!({"dropped": id}));
    }
    if found.is_empty() {
        output.note("every waiting report is signed; nothing was dropped");
    }
    for part in found.chunks(DROPPED_AT_ONCE) {
        app.journal.outbox_done(part.to_vec(), Vec::new()).await?;
    }
    Ok(0)
}

pub(super) async fn run(
    common: &Common,
    command: &JournalCommand,
    output: &Output,
) -> Result<u8, AppError> {
    let (JournalCommand::Accept { reason } | JournalCommand::Discard { reason }) = command;
    if reason.trim().is_empty() {
        return Err(AppError::of(Reason::ReasonRequired));
    }
    let config = common.read()?;
    let _own = server::own_journal(&config.store.url)?;
    let app = server::open(&config).await?;
    if matches!(command, JournalCommand::Discard { .. }) {
        return discard(&app, reason, output).await;
    }
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
