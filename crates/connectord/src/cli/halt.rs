//! `connectord halt`: works on the folder of flag files, so that it works when every server is down.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use writ_proto::Reason;

use super::Common;
use super::halt_access::{self, DevicesCommand, OperatorsCommand};
use super::output::Output;
use crate::access::Access;
use crate::app::AppError;
use crate::config::page::PageConfig;
use crate::halt::{Act, Flag, HaltError, HaltStore, Place, Scope};
use crate::{clock, ids};

/// Halts.
#[derive(Debug, Subcommand)]
pub(super) enum HaltCommand {
    /// Stop writes of a scope at once.
    On(ScopeArgs),
    /// Let them go on.
    Off(ScopeArgs),
    /// What is halted.
    Status {
        /// Folder of flag files; that of the configuration if absent.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Devices that may halt from the halt page.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Operators who may resume on the halt page.
    #[command(subcommand)]
    Operators(OperatorsCommand),
}

/// Which scope, and why.
#[derive(Debug, Args)]
pub(super) struct ScopeArgs {
    /// global, tenant:T, connection:C, action:A, agent:G, customer:N, run:R or tenant:T/KIND:NAME.
    #[arg(long, default_value = "global")]
    scope: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// Folder of flag files; that of the configuration if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
}

async fn store(common: &Common, dir: Option<&PathBuf>) -> Result<HaltStore, AppError> {
    let place = match dir {
        Some(folder) => Place::Folder(folder.clone()),
        None => common.read()?.halt.place,
    };
    HaltStore::open(&place)
        .await
        .map_err(|error| unknown(&error))
}

/// Who may use the page, of a whole configuration or of one of a page server alone.
fn access(common: &Common) -> Result<Access, AppError> {
    let place = PageConfig::place(&common.layers()?, &common.config)?;
    Ok(Access::new(&place))
}

fn unknown(error: &HaltError) -> AppError {
    AppError::new(Reason::HaltUnknown, error.to_string())
}

pub(super) async fn run(
    common: &Common,
    command: &HaltCommand,
    output: &Output,
) -> Result<u8, AppError> {
    let now = clock::now().timestamp();
    match command {
        HaltCommand::On(args) | HaltCommand::Off(args) => {
            let scope = args.scope.parse::<Scope>();
            let scope = scope
                .map_err(|error| AppError::new(Reason::RequestMalformed, error.to_string()))?;
            let store = store(common, args.dir.as_ref()).await?;
            let act = Act {
                by: crate::config::variable("USER").unwrap_or_default(),
                reason: args.reason.clone(),
                at: now,
            };
            let sets = matches!(command, HaltCommand::On(_));
            let state = if sets {
                let flag = Flag::new(scope, &act, ids::new_id().to_string());
                store.set(&flag).await
            } else {
                store.clear(&scope, &act).await.map(|(state, _)| state)
            };
            let state = state.map_err(|error| unknown(&error))?;
            let word = if sets { "HALTED" } else { "RUNNING" };
            let text = format!("{word} {}  epoch {}", args.scope, state.epoch);
            output.line(
                &text,
                &json!({"scope": args.scope, "state": word, "epoch": state.epoch}),
            );
        }
        HaltCommand::Devices(command) => {
            let page = PageConfig::url(&common.layers()?)?;
            return halt_access::devices((&access(common)?, &page), command, *output).await;
        }
        HaltCommand::Operators(command) => {
            return halt_access::operators(&access(common)?, command, *output).await;
        }
        HaltCommand::Status { dir } => {
            let store = store(common, dir.as_ref()).await?;
            let state = store.read(now).map_err(|error| unknown(&error))?;
            for flag in &state.flags {
                let text = format!("HALTED {}  by {}  {}", flag.scope, flag.by, flag.reason);
                output.line(
                    &text,
                    &json!({"scope": flag.scope.to_string(), "by": flag.by, "reason": flag.reason}),
                );
            }
            let text = format!("{} halts, epoch {}", state.flags.len(), state.epoch);
            output.line(
                &text,
                &json!({"halts": state.flags.len(), "epoch": state.epoch}),
            );
        }
    }
    Ok(0)
}
