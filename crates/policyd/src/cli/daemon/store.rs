//! `policyd store`: what an operator of the machine does after a database was put back.

use clap::Subcommand;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::ids::TenantId;
use writ_proto::limits::{LEEWAY_SECONDS_MAX, TOKEN_TTL_SECONDS_MAX};

use crate::cli::Common;
use crate::clock;
use crate::error::AppError;
use crate::marks::{MarkFile, compared};
use crate::output::Output;
use crate::server;
use crate::store::Ledger;

/// Commands over the database itself; policyd must not run.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Go on with a database that is older than what policyd remembers. Every log that is affected says
    /// so in a record.
    Accept {
        /// Why; recorded.
        #[arg(long)]
        reason: String,
    },
}

/// Writs of decisions that are lost live so long after the last of them.
fn life_ms() -> i64 {
    i64::from(TOKEN_TTL_SECONDS_MAX)
        .saturating_add(LEEWAY_SECONDS_MAX.into())
        .saturating_mul(1_000)
}

pub(crate) async fn run(
    common: &Common,
    command: &StoreCommand,
    output: Output,
) -> Result<u8, AppError> {
    let StoreCommand::Accept { reason } = command;
    if reason.trim().is_empty() {
        return Err(AppError::of(Reason::ReasonRequired));
    }
    let config = common.read()?;
    let _own = server::own_store(&config.store.url)?;
    let ledger = Ledger::open(&config.store.url).await?;
    let marks = MarkFile::open(&config)?;
    let wrong = compared(&marks.logs(), &ledger.heads().await?, &ledger).await?;
    if wrong.is_empty() {
        let text = "every log is as policyd remembers it; nothing was changed";
        output.line(text, &json!({"accepted": []}));
        return Ok(0);
    }
    let now = clock::now();
    let dead_ms = marks.clock_ms().saturating_add(life_ms());
    if now.timestamp_millis() < dead_ms {
        let dead = chrono::DateTime::from_timestamp_millis(dead_ms).unwrap_or(now);
        let message = format!(
            "writs of the lost decisions may be valid until {}; run this command again after that (to stop them now: connectord halt on --scope global --reason WHY)",
            dead.format("%Y-%m-%d %H:%M:%SZ")
        );
        return Err(AppError::new(Reason::StoreRestored, message));
    }
    let app = server::offline(&config, ledger)?;
    for (tenant, what) in &wrong {
        let tenant = TenantId::parse(tenant).map_err(|_| AppError::of(Reason::StoreCorrupt))?;
        app.restored(&tenant, what, reason).await?;
    }
    marks.accept(&app.ledger.heads().await?)?;
    for (tenant, what) in &wrong {
        let text = format!("{tenant}: {what}; its log goes on from here, and says so");
        output.line(&text, &json!({"accepted": tenant, "what": what}));
    }
    Ok(0)
}
