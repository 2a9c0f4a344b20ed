//! `connectord halt`: works on the folder of flag files, so that it works when every server is down.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use writ_proto::Reason;

use super::Common;
use super::output::Output;
use crate::app::AppError;
use crate::clock;
use crate::halt::{Flag, HaltStore, is_scope};

/// Halts.
#[derive(Debug, Subcommand)]
pub(super) enum HaltCommand {
    /// Stop writes of a scope at once.
    On(Scope),
    /// Let them go on.
    Off(Scope),
    /// What is halted.
    Status {
        /// Folder of flag files; that of the configuration if absent.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// Which scope, and why.
#[derive(Debug, Args)]
pub(super) struct Scope {
    /// global, tenant:T, connection:C, action:A, agent:G or customer:N.
    #[arg(long, default_value = "global")]
    scope: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// Folder of flag files; that of the configuration if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn store(common: &Common, dir: Option<&PathBuf>) -> Result<HaltStore, AppError> {
    let folder = match dir {
        Some(folder) => folder.clone(),
        None => common.read()?.halt.dir,
    };
    Ok(HaltStore::new(folder))
}

fn unknown(error: &crate::halt::HaltError) -> AppError {
    AppError::new(Reason::HaltUnknown, error.to_string())
}

pub(super) fn run(common: &Common, command: &HaltCommand, output: &Output) -> Result<u8, AppError> {
    match command {
        HaltCommand::On(args) | HaltCommand::Off(args) => {
            if !is_scope(&args.scope) {
                let message = format!(
                    "`{}` is not global, tenant:T, connection:C, action:A, agent:G, customer:N",
                    args.scope
                );
                return Err(AppError::new(Reason::RequestMalformed, message));
            }
            let store = store(common, args.dir.as_ref())?;
            let sets = matches!(command, HaltCommand::On(_));
            let state = if sets {
                let by = crate::config::variable("USER").unwrap_or_default();
                let (scope, reason) = (args.scope.clone(), args.reason.clone());
                store.set(&Flag {
                    scope,
                    by,
                    reason,
                    since: clock::now().timestamp(),
                })
            } else {
                store.clear(&args.scope)
            };
            let state = state.map_err(|error| unknown(&error))?;
            let word = if sets { "HALTED" } else { "RUNNING" };
            let text = format!("{word} {}  epoch {}", args.scope, state.epoch);
            output.line(
                &text,
                &json!({"scope": args.scope, "state": word, "epoch": state.epoch}),
            );
        }
        HaltCommand::Status { dir } => {
            let state = store(common, dir.as_ref())?
                .read()
                .map_err(|error| unknown(&error))?;
            for flag in &state.flags {
                let text = format!("HALTED {}  by {}  {}", flag.scope, flag.by, flag.reason);
                output.line(
                    &text,
                    &json!({"scope": flag.scope, "by": flag.by, "reason": flag.reason}),
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
